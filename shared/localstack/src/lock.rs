use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::StackError;

/// The right to use a data folder, for as long as this process lives: the system takes it back from
/// whoever is killed, so that no lock is ever stale.
#[derive(Debug)]
pub(crate) struct Lock(File);

/// What the holder of a data folder says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub pid: u32,
    /// Where its Postgres listens, on 127.0.0.1.
    pub pg_port: u16,
    /// Where its HTTP API is, once it has one.
    #[serde(default)]
    pub api: Option<String>,
    /// Where it stands in for Supabase, if it does.
    #[serde(default)]
    pub gateway: Option<String>,
}

impl Lock {
    /// Without waiting.
    pub(crate) fn take(folder: &Path, running: &Running) -> Result<Self, StackError> {
        let failed = |source| StackError::Folder { folder: folder.to_owned(), source };
        let file = open(folder).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = told(&file).map(|running| running.pid);
                return Err(StackError::Taken { folder: folder.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let lock = Self(file);
        lock.tell(running).map_err(failed)?;
        Ok(lock)
    }

    /// Lets others read what this process has to say.
    pub(crate) fn tell(&self, running: &Running) -> std::io::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(running)?)
    }
}

/// Whoever holds the folder, if anybody does.
pub(crate) fn holder(folder: &Path) -> Option<Running> {
    let file = File::open(folder.join(NAME)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => told(&file),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

const NAME: &str = "lock";

fn open(folder: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join(NAME))
}

fn told(mut file: &File) -> Option<Running> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
