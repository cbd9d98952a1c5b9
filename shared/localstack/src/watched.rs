use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, ChildStdin, Command};

/// A program that stops when we do, however we end: between us and it stands a shell that reads
/// from a pipe of ours, and stops the program when the pipe closes. The system closes it for whoever
/// is killed.
#[derive(Debug)]
pub(crate) struct Watched {
    shell: Child,
    pipe: Option<ChildStdin>,
}

/// How a program is asked to stop. It is asked again and again, because one that only begins to
/// start may not have heard it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Farewell {
    /// Postgres' fast stop, which rolls back what runs; it may take its time.
    Interrupt,
    /// Whoever is not gone after five seconds of being asked is killed.
    Terminate,
}

const WATCH: &str = r#"
exec 3<&0 </dev/null
signal=$1
patience=$2
shift 2
"$@" 3<&- &
program=$!
{
    read -r _ <&3
    while kill "-$signal" "$program"; do
        sleep 0.2
        patience=$((patience - 1))
        [ "$patience" -ne 0 ] || signal=KILL
    done
} 2>/dev/null &
watch=$!
wait "$program"
ended=$?
kill "$watch" 2>/dev/null
exit "$ended"
"#;

pub(crate) const SHELL: &str = "/bin/sh";

impl Watched {
    /// `shell` is [`SHELL`] with the environment, the folder and the user that the program gets. In
    /// a process group of its own: the Ctrl-C that we are about to obey, draining first, must not
    /// reach it.
    pub(crate) fn spawn(
        mut shell: std::process::Command,
        program: &[OsString],
        log: File,
        farewell: Farewell,
    ) -> io::Result<Self> {
        let (signal, patience) = match farewell {
            // A number that is never reached.
            Farewell::Interrupt => ("INT", "-1"),
            Farewell::Terminate => ("TERM", "25"),
        };
        shell.args(["-c", WATCH, "watch", signal, patience]).args(program);
        shell.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        shell.process_group(0);
        let mut shell = Command::from(shell).spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// When the program is gone: how it ended, as people would say it. May be dropped and called
    /// again.
    pub(crate) async fn ended(&mut self) -> String {
        match self.shell.wait().await {
            Ok(status) => status.to_string(),
            // Somebody else has waited for it, and then it is gone, too.
            Err(error) => error.to_string(),
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.shell.try_wait(), Ok(None))
    }

    /// Begins to stop it.
    pub(crate) fn release(&mut self) {
        self.pipe = None;
    }
}

/// The log of the run before is kept beside it.
pub(crate) fn fresh_log(path: &Path) -> io::Result<File> {
    let _ = std::fs::rename(path, path.with_extension("before"));
    appended_log(path)
}

pub(crate) fn appended_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The end of a log.
pub(crate) fn last_words(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
