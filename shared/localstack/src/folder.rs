use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::PostgresError;

/// The path of a Unix socket has 107 bytes at most, and ours is some 45 longer than this folder's.
const LONGEST: usize = 60;

/// Where servers that need not last are kept: a cache of this user, or a folder that others can reach when the servers
/// run as somebody else. On a disk in both cases, because `/tmp` may be memory.
pub fn throwaway_folder() -> Result<PathBuf, PostgresError> {
    let user = Uid::effective();
    let cache = cache().filter(|_| !user.is_root()).map(|cache| cache.join("cogo/testkit"));
    let folder = match cache {
        Some(cache) if cache.as_os_str().len() <= LONGEST => cache,
        _ => PathBuf::from(format!("/var/tmp/cogo-testkit-{user}")),
    };
    make(&folder)?;
    let owner = fs::metadata(&folder).map_err(|error| PostgresError::io(&folder, error))?.uid();
    if owner != user.as_raw() {
        return Err(PostgresError::NotOurs { folder });
    }
    Ok(folder)
}

/// With its parents. Others may pass through, not write.
pub(crate) fn make(folder: &Path) -> Result<(), PostgresError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
    made.map_err(|error| PostgresError::io(folder, error))
}

#[expect(clippy::disallowed_methods, reason = "where caches are is not a setting of ours")]
fn cache() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .filter(|it| it.is_absolute())
}
