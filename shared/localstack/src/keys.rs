use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::Secret;

use crate::StackError;
use crate::token::{Role, mint_lasting};

/// What opens the local stack: made once, kept in its data folder, readable by its owner alone.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Signs every token here, as Supabase's JWT secret does.
    pub jwt_secret: Secret,
    /// May do everything on both HTTP APIs, as a Supabase secret key may.
    pub secret_key: Secret,
    /// May do what `anon` may: for clients that anybody can look into.
    pub publishable_key: Secret,
    /// The same two as tokens, for clients that want those.
    pub anon_key: Secret,
    pub service_role_key: Secret,
    /// Of the role that PostgREST connects as.
    pub authenticator_password: Secret,
    pub(crate) password: Secret,
    /// Where they are, as NAME=value lines.
    pub file: PathBuf,
}

const FILE: &str = "keys.env";
const JWT_SECRET: &str = "SUPABASE_JWT_SECRET";
const SECRET_KEY: &str = "SUPABASE_SECRET_KEY";
const PUBLISHABLE_KEY: &str = "SUPABASE_PUBLISHABLE_KEY";
const ANON_KEY: &str = "SUPABASE_ANON_KEY";
const SERVICE_ROLE_KEY: &str = "SUPABASE_SERVICE_ROLE_KEY";
const PASSWORD: &str = "PGPASSWORD";
const AUTHENTICATOR_PASSWORD: &str = "AUTHENTICATOR_PASSWORD";

const HEADING: &str =
    "# What opens the local stack in this folder. Made for it alone; keep it to yourself.\n";

impl Keys {
    /// Those of this folder, made as far as there are none.
    pub(crate) fn of(folder: &Path) -> Result<Self, StackError> {
        let file = folder.join(FILE);
        let failed = |source| StackError::Folder { folder: folder.to_owned(), source };
        let there = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => first_keys(),
            read => read.map_err(failed)?,
        };
        let damaged = || StackError::Damaged { path: file.clone() };
        let text = completed(there.clone()).ok_or_else(damaged)?;
        if text != there || !file.exists() {
            write_privately(&file, &text).map_err(failed)?;
        }
        Self::parse(&file, &text).ok_or_else(damaged)
    }

    /// Of nothing that lasts, for tests and measurements: they are in no file.
    pub fn throwaway(jwt_secret: Secret) -> Self {
        Self {
            secret_key: Secret::new(format!("sb_secret_{}", random(&mut [0; 20]))),
            publishable_key: Secret::new(format!("sb_publishable_{}", random(&mut [0; 20]))),
            anon_key: mint_lasting(&jwt_secret, Role::Anon),
            service_role_key: mint_lasting(&jwt_secret, Role::Service),
            authenticator_password: Secret::new(random(&mut [0; 16])),
            password: Secret::new(random(&mut [0; 16])),
            jwt_secret,
            file: PathBuf::new(),
        }
    }

    /// What clients of Supabase are told, by the names they know it by.
    pub fn named(&self) -> [(&'static str, &Secret); 5] {
        [
            (SECRET_KEY, &self.secret_key),
            (PUBLISHABLE_KEY, &self.publishable_key),
            (SERVICE_ROLE_KEY, &self.service_role_key),
            (ANON_KEY, &self.anon_key),
            (JWT_SECRET, &self.jwt_secret),
        ]
    }

    fn parse(file: &Path, text: &str) -> Option<Self> {
        let value = |name: &str| {
            let value = line(text, name)?;
            (!value.is_empty()).then(|| Secret::new(value.to_owned()))
        };
        Some(Self {
            jwt_secret: value(JWT_SECRET)?,
            secret_key: value(SECRET_KEY)?,
            publishable_key: value(PUBLISHABLE_KEY)?,
            anon_key: value(ANON_KEY)?,
            service_role_key: value(SERVICE_ROLE_KEY)?,
            authenticator_password: value(AUTHENTICATOR_PASSWORD)?,
            password: value(PASSWORD)?,
            file: file.to_owned(),
        })
    }
}

/// What every file has had from the beginning.
fn first_keys() -> String {
    format!(
        "{HEADING}{SECRET_KEY}=sb_secret_{}\n{JWT_SECRET}={}\n{PASSWORD}={}\n",
        random(&mut [0; 20]),
        random(&mut [0; 32]),
        random(&mut [0; 16]),
    )
}

/// With what a file of an earlier version does not have. Nothing if it lacks what it always had:
/// the database knows that password, and another one would not open it.
fn completed(mut text: String) -> Option<String> {
    let secret = Secret::new(line(&text, JWT_SECRET)?.to_owned());
    if [SECRET_KEY, PASSWORD].into_iter().any(|name| line(&text, name).is_none()) {
        return None;
    }
    let make: [(&str, &dyn Fn() -> String); 4] = [
        (PUBLISHABLE_KEY, &|| format!("sb_publishable_{}", random(&mut [0; 20]))),
        (ANON_KEY, &|| mint_lasting(&secret, Role::Anon).expose().to_owned()),
        (SERVICE_ROLE_KEY, &|| mint_lasting(&secret, Role::Service).expose().to_owned()),
        (AUTHENTICATOR_PASSWORD, &|| random(&mut [0; 16])),
    ];
    for (name, value) in make {
        if line(&text, name).is_none() {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&format!("{name}={}\n", value()));
        }
    }
    Some(text)
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

fn random(bytes: &mut [u8]) -> String {
    rand::fill(bytes);
    hex::encode(bytes)
}

/// For its owner alone. Written beside and renamed, so that whoever is killed half-way leaves no
/// half of it.
pub(crate) fn write_privately(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}
