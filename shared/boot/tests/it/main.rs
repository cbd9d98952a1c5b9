//! Starts `examples/patient.rs` as a process and looks at what an operator sees: its exit code, its
//! last words, and what signals do.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn a_signal_stops_the_work_and_the_process_ends_well() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut patient = Patient::start(&["--ending=done"]);
        patient.hears("waiting");
        patient.signal(signal);
        patient.hears(signal.as_str());
        patient.hears("told to stop");
        assert_eq!(patient.exit_code(), 0);
    }
}

#[test]
fn a_second_signal_ends_at_once_what_does_not_stop() {
    let mut patient = Patient::start(&["--ending=never"]);
    patient.hears("waiting");
    patient.signal(Signal::SIGTERM);
    patient.hears("told to stop");
    patient.signal(Signal::SIGINT);
    patient.hears("SIGINT again");
    assert_eq!(patient.exit_code(), 130);
}

#[test]
fn a_failure_is_reported_with_its_causes_and_its_cure() {
    let mut patient = Patient::start(&["--ending=failed"]);
    patient.hears("× patient stopped");
    patient.hears("├─▶ could not be patient");
    patient.hears("╰─▶ it was to fail");
    patient.hears("help: ask for another ending");
    assert_eq!(patient.exit_code(), 1);
}

#[test]
fn a_log_collector_gets_a_failure_as_one_object() {
    let mut patient = Patient::start(&["--ending=failed", "--log-format=json"]);
    let line = patient.hears("gave up");
    assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    assert!(line.contains(r#""error":"patient stopped: could not be patient: it was to fail""#));
    assert!(line.contains(r#""help":"ask for another ending""#), "{line}");
    assert_eq!(patient.exit_code(), 1);
}

#[test]
fn wrong_settings_are_refused_with_2() {
    for (arguments, said) in [
        (&["--ending=badly"][..], "invalid value 'badly' for '--ending <ENDING>'"),
        (&[], "--ending <ENDING>"),
        (&["--ending=done", "--log=debgu"], "did you mean `debug`?"),
        (&["--ending=done", "--threads=0"], "invalid value '0' for '--threads <N>'"),
        (&["--settings=/nowhere/cogo.env"], "could not read the settings in /nowhere/cogo.env"),
    ] {
        let mut patient = Patient::start(arguments);
        patient.hears(said);
        assert_eq!(patient.exit_code(), 2, "{arguments:?}");
    }
}

#[test]
fn help_is_no_failure_and_says_what_the_process_does() {
    let output = Command::new(program()).arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.starts_with("Waits to be told to stop"), "{help}");
    let (own, process) = help.split_once("Process:").expect("the process has a heading");
    assert!(own.contains("--ending") && !process.contains("--ending"), "{help}");
    for part in ["[env: ENDING]", "--settings <FILE>", "--threads <N>", "--log <LEVELS>"] {
        assert!(help.contains(part), "{part} is missing in\n{help}");
    }
}

struct Patient {
    process: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Patient {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(program());
        // Nothing of ours may come from the environment of whoever runs the tests.
        command.args(arguments).env_clear().stderr(Stdio::piped());
        let mut process = command.spawn().expect("`cargo test` builds the examples too");
        let lines = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
        Self { process, lines }
    }

    /// Reads on to the next line with `said` in it, and gives it back.
    fn hears(&mut self, said: &str) -> String {
        let mut heard = String::new();
        for line in &mut self.lines {
            let line = line.expect("the log is text");
            if line.contains(said) {
                return line;
            }
            heard.push_str(&line);
            heard.push('\n');
        }
        panic!("it never said {said:?}, but\n{heard}");
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).expect("process ids are small");
        kill(Pid::from_raw(id), signal).expect("it still runs");
    }

    fn exit_code(&mut self) -> i32 {
        self.process.wait().expect("it was started").code().expect("no signal killed it")
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        // A test that failed must not leave a process behind that waits for ever.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `target/debug/deps/it-…` runs this; cargo puts examples into `target/debug/examples`.
fn program() -> std::path::PathBuf {
    let here = std::env::current_exe().expect("the test runs from a file");
    let profile = here.ancestors().nth(2).expect("cargo puts tests into a folder of their own");
    profile.join("examples/patient")
}
