use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use db::migrate::{self, EMBEDDED};
use db::{Client, Db, DbSettings, Statement, Type};
use localstack::{Binaries, PostgresError, Server, locked, no_durability, throwaway_folder};
use sha2::{Digest, Sha256};

use crate::test_db::quoted;

/// Any number, as long as it stays the same.
const TEMPLATE_LOCK: i64 = 0x7465_7374;

/// The server that all tests of this user share. It is started by the first test that needs it, and
/// stays: starting takes longer than most tests.
#[derive(Debug)]
pub(crate) struct Shared {
    server: Server,
    /// Held by everybody who uses the server, so that [`stop`] does not stop it under them.
    _in_use: File,
}

/// What became of a server that was to be stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    Now(PathBuf),
    InUse(PathBuf),
}

impl Shared {
    /// Makes and starts it unless it runs already. Blocks for up to some seconds.
    pub(crate) fn join() -> Result<Self, PostgresError> {
        let binaries = Binaries::find()?;
        let settings = settings();
        let home = throwaway_folder()?.join(home(&binaries, &settings));
        let server = Server::new(binaries, home, 5432);

        let _one_at_a_time = locked(&beside(server.home(), "lock"))?;
        let users = beside(server.home(), "users");
        let in_use = File::create(&users).map_err(|error| PostgresError::io(&users, error))?;
        in_use.lock_shared().map_err(|error| PostgresError::io(&users, error))?;
        if !server.runs() {
            prepare(&server, &settings)?;
            server.launch()?;
        }
        Ok(Self { server, _in_use: in_use })
    }

    pub(crate) fn url(&self, database: &str) -> String {
        self.server.socket_url(database)
    }

    /// An empty database under our migrations, made once for all tests, as fast to copy as a file.
    pub(crate) async fn template(&self) -> Result<String, PostgresError> {
        let name = format!("cogo_template_{}", migrations());
        let db = Db::connect(&DbSettings::at(&self.url("postgres")))?;
        let client = db.client().await?;
        client.execute(&LOCK, &[&TEMPLATE_LOCK]).await?;
        drop_stale(&client, &name).await?;
        if client.query_opt(&EXISTS, &[&name]).await?.is_none() {
            // Renamed when it is whole: whoever is killed half-way leaves nothing that looks ready.
            let draft = format!("{name}_draft");
            let sql = format!("drop database if exists {draft} with (force)");
            client.batch("testkit.template", &sql).await?;
            client.batch("testkit.template", &format!("create database {draft}")).await?;
            migrate::apply(&DbSettings::at(&self.url(&draft))).await?;
            let sql = format!("alter database {draft} with allow_connections false");
            client.batch("testkit.template", &sql).await?;
            let sql = format!("alter database {draft} rename to {name}");
            client.batch("testkit.template", &sql).await?;
        }
        client.execute(&UNLOCK, &[&TEMPLATE_LOCK]).await?;
        Ok(name)
    }
}

static LOCK: Statement =
    Statement { name: "testkit.lock", sql: "select pg_advisory_lock($1)", types: &[Type::INT8] };

static UNLOCK: Statement = Statement {
    name: "testkit.unlock",
    sql: "select pg_advisory_unlock($1)",
    types: &[Type::INT8],
};

static EXISTS: Statement = Statement {
    name: "testkit.exists",
    sql: "select from pg_database where datname = $1",
    types: &[Type::TEXT],
};

/// Databases that a killed test left behind, and templates of migrations that have changed since.
static STALE: Statement = Statement {
    name: "testkit.stale",
    sql: "select datname from pg_database,
              lateral pg_stat_file('base/' || oid || '/PG_VERSION', true) as file
          where (datname ~ '^t_[0-9a-f]{16}$' and file.modification < now() - interval '1 hour')
              or (datname ~ '^cogo_template_' and not starts_with(datname, $1)
                  and file.modification < now() - interval '1 day')",
    types: &[Type::TEXT],
};

