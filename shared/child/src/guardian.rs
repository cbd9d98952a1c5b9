use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::tree::MARK;

/// A small process that outlives us just long enough to kill what we leave behind.
///
/// A sandbox's processes die with us by themselves; those without a sandbox, and those that were
/// just being started, do not. It notices our end because its standard input ends.
#[derive(Debug)]
pub(crate) struct Guardian {
    process: Child,
    /// Open as long as we live.
    _lifeline: Option<ChildStdin>,
}

/// `$1` is what the marks of all our children begin with.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r nothing
looks=0
while [ "$looks" -lt 100 ]; do
    found=
    for process in /proc/[0-9]*; do
        if grep -qsaF "$1" "$process/environ"; then
            kill -9 "${process#/proc/}" 2>/dev/null && found=yes
        fi
    done
    [ "$found" ] || exit 0
    looks=$((looks + 1))
done
"#;

impl Guardian {
    pub(crate) fn start(prefix: &str) -> io::Result<Self> {
        let mut process = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "cogo-guardian", &format!("{MARK}={prefix}")])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Whoever kills our whole group does not kill it.
            .process_group(0)
            .spawn()?;
        let lifeline = process.stdin.take();
        Ok(Self { process, _lifeline: lifeline })
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // Nothing runs any more: every run holds the sandbox that holds us.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
