use attempt::{clean, cut, tail};
use child::{Ended, How};
use serde::Serialize;

use crate::results::{Case, Outcome, Tally};

/// Everything there is to know about a build, as it is kept in the store.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) message: String,
    pub(crate) trace: String,
    pub(crate) source: messages::Source,
    pub(crate) sandbox: &'static str,
    pub(crate) network: bool,
    pub(crate) passed: bool,
    pub(crate) tests: u64,
    pub(crate) failures: u64,
    pub(crate) skipped: u64,
    pub(crate) duration_ms: u64,
    pub(crate) commands: Vec<Ran>,
}

/// One command, and what came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Ran {
    pub(crate) command: Vec<String>,
    /// As in `exited 0`.
    pub(crate) ended: String,
    pub(crate) passed: bool,
    pub(crate) duration_ms: u64,
    pub(crate) tests: u64,
    pub(crate) failures: u64,
    pub(crate) skipped: u64,
    /// The tests that were named, with what was said about those that failed.
    pub(crate) cases: Vec<Case>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Bytes of output that say why a command failed without naming a test.
const WHY: usize = 4_000;

impl Ran {
    pub(crate) fn new(command: Vec<String>, ended: &Ended, tally: Tally) -> Self {
        let (stdout, stderr) = (clean(&ended.stdout.text()), clean(&ended.stderr.text()));
        let mut ran = Self {
            ended: told(ended.how),
            passed: ended.succeeded() && tally.failed == 0,
            duration_ms: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
            tests: tally.tests(),
            failures: tally.failed,
            skipped: tally.skipped,
            cases: tally.cases,
            command,
            stdout,
            stderr,
        };
        if !ran.passed && ran.failures == 0 {
            // It counts, or nothing in the figures would say that it failed.
            ran.failures = 1;
            ran.cases.push(Case {
                name: ran.command.join(" "),
                outcome: Outcome::Failed,
                excerpt: Some(format!("{}\n{}", ran.ended, ran.last_words())),
            });
        }
        ran
    }

    /// Errors of compilers come first, so this begins at the first of them; otherwise the end.
    fn last_words(&self) -> &str {
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let error = said.find("\nerror").map(|at| at + 1).filter(|_| said.len() > WHY);
        let error = error.or_else(|| said.starts_with("error").then_some(0));
        if let Some(error) = error {
            return cut(&said[error..], WHY);
        }
        tail(said, WHY)
    }
}

impl Report {
    pub(crate) fn add(&mut self, ran: Ran) {
        self.passed &= ran.passed;
        self.tests += ran.tests;
        self.failures += ran.failures;
        self.skipped += ran.skipped;
        self.commands.push(ran);
    }

    /// The names of the first tests that failed, for a line in a log.
    pub(crate) fn failed(&self) -> String {
        let cases = self.commands.iter().flat_map(|ran| &ran.cases);
        let failed = cases.filter(|case| case.outcome == Outcome::Failed);
        failed.take(3).map(|case| case.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

fn told(how: How) -> String {
    match how {
        How::Exited(code) => format!("exited {code}"),
        How::Signalled(signal) => format!("ended by signal {signal}"),
        How::TimedOut => "took too long, and was ended".to_owned(),
        How::Stopped => "was stopped".to_owned(),
        How::OutOfMemory => "took too much memory, and was ended".to_owned(),
    }
}
