use std::io;
use std::path::PathBuf;

use miette::Diagnostic;

use crate::{PortInUse, PostgresError};

/// Why the local stack does not start, or no longer runs.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum StackError {
    #[error("this user has no home to keep data in")]
    #[diagnostic(help("say where: `--data FOLDER`, or COGO_HOME"))]
    NoHome,

    #[error("could not use the data folder {}", .folder.display())]
    #[diagnostic(help("make it yours and writable, or choose another with `--data FOLDER`"))]
    Folder { folder: PathBuf, source: io::Error },

    #[error("the path {} is too long for a Unix socket in it", .folder.display())]
    #[diagnostic(help(
        "choose a folder with a path of at most {longest} bytes with `--data FOLDER`"
    ))]
    LongPath { folder: PathBuf, longest: usize },

    #[error("the data folder {} belongs to another user", .folder.display())]
    #[diagnostic(help("run as that user, or choose another folder with `--data FOLDER`"))]
    NotOurs { folder: PathBuf },

    #[error(
        "{} cannot be reached by the user that Postgres runs as, because it refuses to run as root",
        .folder.display()
    )]
    #[diagnostic(help(
        "run as an ordinary user, or choose a folder that others can pass through to, as in \
         `--data /var/lib/cogo`"
    ))]
    OutOfReach { folder: PathBuf },

    #[error("the local stack in {} runs already{}", .folder.display(), process(*.pid))]
    #[diagnostic(help("stop it{}, or choose another folder with `--data FOLDER`", kill(*.pid)))]
    Taken { folder: PathBuf, pid: Option<u32> },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Port(#[from] PortInUse),

    #[error(
        "the data in {} was made by Postgres {made}, and here is Postgres {here}",
        .folder.display()
    )]
    #[diagnostic(help(
        "install Postgres {made} (or say where its programs are with `--pg-bin FOLDER`), or begin \
         afresh in another folder with `--data FOLDER`"
    ))]
    OtherVersion { folder: PathBuf, made: String, here: String },

    #[error("processes of an earlier Postgres still use {}: {pids:?}", .folder.display())]
    #[diagnostic(help("they have been told to stop; wait, or end them with `kill`"))]
    StillInUse { folder: PathBuf, pids: Vec<u32> },

    #[error("{} holds something else than it should", .path.display())]
    #[diagnostic(help("move it away, and it is made anew"))]
    Damaged { path: PathBuf },

    #[error("Postgres does not start{}:\n{}", why(.log), .log)]
    #[diagnostic(help("the whole log is {}", .path.display()))]
    DoesNotStart { log: String, path: PathBuf },

    #[error("Postgres stopped by itself:\n{log}")]
    #[diagnostic(help("the whole log is {}; the next start recovers the data", .path.display()))]
    Died { log: String, path: PathBuf },

    #[error("Postgres did not stop within {seconds} s and was stopped the hard way")]
    #[diagnostic(help("the next start recovers the data"))]
    StoppedHard { seconds: u64 },

    #[error("there are no edge functions in {}: it has no {router}", .folder.display())]
    #[diagnostic(help("name the folder that they and `_local` lie in with `--functions FOLDER`"))]
    NoFunctions { folder: PathBuf, router: &'static str },

    #[error("the gateway stopped by itself")]
    #[diagnostic(help("this is a mistake of ours; start again, and report it"))]
    GatewayDied,

    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(", as process {pid}"))
}

fn kill(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" with `kill {pid}`"))
}

fn why(log: &str) -> &'static str {
    if log.is_empty() { ", and says nothing" } else { "" }
}
