use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use localstack::{Stack, StackError, StackSettings, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// A place for a stack, with a port that is probably free.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) settings: StackSettings,
}

impl Place {
    pub(crate) fn new() -> Self {
        // Short, because sockets lie in it, and open to the user that Postgres runs as.
        let folder = tempfile::Builder::new().prefix("cogo-stack-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let pg_port = Some(free_port().unwrap());
        Self { folder, settings: StackSettings { pg_port, ..StackSettings::default() } }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn postmaster_pid(&self) -> PathBuf {
        self.data().join("postgres/data/postmaster.pid")
    }

    pub(crate) async fn start(&self) -> Result<Stack, StackError> {
        Stack::start(&self.settings, self.data(), |_| {}).await
    }

    /// The same in another process, which can be killed.
    pub(crate) fn start_elsewhere(&self) -> Holder {
        self.start_elsewhere_with(&[])
    }

    pub(crate) fn start_elsewhere_with(&self, more: &[String]) -> Holder {
        let mut command = Command::new(example());
        command.arg(self.data()).arg(self.settings.pg_port().to_string()).args(more);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Holder(child)
    }

    /// The first process of the server that runs here.
    pub(crate) fn postmaster(&self) -> u32 {
        let text = fs::read_to_string(self.postmaster_pid()).unwrap();
        text.lines().next().unwrap().trim().parse().unwrap()
    }
}

/// Cargo builds the examples beside the tests.
fn example() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().and_then(Path::parent).unwrap().join("examples/hold")
}

pub(crate) struct Holder(Child);

impl Holder {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// A zombie has no command line; whoever inherited it may not care.
pub(crate) fn lives(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the connection ends with its client")]
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
