use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Uid, User};

use crate::PostgresError;

/// Where Debian and Ubuntu put the server's programs, one folder for each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// An installed Postgres, and whom its programs run as.
#[derive(Clone, Debug)]
pub struct Binaries {
    bin: PathBuf,
    /// The major one: `15`.
    version: String,
    /// As they call themselves: `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`.
    build: String,
    /// Postgres refuses to run as root; then it is this user.
    owner: Option<(Uid, Gid)>,
}

impl Binaries {
    /// Those of `COGO_PG_BIN`, else the newest there are.
    pub fn find() -> Result<Self, PostgresError> {
        let bin = chosen().or_else(|| newest(&|_| true)).or_else(on_path);
        Self::at(&bin.ok_or(PostgresError::NotInstalled)?)
    }

    /// Those of one major version, wherever Debian puts them.
    pub fn of_version(major: &str) -> Option<Self> {
        let wanted: u32 = major.parse().ok()?;
        Self::at(&newest(&|version| version == wanted)?).ok()
    }

    /// Those in this folder.
    pub fn at(bin: &Path) -> Result<Self, PostgresError> {
        let (version, build) = (String::new(), String::new());
        let mut found = Self { bin: bin.to_owned(), version, build, owner: owner()? };
        let told = found.command("postgres").arg("--version").output();
        let told = told.map_err(|_| PostgresError::NotInstalled)?;
        found.build = String::from_utf8_lossy(&told.stdout).trim().to_owned();
        let version = found.build.split_whitespace().nth(2).ok_or(PostgresError::NotInstalled)?;
        found.version = version.split('.').next().unwrap_or(version).to_owned();
        Ok(found)
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// Two that call themselves the same are the same.
    pub fn build(&self) -> &str {
        &self.build
    }

    pub(crate) fn owner(&self) -> Option<(Uid, Gid)> {
        self.owner
    }

    /// A program of this Postgres, run by whoever owns the server, and with nothing in its
    /// environment that could point it at another one.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.as_owner(&self.bin.join(program))
    }

    /// Any program, run the same way.
    pub(crate) fn as_owner(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").current_dir("/");
        if let Some((user, group)) = self.owner {
            command.uid(user.as_raw()).gid(group.as_raw());
        }
        command
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "throwaway servers have no settings; help is in the error"
)]
fn chosen() -> Option<PathBuf> {
    std::env::var_os("COGO_PG_BIN").map(PathBuf::from)
}

fn newest(wanted: &dyn Fn(u32) -> bool) -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).ok()?.filter_map(Result::ok);
    versions
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(version, bin)| wanted(*version) && is_complete(bin))
        .max()
        .map(|(_, bin)| bin)
}

#[expect(clippy::disallowed_methods, reason = "where programs are is not a setting of ours")]
fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find_map(|folder| {
        // A link to `postgres` alone leads to the folder of all its programs.
        let program = fs::canonicalize(folder.join("postgres")).ok()?;
        program.parent().filter(|bin| is_complete(bin)).map(Path::to_owned)
    })
}

fn is_complete(bin: &Path) -> bool {
    ["initdb", "pg_ctl", "postgres"].iter().all(|program| bin.join(program).exists())
}

fn owner() -> Result<Option<(Uid, Gid)>, PostgresError> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Ok(Some(user)) = User::from_name(name) {
            return Ok(Some((user.uid, user.gid)));
        }
    }
    Err(PostgresError::NobodyToRunIt)
}
