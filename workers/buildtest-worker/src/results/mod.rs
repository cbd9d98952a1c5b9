//! What tests say, read line by line while they run: whatever program ran them, its output tells by
//! its form which of the readers understands it.

mod cargo;
mod go;
mod junit;
mod nextest;
mod node;
mod pytest;
mod tally;
mod unittest;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use child::Stream;

pub(crate) use tally::{Case, Outcome, Tally};

/// Reads the output of one command.
#[derive(Default)]
pub(crate) struct Results {
    stdout: Readers,
    stderr: Readers,
}

/// One of each for either stream: lines of the two come in between each other.
#[derive(Default)]
struct Readers {
    cargo: cargo::Cargo,
    nextest: nextest::Nextest,
    pytest: pytest::Pytest,
    unittest: unittest::Unittest,
    node: node::Node,
    go: go::Go,
}

impl Results {
    pub(crate) fn line(&mut self, stream: Stream, line: &str) {
        let readers = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        readers.cargo.line(line);
        readers.nextest.line(line);
        readers.pytest.line(line);
        readers.unittest.line(line);
        readers.node.line(line);
        readers.go.line(line);
    }

    /// Nothing, if the output was none that we understand.
    pub(crate) fn finish(self) -> Tally {
        let mut all = Tally::default();
        for readers in [self.stdout, self.stderr] {
            all.add(readers.cargo.finish());
            all.add(readers.nextest.finish());
            all.add(readers.pytest.finish());
            all.add(readers.unittest.finish());
            all.add(readers.node.finish());
            all.add(readers.go.finish());
        }
        all
    }
}

/// JUnit files that lie in the tree. Those that came with the source say nothing about this run, so
/// they are listed before it.
pub(crate) fn junit_files(work: &Path) -> HashSet<PathBuf> {
    junit::files(work)
}

/// What the JUnit files say that were not there before.
pub(crate) fn junit_results(work: &Path, before: &HashSet<PathBuf>) -> Tally {
    let mut all = Tally::default();
    let mut made: Vec<PathBuf> = junit::files(work).difference(before).cloned().collect();
    made.sort();
    for file in made {
        all.add(junit::read(&file).unwrap_or_default());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tally {
        let mut results = Results::default();
        for line in text.lines() {
            results.line(Stream::Stdout, line);
        }
        results.finish()
    }

    #[test]
    fn the_tools_are_understood() {
        for (tool, text, tests, failed, skipped, names) in [
            ("cargo", include_str!("../../tests/recorded/cargo.txt"), 4, 1, 1, &["tests::bad"][..]),
            (
                "nextest",
                include_str!("../../tests/recorded/nextest.txt"),
                3,
                1,
                1,
                &["r tests::bad"],
            ),
            (
                "unittest",
                include_str!("../../tests/recorded/unittest.txt"),
                5,
                3,
                1,
                &["test_a.T.test_err", "test_a.T.test_bad", "test_a.T.test_sub (i=1)"],
            ),
            (
                "node, tap",
                include_str!("../../tests/recorded/node-tap.txt"),
                4,
                2,
                1,
                &["fails", "suite > inner bad"],
            ),
            (
                "node, spec",
                include_str!("../../tests/recorded/node-spec.txt"),
                4,
                2,
                1,
                &["fails", "suite > inner bad"],
            ),
            (
                "pytest",
                include_str!("../../tests/recorded/pytest.txt"),
                4,
                2,
                1,
                &["test_a.py::test_err", "test_a.py::test_bad"],
            ),
            (
                "go",
                include_str!("../../tests/recorded/go.txt"),
                3,
                2,
                1,
                &["example.com/a/TestBad", "example.com/b"],
            ),
        ] {
            let tally = read(text);
            assert_eq!(
                (tally.tests(), tally.failed, tally.skipped),
                (tests, failed, skipped),
                "{tool}"
            );
            let failed: Vec<&Case> =
                tally.cases.iter().filter(|case| case.outcome == Outcome::Failed).collect();
            let found: Vec<&str> = failed.iter().map(|case| case.name.as_str()).collect();
            assert_eq!(found, names, "{tool}");
            for case in failed {
                let excerpt = case.excerpt.as_deref().unwrap_or_default();
                assert!(!excerpt.is_empty(), "{tool}: {} does not say why", case.name);
            }
            let other = tally.cases.iter().filter(|case| case.outcome != Outcome::Failed).count();
            assert!(other > 0, "{tool}: those that passed are not named");
        }
    }

    #[test]
    fn an_excerpt_says_why() {
        for (text, name, says) in [
            (include_str!("../../tests/recorded/cargo.txt"), "tests::bad", "failed: not three"),
            (include_str!("../../tests/recorded/nextest.txt"), "r tests::bad", "not three"),
            (include_str!("../../tests/recorded/unittest.txt"), "test_a.T.test_err", "boom"),
            (include_str!("../../tests/recorded/node-tap.txt"), "fails", "not two"),
            (include_str!("../../tests/recorded/node-spec.txt"), "suite > inner bad", "boom"),
            (include_str!("../../tests/recorded/pytest.txt"), "test_a.py::test_bad", "1 == 2"),
            (include_str!("../../tests/recorded/go.txt"), "example.com/a/TestBad", "not two"),
        ] {
            let tally = read(text);
            let case = tally.cases.iter().find(|case| case.name == name).unwrap();
            let excerpt = case.excerpt.as_deref().unwrap();
            assert!(excerpt.contains(says), "{name}: {excerpt}");
        }
    }

    #[test]
    fn what_is_no_test_output_is_nothing() {
        let text =
            "building…\ntesting was fine\n3 files passed\nok\n\n{\"Action\": 5}\n{}\nℹ hello\n";
        assert_eq!(read(text).tests(), 0);
    }
}
