use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File};
use std::hash::BuildHasher;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::unistd::Uid;

/// Users without a name that children run as, each in a workspace of its own: so that two of them
/// neither read nor end each other's processes, nor share the number of processes they may have.
const FIRST: u32 = 62_000;
const USERS: u32 = 3_000;

/// A user that no other workspace on this machine has, in whatever process. Free again on drop.
#[derive(Debug)]
pub(crate) struct User {
    id: u32,
    /// Locked as long as we have it open; the kernel unlocks it if we are killed.
    _lock: File,
}

impl User {
    pub(crate) fn take() -> io::Result<Self> {
        // The last to have one may have left processes that nobody has waited for yet, and they
        // count; so not always the first that is free.
        let start = RandomState::new().hash_one(0) % u64::from(USERS);
        let start = u32::try_from(start).expect("less than the users there are");
        for step in 0..USERS {
            if let Some(user) = Self::take_this(FIRST + (start + step) % USERS)? {
                return Ok(user);
            }
        }
        Err(io::Error::other("every user that children may run as is taken"))
    }

    /// None if somebody has it.
    pub(crate) fn take_this(id: u32) -> io::Result<Option<Self>> {
        // One place for all, wherever their workspaces are.
        let folder = std::env::temp_dir().join("cogo-users");
        own_folder(&folder)?;
        let lock = File::create(folder.join(id.to_string()))?;
        Ok(lock.try_lock().is_ok().then_some(Self { id, _lock: lock }))
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}

pub(crate) fn we_are_root() -> bool {
    Uid::effective().is_root()
}

/// Makes a folder that only we can write to, or makes sure that it is one: its parent may be
/// everybody's.
pub(crate) fn own_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o711).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != Uid::effective().as_raw() || found.mode() & 0o022 != 0 {
        let why = format!("{} is not a folder that belongs to this user alone", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}
