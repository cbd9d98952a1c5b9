use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf, absolute};

use model::Secret;

use crate::kept::Program;
use crate::port::free_port;
use crate::postgrest::make_private;
use crate::tool::{Tool, cache};
use crate::upstream::Upstream;
use crate::{Keys, StackError};

pub const DENO: Tool = Tool { name: "deno", variable: "COGO_DENO" };

/// What every edge function is served by, in the folder of all of them.
const ROUTER: &str = "_local/serve.ts";
/// What that folder is called where nobody says.
const USUAL: &str = "edge-functions";

/// The folder of the edge functions: what was said, else the nearest one upwards from `here`.
pub(crate) fn folder(said: Option<&Path>, here: &Path) -> Result<Option<PathBuf>, StackError> {
    let Some(said) = said else {
        let usual = here.ancestors().map(|folder| folder.join(USUAL));
        return Ok(usual.into_iter().find(|folder| folder.join(ROUTER).is_file()));
    };
    let no_functions = || StackError::NoFunctions { folder: said.to_owned(), router: ROUTER };
    let folder = absolute(said).map_err(|_| no_functions())?;
    if folder.join(ROUTER).is_file() { Ok(Some(folder)) } else { Err(no_functions()) }
}

/// Deno takes what it may read as a list with commas, and knows no way to mean one.
pub(crate) fn can_be_told_to_deno(folder: &Path) -> bool {
    !folder.as_os_str().as_encoded_bytes().contains(&b',')
}

/// One Deno for all edge functions in `code`. It gets at nothing but this machine, at no file but
/// the functions' own, and sees of our environment only what is given here.
pub(crate) fn functions(
    deno: PathBuf,
    home: &Path,
    code: &Path,
    keys: &Keys,
    gateway: &str,
) -> io::Result<Program> {
    make_private(home)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let fetched = cache().map_or_else(|| home.join("deno"), |cache| cache.join("deno"));
    let mut env: Vec<(&'static str, Secret)> = vec![
        ("HOST", address.ip().to_string().into()),
        ("PORT", address.port().to_string().into()),
        ("SUPABASE_URL", gateway.to_owned().into()),
        ("DENO_DIR", fetched.display().to_string().into()),
        ("DENO_NO_UPDATE_CHECK", "1".to_owned().into()),
        ("DENO_TLS_CA_STORE", "system".to_owned().into()),
        ("NO_COLOR", "1".to_owned().into()),
    ];
    env.extend(keys.named().map(|(name, value)| (name, value.clone())));
    Ok(Program {
        name: "Deno",
        folder: home.to_owned(),
        line: line(deno, code),
        env,
        listens: Upstream::Tcp(address),
    })
}

fn line(deno: PathBuf, code: &Path) -> Vec<OsString> {
    // Never asks on a terminal, never fetches: what functions import was fetched by `make setup`.
    let fixed = ["run", "--no-prompt", "--cached-only", "--allow-net=127.0.0.1", "--allow-env"];
    let mut line = vec![deno.into()];
    line.extend(fixed.map(OsString::from));
    let mut readable = OsString::from("--allow-read=");
    readable.push(code);
    // What says of each function where it is and whether its callers need a token.
    if let Some(settings) = code.parent().map(|parent| parent.join("supabase/config.toml")) {
        readable.push(",");
        readable.push(settings);
    }
    line.push(readable);
    // Settings of the functions' own, as Supabase's local stack reads them. Ours come first.
    let theirs = code.join(".env");
    if theirs.is_file() {
        let mut file = OsString::from("--env-file=");
        file.push(theirs);
        line.push(file);
    }
    let config = code.join("deno.json");
    if config.is_file() {
        line.extend(["--config".into(), config.into()]);
    }
    line.extend([code.join(ROUTER).into(), code.into()]);
    line
}
