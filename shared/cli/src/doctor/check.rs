use bus::BusError;
use db::DbError;
use miette::Diagnostic;
use serde::Serialize;
use telemetry::Chain;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    pub(super) fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Fine,
    Advice,
    Wrong,
}

pub(super) fn fine(check: &'static str, found: String) -> Check {
    Check { check, verdict: Verdict::Fine, found, fix: None }
}

pub(super) fn advice(check: &'static str, found: String, fix: &str) -> Check {
    Check { check, verdict: Verdict::Advice, found, fix: Some(fix.to_owned()) }
}

pub(super) fn wrong(check: &'static str, found: String, fix: &str) -> Check {
    Check { check, verdict: Verdict::Wrong, found, fix: Some(fix.to_owned()) }
}

/// The check itself did not work.
pub(super) fn failed(check: &'static str, error: &BusError) -> Check {
    match error {
        BusError::Db(error) if is_not_exposed(error) => {
            wrong(check, Chain(&**error).to_string(), RELOAD)
        }
        BusError::Db(error) if is_of_another_session(error) => {
            wrong(check, Chain(&**error).to_string(), POOLER)
        }
        BusError::Db(error) => broken(check, &**error),
        other => broken(check, other),
    }
}

/// Whatever went wrong, with what it says itself against that.
pub(super) fn broken(check: &'static str, error: &(impl Diagnostic + 'static)) -> Check {
    let fix = error.help().map(|help| help.to_string());
    Check { check, verdict: Verdict::Wrong, found: Chain(error).to_string(), fix }
}

const RELOAD: &str = "run `cogo db migrate`; if nothing is pending, the REST API has not noticed: \
                      notify pgrst, 'reload schema'";

pub(super) const POOLER: &str =
    "a pooler in transaction mode may stand between: set DB_SESSION=transaction";

/// A statement that was prepared is not there, or one is that nobody prepared.
fn is_of_another_session(error: &DbError) -> bool {
    error.code().is_some_and(|code| ["26000", "42P05"].contains(&code.code()))
}

/// PostgREST does not know a function: it is not there, or came after the last look.
fn is_not_exposed(error: &DbError) -> bool {
    error.code().is_some_and(|code| code.code() == "PGRST202")
}
