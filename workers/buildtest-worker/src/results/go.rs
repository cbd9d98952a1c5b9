use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::tally::{Excerpts, Outcome, Tally};

/// `go test -json`: one object a line.
#[derive(Default)]
pub(crate) struct Go {
    tally: Tally,
    excerpts: Excerpts,
    /// The last lines of each package and test that still runs.
    said: BTreeMap<String, Vec<String>>,
    /// Packages with a test that failed: their own failure says nothing more.
    explained: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    action: String,
    #[serde(alias = "ImportPath")]
    package: Option<String>,
    test: Option<String>,
    output: Option<String>,
}

const MOST_LINES: usize = 50;
const MOST_RUNNING: usize = 1_000;

impl Go {
    pub(crate) fn line(&mut self, line: &str) {
        if !line.starts_with("{\"") {
            return;
        }
        let Ok(Line { action, package: Some(package), test, output }) = serde_json::from_str(line)
        else {
            return;
        };
        let name = match &test {
            Some(test) => format!("{package}/{test}"),
            None => package.clone(),
        };
        if let Some(output) = output {
            if self.said.len() < MOST_RUNNING || self.said.contains_key(&name) {
                let said = self.said.entry(name).or_default();
                if said.len() == MOST_LINES {
                    said.remove(0);
                }
                said.push(output.trim_end().to_owned());
            }
            return;
        }
        let outcome = match action.as_str() {
            "pass" => Outcome::Passed,
            "fail" => Outcome::Failed,
            "skip" => Outcome::Skipped,
            _ => return,
        };
        let said = self.said.remove(&name);
        match (test, outcome) {
            (Some(_), _) => self.tally.count(&name, outcome),
            // It does not build, or its main function failed.
            (None, Outcome::Failed) if !self.explained.contains(&package) => {
                self.tally.count(&name, outcome);
            }
            (None, _) => return,
        }
        if outcome == Outcome::Failed {
            self.explained.insert(package);
            self.excerpts.open(&name);
            said.into_iter().flatten().for_each(|line| self.excerpts.push(&line));
            self.excerpts.close();
        }
    }

    pub(crate) fn finish(mut self) -> Tally {
        self.tally.explain(self.excerpts);
        self.tally
    }
}
