use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Secret;

use crate::{Kept, Limits, Workspace};

/// A program to be run in a [`Workspace`], with what it is given and what it may use.
#[derive(Clone, Debug)]
pub struct Child {
    /// The program and its arguments. A name without `/` is looked for in `PATH` of `env`.
    pub argv: Vec<OsString>,
    pub cwd: PathBuf,
    /// All the variables it gets; nothing is inherited from us.
    pub env: BTreeMap<OsString, OsString>,
    /// What it can read from its standard input, before the end.
    pub stdin: Vec<u8>,
    pub limits: Limits,
    /// Whether it may reach the network; see [`Layer::denies_network`](crate::Layer).
    pub network: bool,
    /// What it may read beside the system's folders and those of `PATH`.
    pub readable: Vec<PathBuf>,
    /// What must not be seen in its output.
    pub redact: Vec<Secret>,
}

impl Child {
    /// In the workspace's folder, with the variables and limits that the settings give everyone,
    /// without network.
    pub fn new<T: Into<OsString>>(
        argv: impl IntoIterator<Item = T>,
        workspace: &Workspace,
    ) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            cwd: workspace.work().to_owned(),
            env: workspace.environment(),
            stdin: Vec::new(),
            limits: workspace.limits(),
            network: false,
            readable: Vec::new(),
            redact: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// What became of a run. Nothing of it is left running.
#[derive(Debug)]
pub struct Ended {
    pub how: How,
    pub stdout: Kept,
    pub stderr: Kept,
    pub duration: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Exited(i32),
    /// By a signal, and not one of ours. Behind a sandbox's own first process, and behind a shell,
    /// an exit code of 128 and more says the same, and is told as this.
    Signalled(i32),
    /// It took longer than it might, and was ended.
    TimedOut,
    /// The caller did not want it any more, and it was ended.
    Stopped,
    /// Its processes together took more memory than they might, and were ended.
    OutOfMemory,
}

impl Ended {
    pub fn succeeded(&self) -> bool {
        self.how == How::Exited(0)
    }
}

/// Why a program did not run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ChildError {
    #[error("there is no program `{program}`")]
    #[diagnostic(help("install it, or add its folder to SANDBOX_PATH"))]
    NotFound { program: String },
    #[error("the program {program} is where the user that children run as cannot read")]
    #[diagnostic(help(
        "install it outside of {closed}, or use SANDBOX=bubblewrap or namespaces, which show it"
    ))]
    Unreadable { program: String, closed: String },
    #[error("the program could not be started")]
    Spawn(#[source] io::Error),
    #[error("the sandbox could not be set up: {said}")]
    Sandbox { said: String },
    #[error("could not prepare the workspace {path}")]
    Workspace { path: String, source: io::Error },
}

impl ChildError {
    pub(crate) fn workspace(path: &Path, source: io::Error) -> Self {
        Self::Workspace { path: path.display().to_string(), source }
    }
}
