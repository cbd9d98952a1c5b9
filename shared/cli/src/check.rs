use anstyle::{AnsiColor, Style};
use bus::BusError;
use miette::Diagnostic;
use serde::Serialize;
use telemetry::Chain;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Fine,
    Advice,
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) check: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) found: String,
    pub(crate) fix: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) healthy: bool,
    pub(crate) checks: Vec<Check>,
}

pub(crate) fn fine(check: &'static str, found: String) -> Check {
    Check { check, verdict: Verdict::Fine, found, fix: None }
}

pub(crate) fn advice(check: &'static str, found: String, fix: &str) -> Check {
    Check { check, verdict: Verdict::Advice, found, fix: Some(fix.to_owned()) }
}

pub(crate) fn wrong(check: &'static str, found: String, fix: &str) -> Check {
    Check { check, verdict: Verdict::Wrong, found, fix: Some(fix.to_owned()) }
}

/// The check itself did not work.
pub(crate) fn failed(check: &'static str, error: &BusError) -> Check {
    let (found, help) = match error {
        BusError::Db(error) => {
            (Chain(&**error).to_string(), error.help().map(|help| help.to_string()))
        }
        other => (Chain(other).to_string(), other.help().map(|help| help.to_string())),
    };
    Check { check, verdict: Verdict::Wrong, found, fix: help }
}

pub(crate) fn page(report: &Report) -> String {
    let widest = report.checks.iter().map(|check| check.check.len()).max().unwrap_or_default();
    let mut page = String::new();
    for Check { check, verdict, found, fix } in &report.checks {
        let (mark, colour) = match verdict {
            Verdict::Fine => ("✓", AnsiColor::Green),
            Verdict::Advice => ("!", AnsiColor::Yellow),
            Verdict::Wrong => ("✗", AnsiColor::Red),
        };
        let colour = Style::new().fg_color(Some(colour.into()));
        page.push_str(&format!("{colour}{mark}{colour:#} {check:<widest$}  {found}\n"));
        if let Some(fix) = fix {
            page.push_str(&format!("  {:<widest$}  → {fix}\n", ""));
        }
    }
    let wrong = report.checks.iter().filter(|check| check.verdict == Verdict::Wrong).count();
    page.push_str(&match wrong {
        0 => "\nall is well".to_owned(),
        1 => "\none thing is wrong".to_owned(),
        wrong => format!("\n{wrong} things are wrong"),
    });
    page
}
