//! The programs that `make setup` brings along.
use std::ffi::OsString;
use std::process::{Command, Output};

/// Ours first: the kubectl of a distribution may be too old.
#[expect(clippy::disallowed_methods, reason = "where programs are is not a setting of ours")]
pub(crate) fn path() -> OsString {
    let ours = std::env::home_dir().map(|home| home.join(".cache/cogo/tools/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = ours.into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(folders).expect("what was in PATH may be in it again")
}

pub(crate) fn run(name: &str, prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(name);
    command.env("PATH", path());
    prepare(&mut command);
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{name} does not start; run `make setup`: {error}"))
}
