use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use tempfile::TempDir;

/// A program that runs for one test: it is killed when this is dropped, and also when the test is.
/// Between us and it stands a shell that reads from a pipe of ours; the system closes the pipe for
/// whoever cannot.
#[derive(Debug)]
pub struct Program {
    shell: Child,
    pipe: Option<ChildStdin>,
    folder: TempDir,
}

const WATCH: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
program=$!
{ read -r _ <&3; kill -KILL "$program"; } 2>/dev/null &
watch=$!
wait "$program"
ended=$?
kill "$watch" 2>/dev/null
exit "$ended"
"#;

impl Program {
    /// Of our environment it sees PATH and HOME, and else only what `prepare` says. That
    /// gets a folder that only we can read, and that lives as long as the program.
    pub fn start(prepare: impl FnOnce(&Path) -> io::Result<Command>) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let command = prepare(folder.path())?;
        let log = File::create(folder.path().join("log"))?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", WATCH, "watch"]).arg(command.get_program()).args(command.get_args());
        shell.env_clear();
        shell.envs(["PATH", "HOME"].iter().filter_map(|name| Some((name, variable(name)?))));
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(place) = command.get_current_dir() {
            shell.current_dir(place);
        }
        shell.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let mut shell = shell.spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe, folder })
    }

    /// Its exit, if it is no more.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().expect("nobody else waits for it")
    }

    /// Ends it, and waits until it has.
    pub fn kill(&mut self) {
        self.pipe = None;
        let _ = self.shell.wait();
    }

    /// All it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no settings; help is in the panic")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
