use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::running::{Cogo, Said};

/// A folder for a local stack, and ports that are probably free.
pub(crate) struct Place {
    folder: TempDir,
    pg_port: String,
    pub(crate) port: String,
    pub(crate) gateway_port: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        // Short, because sockets lie in it, and open to the user that Postgres runs as.
        let folder = tempfile::Builder::new().prefix("cogo-dev-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self { folder, pg_port: free_port(), port: free_port(), gateway_port: free_port() }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cogo"));
        // The rest of the environment stays: builds need it to find their tools.
        command.args(arguments).env_remove("DATABASE_URL").env_remove("COGO_SETTINGS");
        command.env("COGO_HOME", self.data()).env("COGO_PG_PORT", &self.pg_port);
        command.env("PORT", &self.port).env("COGO_GATEWAY_PORT", &self.gateway_port);
        command
    }

    /// `cogo dev`, when it is ready.
    pub(crate) fn dev(&self, arguments: &[&str]) -> Dev {
        let mut command = self.command(&[&["dev"], arguments].concat());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        let mut dev = Dev { child, lines };
        dev.hears("Events as they happen");
        dev
    }

    /// The role that PostgREST connects as, on a stack that is not running.
    pub(crate) fn make_authenticator(&self) {
        let dev = self.dev(&["--only", "postgres"]);
        let keys = fs::read_to_string(self.data().join("keys.env")).unwrap();
        let value = |name: &str| {
            let mut lines = keys.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned()
        };
        let mut psql = Command::new("psql");
        psql.args(["-h", "127.0.0.1", "-p", &self.pg_port, "-U", "postgres", "cogo", "-qc"]);
        psql.arg(format!(
            "create role authenticator login noinherit password '{}';
             grant anon, authenticated, service_role to authenticator",
            value("AUTHENTICATOR_PASSWORD")
        ));
        let made = psql.env("PGPASSWORD", value("PGPASSWORD")).status().unwrap();
        assert!(made.success());
        dev.signal(Signal::SIGINT);
        assert_eq!(dev.ended(), Some(0));
    }

    /// Any other command, as the ready line says.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Said {
        let settings = self.data().join("cogo.env");
        let mut command = Cogo::nowhere().command(arguments);
        command.env("COGO_SETTINGS", settings).output().unwrap().into()
    }

    pub(crate) fn postmaster(&self) -> u32 {
        let file = self.data().join("postgres/data/postmaster.pid");
        fs::read_to_string(file).unwrap().lines().next().unwrap().trim().parse().unwrap()
    }

    pub(crate) fn refused(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().unwrap().into()
    }
}

fn free_port() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port().to_string()
}

pub(crate) struct Dev {
    pub(crate) child: Child,
    pub(crate) lines: BufReader<ChildStderr>,
}

impl Dev {
    /// Reads on to the line with `said` in it; returns what came before.
    pub(crate) fn hears(&mut self, said: &str) -> String {
        let mut heard = String::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(read > 0, "it never said {said:?}, but\n{heard}");
            if line.contains(said) {
                return heard;
            }
            heard.push_str(&line);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A zombie has no command line; whoever inherited it may not care.
pub(crate) fn lives(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}
