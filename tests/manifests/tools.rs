//! The programs that `make setup` brings along.
use std::process::{Command, Output};

pub(crate) fn run(name: &str, prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(name);
    command.env("PATH", testkit::tools_path());
    prepare(&mut command);
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{name} does not start; run `make setup`: {error}"))
}
