use std::fmt::Write;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::binaries::Binaries;
use crate::watched::last_words;

/// One Postgres server in a folder of its own: `data`, `log` and its socket. Knows how to make,
/// start and stop it, not how long it lives.
#[derive(Debug)]
pub struct Server {
    binaries: Binaries,
    home: PathBuf,
    port: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "Postgres is not installed; run `make setup`, or set COGO_PG_BIN to the folder of initdb"
    )]
    NotInstalled,
    #[error("Postgres does not run as root, and there is neither a user `postgres` nor `nobody`")]
    NobodyToRunIt,
    #[error("{} belongs to somebody else; remove it", .folder.display())]
    NotOurs { folder: PathBuf },
    #[error("could not use {}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{what} failed:\n{output}")]
    Failed { what: String, output: String },
    #[error("the server does not run")]
    NotRunning,
    #[error("could not prepare the database")]
    Database(#[from] db::DbError),
    #[error("could not migrate the database")]
    Migrate(#[from] db::migrate::MigrateError),
}

impl PostgresError {
    pub fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

impl Server {
    pub fn new(binaries: Binaries, home: PathBuf, port: u16) -> Self {
        Self { binaries, home, port }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes the data folder. Over TCP it asks for the password; on its socket it believes
    /// everybody, because only its owner gets there.
    pub fn init(&self, password: Option<&str>) -> Result<(), PostgresError> {
        self.make_home()?;
        let mut initdb = self.binaries.command("initdb");
        initdb.arg("--pgdata").arg(self.data());
        initdb.args(["--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"]);
        initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
        let file = self.home.join("password");
        if let Some(password) = password {
            self.write(&file, password)?;
            initdb.arg("--pwfile").arg(&file);
        }
        succeed(&mut initdb)?;
        if password.is_some() {
            fs::remove_file(&file).map_err(|error| PostgresError::io(&file, error))?;
        }
        Ok(())
    }

    /// Writes settings that hold from the next start on. Over TCP only this machine is listened to.
    pub fn configure(&self, settings: &[(String, String)], tcp: bool) -> Result<(), PostgresError> {
        let path = self.data().join("postgresql.auto.conf");
        let address = if tcp { "127.0.0.1" } else { "" };
        let socket = self.home.display().to_string();
        let port = self.port.to_string();
        let mut text = String::new();
        for (name, value) in [
            ("listen_addresses", address),
            ("port", &port),
            ("unix_socket_directories", &socket),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ] {
            setting(&mut text, name, value);
        }
        for (name, value) in settings {
            setting(&mut text, name, value);
        }
        self.write(&path, &text)
    }

    /// Makes sure that the data folder is on the disk.
    pub(crate) fn sync(&self) -> Result<(), PostgresError> {
        let mut sync = self.binaries.command("initdb");
        succeed(sync.arg("--sync-only").arg("--pgdata").arg(self.data()))
    }

    /// A file in the data folder.
    pub fn add(&self, name: &str, text: &str) -> Result<(), PostgresError> {
        self.write(&self.data().join(name), text)
    }

    pub fn launch(&self) -> Result<(), PostgresError> {
        let log = self.log();
        let mut start = self.pg_ctl("start");
        // Its own log: the server would keep our stdout open, and whoever reads that waiting.
        start.arg("--log").arg(&log).args(["--wait", "--timeout=120"]);
        succeed(&mut start).map_err(|error| match error {
            PostgresError::Failed { what, mut output } => {
                output.push_str(&self.last_words());
                PostgresError::Failed { what, output }
            }
            other => other,
        })
    }

    /// `mode` is fast or immediate, as in `pg_ctl`.
    pub fn stop(&self, mode: &str) -> Result<(), PostgresError> {
        succeed(self.pg_ctl("stop").args(["--mode", mode, "--wait", "--timeout=60"]))
    }

    /// Without waiting until it has.
    pub(crate) fn tell_to_stop(&self) -> Result<(), PostgresError> {
        succeed(self.pg_ctl("stop").args(["--mode", "fast", "--no-wait"]))
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        last_words(&self.log(), 20)
    }

    /// Its first process.
    pub fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Whether somebody listens on its socket.
    pub fn runs(&self) -> bool {
        UnixStream::connect(self.home.join(format!(".s.PGSQL.{}", self.port))).is_ok()
    }

    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.home.display().to_string();
        let folder = utf8_percent_encode(&folder, NON_ALPHANUMERIC);
        format!("postgres://postgres@{folder}:{}/{database}", self.port)
    }

    pub(crate) fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    fn make_home(&self) -> Result<(), PostgresError> {
        let failed = |error| PostgresError::io(&self.home, error);
        DirBuilder::new().mode(0o700).create(&self.home).map_err(failed)?;
        self.give(&self.home)
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), PostgresError> {
        let failed = |error| PostgresError::io(path, error);
        let mut file = OpenOptions::new();
        // Postgres refuses a key that others can read.
        let file = file.write(true).create(true).truncate(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
        self.give(path)
    }

    /// To whoever the server runs as.
    pub(crate) fn give(&self, path: &Path) -> Result<(), PostgresError> {
        let Some((user, group)) = self.binaries.owner() else { return Ok(()) };
        chown(path, Some(user.as_raw()), Some(group.as_raw()))
            .map_err(|error| PostgresError::io(path, error))
    }

    fn pg_ctl(&self, what: &str) -> Command {
        let mut command = self.binaries.command("pg_ctl");
        command.arg(what).arg("--pgdata").arg(self.data()).arg("--silent");
        command
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.home.join("log")
    }
}

fn setting(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
}

fn succeed(command: &mut Command) -> Result<(), PostgresError> {
    let program = PathBuf::from(command.get_program());
    let output = command.output().map_err(|error| PostgresError::io(&program, error))?;
    if output.status.success() {
        return Ok(());
    }
    let told = [output.stdout, output.stderr].concat();
    let what = format!("{} ({})", program.display(), output.status);
    Err(PostgresError::Failed { what, output: String::from_utf8_lossy(&told).into_owned() })
}
