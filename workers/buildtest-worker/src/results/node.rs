use super::tally::{Excerpts, Outcome, Tally};

/// Node's test runner, as TAP and as `spec`, and TAP of others.
#[derive(Default)]
pub(crate) struct Node {
    tally: Tally,
    excerpts: Excerpts,
    /// Names of what is around the next line, by depth.
    suites: Vec<String>,
    /// The depth of the last test; one that ends further left was a suite around it.
    last: usize,
    figures: Figures,
    /// `spec` tells failures once more at the end.
    over: bool,
}

#[derive(Default)]
struct Figures {
    tests: Option<u64>,
    failed: u64,
    skipped: u64,
}

impl Node {
    pub(crate) fn line(&mut self, line: &str) {
        let words = line.trim_start();
        let indent = line.len() - words.len();
        if let Some(figure) = words.strip_prefix("# ").or_else(|| words.strip_prefix("ℹ ")) {
            if indent == 0 && self.figure(figure) {
                self.excerpts.close();
                return;
            }
            if let Some(name) = figure.strip_prefix("Subtest: ") {
                self.excerpts.close();
                self.around(indent / TAP_INDENT, name);
                return;
            }
        }
        let understood = self.over || self.tap(words, indent) || self.spec(words, indent);
        if !understood {
            self.excerpts.push(line);
        }
    }

    fn tap(&mut self, words: &str, indent: usize) -> bool {
        let (failed, rest) = match (words.strip_prefix("not ok "), words.strip_prefix("ok ")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return false,
        };
        let number = rest.split(' ').next().unwrap_or(rest);
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
        let name = rest[number.len()..].trim_start();
        let name = name.strip_prefix("- ").unwrap_or(name);
        let (name, directive) = name.split_once(" # ").unwrap_or((name, ""));
        let skipped = directive.starts_with("SKIP") || directive.starts_with("TODO");
        self.ended(indent / TAP_INDENT, name, failed, skipped);
        true
    }

    fn spec(&mut self, words: &str, indent: usize) -> bool {
        let Some((mark, rest)) = words.split_once(' ') else { return false };
        let depth = indent / SPEC_INDENT;
        let name = rest.rsplit_once(" (").map_or(rest, |(name, _)| name);
        match mark {
            "▶" => self.around(depth, name),
            "✔" => self.ended(depth, name, false, false),
            "✖" if rest == "failing tests:" => self.over = true,
            "✖" => self.ended(depth, name, true, false),
            "﹣" => self.ended(depth, name, false, true),
            _ => return false,
        }
        true
    }

    fn around(&mut self, depth: usize, name: &str) {
        self.suites.truncate(depth);
        while self.suites.len() < depth {
            self.suites.push(String::new());
        }
        self.suites.push(name.to_owned());
    }

    fn ended(&mut self, depth: usize, name: &str, failed: bool, skipped: bool) {
        self.excerpts.close();
        let was_around = self.last > depth;
        self.last = depth;
        if was_around {
            return;
        }
        let around = self.suites.iter().take(depth).filter(|suite| !suite.is_empty());
        let mut full: Vec<&str> = around.map(String::as_str).collect();
        full.push(name);
        let full = full.join(" > ");
        let outcome = match (skipped, failed) {
            (true, _) => Outcome::Skipped,
            (false, true) => Outcome::Failed,
            (false, false) => Outcome::Passed,
        };
        self.tally.count(&full, outcome);
        if outcome == Outcome::Failed {
            self.excerpts.open(&full);
        }
    }

    /// From `tests 5`.
    fn figure(&mut self, text: &str) -> bool {
        let Some((what, number)) = text.split_once(' ') else { return false };
        let Ok(number) = number.parse::<f64>() else { return false };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of tests; whatever else is said here is cut to one"
        )]
        let count = number as u64;
        match what {
            "tests" => self.figures.tests = Some(count),
            "fail" | "cancelled" => self.figures.failed += count,
            "skipped" | "todo" => self.figures.skipped += count,
            "pass" | "suites" | "duration_ms" => {}
            _ => return false,
        }
        true
    }

    pub(crate) fn finish(mut self) -> Tally {
        self.tally.explain(self.excerpts);
        let Figures { tests, failed, skipped } = self.figures;
        match tests {
            Some(tests) => {
                let passed = tests.saturating_sub(failed + skipped);
                self.tally.with_figures(passed, failed, skipped)
            }
            None => self.tally,
        }
    }
}

const TAP_INDENT: usize = 4;
const SPEC_INDENT: usize = 2;