async fn drop_stale(client: &Client, template: &str) -> Result<(), PostgresError> {
    for row in client.query(&STALE, &[&template]).await? {
        let name: String = row.get(0);
        let sql = format!("drop database if exists {} with (force)", quoted(&name));
        client.batch("testkit.stale", &sql).await?;
    }
    Ok(())
}

/// Stops the servers that tests share, unless somebody uses them. They start again when needed.
pub fn stop() -> Result<Vec<Stopped>, PostgresError> {
    let binaries = Binaries::find()?;
    let folder = throwaway_folder()?;
    let entries = fs::read_dir(&folder).map_err(|error| PostgresError::io(&folder, error))?;
    let mut stopped = Vec::new();
    for home in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if !home.join("data").is_dir() {
            continue;
        }
        let server = Server::new(binaries.clone(), home.clone(), 5432);
        let _one_at_a_time = locked(&beside(&home, "lock"))?;
        if !server.runs() {
            continue;
        }
        let users = File::open(beside(&home, "users"));
        let free = users.map_or(Ok(()), |users| users.try_lock());
        stopped.push(match free {
            Err(TryLockError::WouldBlock) => Stopped::InUse(home),
            Ok(()) | Err(TryLockError::Error(_)) => {
                server.stop("fast")?;
                Stopped::Now(home)
            }
        });
    }
    Ok(stopped)
}

/// Other settings or another build, were it only one of the same version, are another server.
fn home(binaries: &Binaries, settings: &[(String, String)]) -> String {
    let settings = settings.iter().flat_map(|(name, value)| [&**name, &**value]);
    let digest = hash(settings.chain([binaries.build()]));
    format!("pg{}-{}", binaries.version(), &digest[..6])
}

/// A data folder that can be started.
fn prepare(server: &Server, settings: &[(String, String)]) -> Result<(), PostgresError> {
    // Without fsync a folder that lived through a crash of the machine may be damaged.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let ready = beside(server.home(), "boot");
    if fs::read_to_string(&ready).is_ok_and(|made| made == boot) {
        return Ok(());
    }
    let failed = |error| PostgresError::io(server.home(), error);
    if server.home().exists() {
        fs::remove_dir_all(server.home()).map_err(failed)?;
    }
    server.init(None)?;
    server.configure(settings, false)?;
    fs::write(&ready, boot).map_err(failed)
}

fn settings() -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = no_durability().collect();
    settings.extend(
        [
            ("max_connections", "300"),
            ("wal_level", "logical"),
            ("jit", "off"),
            ("max_wal_size", "4GB"),
            ("checkpoint_timeout", "1h"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    settings
}

fn migrations() -> String {
    let parts = EMBEDDED.iter().flat_map(|migration| [migration.version, migration.sql]);
    hash(parts)[..16].to_owned()
}

pub(crate) fn hash<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}

/// `pg15-a1b2c3.lock` for `pg15-a1b2c3`: what must outlive the folder.
fn beside(home: &Path, extension: &str) -> PathBuf {
    home.with_extension(extension)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    /// Those of a server that calls itself so.
    fn calling_itself(build: &str) -> (TempDir, Binaries) {
        let folder = TempDir::new().unwrap();
        let program = folder.path().join("postgres");
        fs::write(&program, format!("#!/bin/sh\necho '{build}'\n")).unwrap();
        // Whoever runs servers has to reach it.
        for path in [folder.path(), &program] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let binaries = Binaries::at(folder.path()).unwrap();
        (folder, binaries)
    }

    #[test]
    fn servers_of_different_builds_or_settings_have_different_homes() {
        let settings = settings();
        let (_one, debian) = calling_itself("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)");
        let ours = home(&debian, &settings);
        assert!(ours.starts_with("pg15-"), "{ours}");
        let (_two, same) = calling_itself("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)");
        assert_eq!(home(&same, &settings), ours, "wherever it is installed");
        for other in ["postgres (PostgreSQL) 15.13", "postgres (PostgreSQL) 17.10"] {
            let (_three, other) = calling_itself(other);
            assert_ne!(home(&other, &settings), ours);
        }
        assert_ne!(home(&debian, &settings[1..]), ours);
    }
}
