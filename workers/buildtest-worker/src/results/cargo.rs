use super::tally::{Excerpts, Outcome, Tally};

/// libtest, as `cargo test` shows it: one section for each binary.
#[derive(Default)]
pub(crate) struct Cargo {
    tally: Tally,
    excerpts: Excerpts,
    figures: (u64, u64, u64),
    summaries: u64,
}

impl Cargo {
    pub(crate) fn line(&mut self, line: &str) {
        // What a failed test has printed comes here, whatever it looks like.
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----")) {
            return self.excerpts.open(name.strip_suffix(" stdout").unwrap_or(name));
        }
        if line == "failures:" {
            return self.excerpts.close();
        }
        if self.excerpts.is_open() {
            return self.excerpts.push(line);
        }
        if let Some(summary) = line.strip_prefix("test result: ") {
            let figure = |what: &str| {
                let before = summary.split(what).next().filter(|before| *before != summary)?;
                before.trim_end().rsplit([' ', '.']).next()?.parse::<u64>().ok()
            };
            let figures = (figure(" passed"), figure(" failed"), figure(" ignored"));
            if let (Some(passed), Some(failed), Some(skipped)) = figures {
                let (all_passed, all_failed, all_skipped) = self.figures;
                self.figures = (all_passed + passed, all_failed + failed, all_skipped + skipped);
                self.summaries += 1;
            }
            return;
        }
        let Some((name, outcome)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        let name = name.strip_suffix(" - should panic").unwrap_or(name);
        match outcome.split([' ', ',']).next() {
            Some("ok") => self.tally.count(name, Outcome::Passed),
            Some("FAILED") => self.tally.count(name, Outcome::Failed),
            Some("ignored") => self.tally.count(name, Outcome::Skipped),
            _ => {}
        }
    }

    pub(crate) fn finish(mut self) -> Tally {
        self.tally.explain(self.excerpts);
        // A binary that crashed has no summary; then what it named counts.
        let (passed, failed, skipped) = self.figures;
        if self.summaries > 0 && passed + failed + skipped >= self.tally.tests() {
            return self.tally.with_figures(passed, failed, skipped);
        }
        self.tally
    }
}
