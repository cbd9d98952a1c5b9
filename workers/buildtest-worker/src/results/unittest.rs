use super::tally::{Excerpts, Outcome, Tally};

/// Python's unittest, with `-v`.
#[derive(Default)]
pub(crate) struct Unittest {
    tally: Tally,
    excerpts: Excerpts,
    /// A test with a docstring has its name on the line before.
    name: Option<String>,
    after_rule: bool,
    ran: Option<u64>,
    figures: Option<(u64, u64, u64)>,
}

impl Unittest {
    pub(crate) fn line(&mut self, line: &str) {
        if is_rule(line, '=') {
            self.excerpts.close();
            self.after_rule = true;
            return;
        }
        if std::mem::take(&mut self.after_rule) {
            let failed = ["FAIL: ", "ERROR: "].iter().find_map(|kind| line.strip_prefix(kind));
            if let Some(name) = failed.and_then(name) {
                self.tally.count(&name, Outcome::Failed);
                self.excerpts.open(&name);
            }
            return;
        }
        if let Some(count) = line.strip_prefix("Ran ").and_then(|rest| {
            let (count, rest) = rest.split_once(' ')?;
            rest.starts_with("test").then(|| count.parse().ok())?
        }) {
            self.excerpts.close();
            self.ran = Some(count);
            return;
        }
        if let Some(ran) = self.ran
            && self.figures.is_none()
            && (line == "OK" || line.starts_with("OK (") || line.starts_with("FAILED ("))
        {
            let failed = figure(line, "(failures=")
                + figure(line, ", failures=")
                + figure(line, "errors=")
                + figure(line, "unexpected successes=");
            let skipped = figure(line, "skipped=");
            let ran = ran.saturating_sub(skipped);
            self.figures = Some((ran.saturating_sub(failed), failed, skipped));
            return;
        }
        if self.excerpts.is_open() {
            if !is_rule(line, '-') {
                self.excerpts.push(line);
            }
            return;
        }
        self.verbose(line);
    }

    fn verbose(&mut self, line: &str) {
        let Some((test, outcome)) = line.rsplit_once(" ... ") else {
            self.name = name(line);
            return;
        };
        let before = self.name.take();
        let Some(name) = name(test).or(before) else { return };
        match outcome {
            "ok" | "expected failure" => self.tally.count(&name, Outcome::Passed),
            _ if outcome.starts_with("skipped") => self.tally.count(&name, Outcome::Skipped),
            // Named again below, with what is said about it.
            _ => {}
        }
    }

    pub(crate) fn finish(mut self) -> Tally {
        let Some((passed, failed, skipped)) = self.figures else {
            // Without its summary these may be anybody's lines.
            return Tally::default();
        };
        self.tally.explain(self.excerpts);
        self.tally.with_figures(passed, failed, skipped)
    }
}

/// From `test_a (tests.T.test_a)`, or `test_a (tests.T)` before Python 3.11; a subtest says more
/// after it.
fn name(text: &str) -> Option<String> {
    let (method, rest) = text.trim().split_once(" (")?;
    let (class, more) = rest.split_once(')')?;
    let is_name = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    if !is_name(method) || !is_name(class) {
        return None;
    }
    let whole = match class.ends_with(method) {
        true => class.to_owned(),
        false => format!("{class}.{method}"),
    };
    Some(whole + more)
}

fn is_rule(line: &str, of: char) -> bool {
    line.len() >= 70 && line.chars().all(|letter| letter == of)
}

fn figure(line: &str, what: &str) -> u64 {
    let number = line.split_once(what).map(|(_, rest)| rest.split([',', ')']).next());
    number.flatten().and_then(|number| number.parse().ok()).unwrap_or(0)
}
