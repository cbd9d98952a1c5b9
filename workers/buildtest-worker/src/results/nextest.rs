use super::tally::{Excerpts, Outcome, Tally};

/// `cargo nextest run`: names what fails a second time after its summary.
#[derive(Default)]
pub(crate) struct Nextest {
    tally: Tally,
    excerpts: Excerpts,
    figures: Option<(u64, u64, u64)>,
}

impl Nextest {
    pub(crate) fn line(&mut self, line: &str) {
        let words = line.trim_start();
        // Tests' own output is further to the right than this, or at the left edge.
        let is_ours = (4..=12).contains(&(line.len() - words.len()));
        let Some((status, rest)) = words.split_once(' ').filter(|_| is_ours) else {
            return self.excerpts.push(line);
        };
        let outcome = match status {
            "PASS" | "LEAK" => Outcome::Passed,
            "FAIL" | "TIMEOUT" | "ABORT" | "SIGSEGV" | "SIGABRT" | "SIGKILL" => Outcome::Failed,
            "Summary" => {
                self.excerpts.close();
                self.figures = figures(rest);
                return;
            }
            _ => return self.excerpts.push(line),
        };
        let named = rest.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("] "));
        let Some((_, name)) = named else { return self.excerpts.push(line) };
        // Newer versions count: `(1/3) `.
        let name = name.trim_start();
        let name = match name.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
            Some((_, name)) => name,
            None => name,
        };
        if self.figures.is_some() {
            return;
        }
        self.tally.count(name, outcome);
        match outcome {
            Outcome::Failed => self.excerpts.open(name),
            Outcome::Passed | Outcome::Skipped => self.excerpts.close(),
        }
    }

    pub(crate) fn finish(mut self) -> Tally {
        self.tally.explain(self.excerpts);
        match self.figures {
            Some((passed, failed, skipped)) => self.tally.with_figures(passed, failed, skipped),
            None => self.tally,
        }
    }
}

/// From `[   0.135s] 3 tests run: 2 passed (1 slow), 1 failed, 1 skipped`.
fn figures(summary: &str) -> Option<(u64, u64, u64)> {
    let (_, counts) = summary.split_once("run: ")?;
    let mut figures = (0, 0, 0);
    for count in counts.split(", ") {
        let mut words = count.split_ascii_whitespace();
        let (Some(number), Some(what)) = (words.next()?.parse::<u64>().ok(), words.next()) else {
            continue;
        };
        match what {
            "passed" => figures.0 += number,
            "failed" | "timed" | "exec" => figures.1 += number,
            "skipped" => figures.2 += number,
            _ => {}
        }
    }
    Some(figures)
}
