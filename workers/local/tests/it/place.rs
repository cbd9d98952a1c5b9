use std::collections::BTreeMap;
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

    /// How to reach what runs, as a shell reads it.
    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        let said: Said = self.command(&["status", "-o", "env"]).output().unwrap().into();
        assert_eq!(said.code, Some(0), "{}", said.err);
        let lines = said.out.lines().map(|line| line.split_once('=').unwrap());
        lines.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
    }

    /// What psql answers, as a superuser.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let keys = fs::read_to_string(self.data().join("keys.env")).unwrap();
        let password = keys.lines().find_map(|line| line.strip_prefix("PGPASSWORD=")).unwrap();
        let mut psql = Command::new("psql");
        psql.args(["-h", "127.0.0.1", "-p", &self.pg_port, "-U", "postgres", "cogo"]);
        psql.args(["-v", "ON_ERROR_STOP=1", "-qAtc", sql]).env("PGPASSWORD", password);
        let said: Said = psql.output().unwrap().into();
        assert_eq!(said.code, Some(0), "{sql}: {}", said.err);
        said.out.trim().to_owned()
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
