use bus::{Bus, BusError};
use db::migrate::{self, MigrateError, State};
use db::{DbError, DbSettings, SessionMode};

use super::check::{Check, advice, broken, failed, fine, wrong};

const CHECK: &str = "migrations";

/// Whether the database is of the shape that this program was made for.
pub(super) async fn migrations(bus: &Bus, settings: &DbSettings) -> Check {
    match bus.db().mode() {
        SessionMode::Supabase => by_the_newest(bus).await,
        SessionMode::Session | SessionMode::Transaction => one_by_one(bus, settings).await,
    }
}

/// Over REST only the newest one's version is told.
async fn by_the_newest(bus: &Bus) -> Check {
    let ours = migrate::newest();
    let migrate = "run `cogo db migrate` with DATABASE_URL set, or `supabase db push`";
    match bus.schema().await {
        Ok(Some(theirs)) if theirs == ours => {
            fine(CHECK, format!("applied up to {theirs}, as this program needs"))
        }
        Ok(Some(theirs)) if theirs.as_str() < ours => {
            wrong(CHECK, format!("applied up to {theirs}, and this program needs {ours}"), migrate)
        }
        Ok(Some(theirs)) => {
            fine(CHECK, format!("applied up to {theirs}, which this program does not know"))
        }
        Ok(None) => advice(CHECK, "nobody recorded which are applied".to_owned(), migrate),
        Err(error) => failed(CHECK, &error),
    }
}

async fn one_by_one(bus: &Bus, settings: &DbSettings) -> Check {
    let status = match migrate::status(settings).await {
        Ok(status) => status,
        Err(MigrateError::Database(DbError::NeedsSession)) => {
            let server = bus.db().server();
            let found = format!("not compared: {server} is a pooler in transaction mode");
            return advice(CHECK, found, "run `cogo db status` over a direct connection");
        }
        Err(error) => return broken(CHECK, &error),
    };
    let named = |state| {
        let lines = status.iter().filter(|line| line.state == state);
        lines.map(|line| format!("{}_{}", line.version, line.name)).collect::<Vec<_>>()
    };
    let (pending, changed) = (named(State::Pending), named(State::Changed));
    if !changed.is_empty() {
        let found = format!("changed after they were applied: {}", changed.join(", "));
        return wrong(CHECK, found, "put the applied text back; a change is a new migration");
    }
    if !pending.is_empty() {
        return wrong(
            CHECK,
            format!("{} of {} pending", pending.len(), status.len()),
            "run `cogo db migrate`",
        );
    }
    let unknown = named(State::Unknown);
    if !unknown.is_empty() {
        let found = format!("all applied, and {} that this program does not know", unknown.len());
        return fine(CHECK, found);
    }
    fine(CHECK, format!("all {} applied, none changed", status.len()))
}

/// The first question was a function of ours. Postgres says that there is none of that name.
pub(super) fn are_lacking(error: &BusError) -> bool {
    let BusError::Db(error) = error else { return false };
    error.code().is_some_and(|code| code.code() == "42883")
}

pub(super) fn lacking() -> Check {
    wrong(CHECK, "the database has none of our functions".to_owned(), "run `cogo db migrate`")
}
