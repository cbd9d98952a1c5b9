use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::Secret;

use crate::StackError;

/// What opens the local stack: made once, kept in its data folder, readable by its owner alone.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Signs the tokens of the HTTP API, as Supabase's JWT secret does.
    pub jwt_secret: Secret,
    /// May do everything on the HTTP API, as a Supabase secret key may.
    pub secret_key: Secret,
    pub(crate) password: Secret,
    /// Where they are, as NAME=value lines.
    pub file: PathBuf,
}

const FILE: &str = "keys.env";
const JWT_SECRET: &str = "SUPABASE_JWT_SECRET";
const SECRET_KEY: &str = "SUPABASE_SECRET_KEY";
const PASSWORD: &str = "PGPASSWORD";

impl Keys {
    /// Those of this folder, made if there are none.
    pub(crate) fn of(folder: &Path) -> Result<Self, StackError> {
        let file = folder.join(FILE);
        let failed = |source| StackError::Folder { folder: folder.to_owned(), source };
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(folder).map_err(failed)?
            }
            read => read.map_err(failed)?,
        };
        Self::parse(&file, &text).ok_or(StackError::Damaged { path: file })
    }

    fn parse(file: &Path, text: &str) -> Option<Self> {
        let value = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            (!value.is_empty()).then(|| Secret::new(value.to_owned()))
        };
        Some(Self {
            jwt_secret: value(JWT_SECRET)?,
            secret_key: value(SECRET_KEY)?,
            password: value(PASSWORD)?,
            file: file.to_owned(),
        })
    }
}

fn make(folder: &Path) -> io::Result<String> {
    let random = |bytes: &mut [u8]| {
        rand::fill(bytes);
        hex::encode(bytes)
    };
    let text = format!(
        "# What opens the local stack in this folder. Made for it alone; keep it to yourself.\n\
         {SECRET_KEY}=sb_secret_{}\n{JWT_SECRET}={}\n{PASSWORD}={}\n",
        random(&mut [0; 20]),
        random(&mut [0; 32]),
        random(&mut [0; 16]),
    );
    write_privately(&folder.join(FILE), &text)?;
    Ok(text)
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
