use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, ChildStdin, Command};

use crate::PostgresError;
use crate::server::Server;

/// A server that stops when we do, however we end: between us and it stands a shell that reads from
/// a pipe of ours, and stops the server when the pipe closes. The system closes it for whoever is
/// killed.
#[derive(Debug)]
pub(crate) struct Watched {
    shell: Child,
    pipe: Option<ChildStdin>,
}

/// The signal is Postgres' fast stop, which rolls back what runs. It is sent again and again,
/// because a server that only begins to start may not have heard it.
const WATCH: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
{ read -r _ <&3; while kill -INT "$server"; do sleep 0.2; done; } 2>/dev/null &
watch=$!
wait "$server"
ended=$?
kill "$watch" 2>/dev/null
exit "$ended"
"#;

impl Watched {
    /// In a process group of its own: the Ctrl-C that we are about to obey, draining first, must
    /// not reach the server.
    pub(crate) fn spawn(server: &Server, settings: &[(&str, &str)]) -> Result<Self, PostgresError> {
        let log = fresh_log(server)?;
        let failed = |error| PostgresError::io(&server.log(), error);
        let postgres = server.binaries().command("postgres");
        let shell = Path::new("/bin/sh");
        let mut command = server.binaries().as_owner(shell);
        command.args(["-c", WATCH, "watch"]).arg(postgres.get_program());
        command.arg("-D").arg(server.data());
        for (name, value) in settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdin(Stdio::piped()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        command.process_group(0);
        let started = Command::from(command).spawn();
        let mut shell = started.map_err(|error| PostgresError::io(shell, error))?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// When the server is gone. May be dropped and called again.
    pub(crate) async fn ended(&mut self) {
        // An error could only be that somebody else has waited for it, and then it is gone, too.
        let _ = self.shell.wait().await;
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.shell.try_wait(), Ok(None))
    }

    /// Begins the fast stop.
    pub(crate) fn release(&mut self) {
        self.pipe = None;
    }
}

/// The log of the run before is kept beside it.
fn fresh_log(server: &Server) -> Result<File, PostgresError> {
    let path = server.log();
    let _ = std::fs::rename(&path, path.with_extension("before"));
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let file = file.map_err(|error| PostgresError::io(&path, error))?;
    server.give(&path)?;
    Ok(file)
}
