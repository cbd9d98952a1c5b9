use std::collections::HashMap;

use attempt::cut;
use serde::Serialize;

/// What became of the tests of a command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// The first so many of them, and of those that failed, as many again.
    pub(crate) cases: Vec<Case>,
    named: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    /// What was said about a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) excerpt: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// Tests that a report names.
const MOST_NAMES: u64 = 2_000;
/// Bytes of a name, and of what is said about a failure.
const LONGEST_NAME: usize = 300;
const LONGEST_EXCERPT: usize = 4_000;

impl Tally {
    /// Tests that ran.
    pub(crate) fn tests(&self) -> u64 {
        self.passed + self.failed
    }

    pub(crate) fn count(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Skipped => self.skipped += 1,
        }
        let most = if outcome == Outcome::Failed { 2 * MOST_NAMES } else { MOST_NAMES };
        if self.named < most {
            self.named += 1;
            let name = cut(name, LONGEST_NAME).to_owned();
            self.cases.push(Case { name, outcome, excerpt: None });
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.named += other.named;
        self.cases.extend(other.cases);
        self.cases.truncate(usize::try_from(2 * MOST_NAMES).unwrap_or(usize::MAX));
    }

    /// Says of failures what was gathered about them.
    pub(crate) fn explain(&mut self, excerpts: Excerpts) {
        let mut excerpts = excerpts.by_name;
        for case in self.cases.iter_mut().filter(|case| case.outcome == Outcome::Failed) {
            case.excerpt = excerpts.remove(&case.name).or(case.excerpt.take());
        }
    }

    /// The same with the figures of the tool's own summary: it also counts what it did not name.
    pub(crate) fn with_figures(mut self, passed: u64, failed: u64, skipped: u64) -> Self {
        (self.passed, self.failed, self.skipped) = (passed, failed, skipped);
        self
    }
}

/// What is said about failures, by test.
#[derive(Debug, Default)]
pub(crate) struct Excerpts {
    by_name: HashMap<String, String>,
    open: Option<String>,
}

/// Failures that are explained.
const MOST_EXCERPTS: usize = 200;

impl Excerpts {
    /// The next lines are about this test.
    pub(crate) fn open(&mut self, name: &str) {
        self.open = Some(cut(name, LONGEST_NAME).to_owned());
    }

    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        if let Some(excerpt) = self.by_name.remove(from) {
            self.by_name.insert(cut(to, LONGEST_NAME).to_owned(), excerpt);
        }
    }

    pub(crate) fn push(&mut self, line: &str) {
        let Some(name) = &self.open else { return };
        if self.by_name.len() >= MOST_EXCERPTS && !self.by_name.contains_key(name) {
            return;
        }
        let excerpt = self.by_name.entry(name.clone()).or_default();
        let room = LONGEST_EXCERPT.saturating_sub(excerpt.len());
        if room > 0 {
            if !excerpt.is_empty() {
                excerpt.push('\n');
            }
            excerpt.push_str(cut(line, room));
        }
    }
}
