use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the system's own programs are. Not PATH: some of them run as root on our behalf.
const SYSTEM: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// The programs that a sandbox is made of; those that are missing are `None`.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) bwrap: Option<PathBuf>,
    pub(crate) unshare: Option<PathBuf>,
    pub(crate) setpriv: Option<PathBuf>,
    pub(crate) prlimit: Option<PathBuf>,
}

impl Tools {
    pub(crate) fn find() -> Self {
        Self {
            bwrap: system("bwrap"),
            unshare: system("unshare"),
            setpriv: system("setpriv"),
            prlimit: system("prlimit"),
        }
    }
}

fn system(name: &str) -> Option<PathBuf> {
    SYSTEM.iter().map(|folder| Path::new(folder).join(name)).find(|path| is_program(path))
}

/// Finds a program as a shell would that is in `cwd` and has this PATH.
pub(crate) fn find(program: &OsStr, path: &OsStr, cwd: &Path) -> Option<PathBuf> {
    if program.as_encoded_bytes().contains(&b'/') {
        return Some(cwd.join(program)).filter(|path| is_program(path));
    }
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The first folder above `path` that other users may not pass through.
pub(crate) fn closed_folder(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let closed = |folder: &&Path| {
        folder.metadata().is_ok_and(|found| found.permissions().mode() & 0o001 == 0)
    };
    path.ancestors().skip(1).find(closed).map(Path::to_owned)
}
