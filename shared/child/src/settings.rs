use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use model::duration;

use crate::{Limits, Wanted, size};

/// How programs we do not trust are run.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Children")]
pub struct ChildSettings {
    /// What keeps children from this machine.
    ///
    /// `auto` takes the strongest of `bubblewrap` and `namespaces` that works here, and refuses to
    /// start if none does. `none` must be said: it leaves files and the network open to children.
    #[arg(long, env, default_value = "auto", value_name = "LAYER")]
    pub sandbox: Wanted,

    /// PATH of the children, who may also read its folders; this process's own unless set.
    #[arg(long, env, default_value_os_t = own_path(), hide_default_value = true)]
    pub sandbox_path: OsString,

    /// What children may read beside the system's folders and those of PATH, separated by `:`.
    #[arg(long, env, value_delimiter = ':', value_name = "PATHS")]
    pub sandbox_readable: Vec<PathBuf>,

    /// Where children work. Whatever a killed process of ours leaves here, the next one removes.
    #[arg(long, env, default_value = "/var/tmp", value_name = "FOLDER")]
    pub sandbox_workspaces: PathBuf,

    /// Memory of a child's processes together, and of each; one that takes more is ended.
    #[arg(long, env, default_value = "4GiB", value_parser = size)]
    pub child_memory: u64,

    /// Processes and threads that a child may have at a time.
    #[arg(long, env, default_value = "512", value_name = "N")]
    pub child_processes: u64,

    /// Largest file a child may write.
    #[arg(long, env, default_value = "1GiB", value_parser = size)]
    pub child_file_size: u64,

    /// What is kept of each output stream of a child: half from its beginning, half from its end.
    #[arg(long, env, default_value = "256KiB", value_parser = size)]
    pub child_output: u64,

    /// How long a child that is told to end may take before it is killed.
    #[arg(long, env, default_value = "1s", value_parser = duration)]
    pub child_grace: Duration,
}

impl ChildSettings {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            time: DEFAULT_TIME,
            grace: self.child_grace,
            memory: self.child_memory,
            processes: self.child_processes,
            file_size: self.child_file_size,
            output: usize::try_from(self.child_output).unwrap_or(usize::MAX),
        }
    }
}

/// For callers that do not set a time of their own.
const DEFAULT_TIME: Duration = Duration::from_secs(600);

#[expect(
    clippy::disallowed_methods,
    reason = "PATH is the system's; as a default it needs no name of ours"
)]
fn own_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

impl Default for ChildSettings {
    fn default() -> Self {
        Self {
            sandbox: Wanted::Auto,
            sandbox_path: own_path(),
            sandbox_readable: Vec::new(),
            sandbox_workspaces: "/var/tmp".into(),
            child_memory: 4 << 30,
            child_processes: 512,
            child_file_size: 1 << 30,
            child_output: 256 << 10,
            child_grace: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        child: ChildSettings,
    }

    #[test]
    fn the_defaults_are_those_that_help_shows() {
        let parsed = Program::try_parse_from(["program"]).unwrap().child;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", ChildSettings::default()));
    }
}
