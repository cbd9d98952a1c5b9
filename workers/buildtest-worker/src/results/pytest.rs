use super::tally::{Excerpts, Outcome, Tally};

/// pytest, whose `-rA` names every test at its end.
#[derive(Default)]
pub(crate) struct Pytest {
    tally: Tally,
    excerpts: Excerpts,
    /// Below `FAILURES` or `ERRORS`.
    in_failures: bool,
    /// Titles of these sections, with what they say: a function's name without its file.
    titles: Vec<String>,
    figures: Option<(u64, u64, u64)>,
}

impl Pytest {
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(title) = titled(line, '=') {
            self.excerpts.close();
            self.in_failures = matches!(title, "FAILURES" | "ERRORS");
            if let Some(figures) = figures(title) {
                self.figures = Some(figures);
            }
            return;
        }
        if self.in_failures {
            match titled(line, '_') {
                Some(title) => {
                    self.titles.push(title.to_owned());
                    self.excerpts.open(title);
                }
                None => self.excerpts.push(line),
            }
            return;
        }
        // With `-q` the last line stands alone.
        if let Some(figures) = figures(line) {
            self.figures = Some(figures);
            return;
        }
        let Some((status, rest)) = line.split_once(' ') else { return };
        let outcome = match status {
            "PASSED" | "XFAIL" | "XPASS" => Outcome::Passed,
            "FAILED" | "ERROR" => Outcome::Failed,
            "SKIPPED" => Outcome::Skipped,
            _ => return,
        };
        let (name, why) = rest.split_once(" - ").unwrap_or((rest, ""));
        self.tally.count(name, outcome);
        if outcome == Outcome::Failed {
            let function = name.rsplit("::").next().unwrap_or(name);
            let of_it = |title: &&String| {
                let title = title.rsplit(' ').next().unwrap_or(title);
                title.rsplit('.').next() == Some(function)
            };
            match self.titles.iter().find(of_it) {
                Some(title) => self.excerpts.rename(&title.clone(), name),
                None => {
                    self.excerpts.open(name);
                    self.excerpts.push(why);
                    self.excerpts.close();
                }
            }
        }
    }

    pub(crate) fn finish(mut self) -> Tally {
        let Some((passed, failed, skipped)) = self.figures else { return Tally::default() };
        self.tally.explain(self.excerpts);
        self.tally.with_figures(passed, failed, skipped)
    }
}

/// What stands in the middle of a rule: `===== FAILURES =====`.
fn titled(line: &str, of: char) -> Option<&str> {
    let inner = line.trim_matches(of);
    let ruled = line.starts_with(of) && line.ends_with(of) && line.len() >= inner.len() + 4;
    let title = inner.trim();
    (ruled && !title.is_empty() && inner.starts_with(' ')).then_some(title)
}

/// From `1 failed, 2 passed, 1 skipped in 0.12s`.
fn figures(text: &str) -> Option<(u64, u64, u64)> {
    let (counts, time) = text.rsplit_once(" in ")?;
    let time = time.split(' ').next()?.strip_suffix('s')?;
    time.parse::<f64>().ok()?;
    if counts == "no tests ran" {
        return Some((0, 0, 0));
    }
    let mut figures = (0, 0, 0);
    for count in counts.split(", ") {
        let (number, what) = count.split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match what {
            "passed" | "xfailed" | "xpassed" => figures.0 += number,
            "failed" | "error" | "errors" => figures.1 += number,
            "skipped" => figures.2 += number,
            "deselected" | "warning" | "warnings" | "rerun" => {}
            _ => return None,
        }
    }
    Some(figures)
}
