use std::time::Duration;

use bus::BusError;
use db::{DbError, DbSettings};
use realtime::{Endpoint, InvalidEndpoint, Rest, RestError, RestLimits};

use super::check::{Check, broken, failed, fine, wrong};

const KEYS: &str = "keys";
/// What only a server's key may do.
const SECRET: &str = "set SUPABASE_SECRET_KEY to a secret key (sb_secret_…) of this project: its \
                      settings show them under API keys";
/// Schema `cogo` is internal: who could call into it would pass by every check.
const INTERNAL: &str = "cogo";
const LATE: Duration = Duration::from_secs(10);

/// The settings do not even say where to connect.
pub(super) fn unusable(settings: &DbSettings, error: &BusError) -> Check {
    match (settings.database_url.is_some(), settings.supabase.endpoint()) {
        (false, Err(why)) if settings.supabase.supabase_url.is_some() => wrong_endpoint(&why),
        _ => failed("connection", error),
    }
}

pub(super) fn wrong_endpoint(error: &InvalidEndpoint) -> Check {
    match error {
        InvalidEndpoint::NoKey | InvalidEndpoint::NotAKey | InvalidEndpoint::PublishableKey => {
            wrong(KEYS, error.to_string(), SECRET)
        }
        InvalidEndpoint::NoUrl | InvalidEndpoint::NotAnAddress(_) => wrong(
            "project",
            error.to_string(),
            "set SUPABASE_URL to the project's address, as in https://abc.supabase.co",
        ),
    }
}

/// The first call was not answered, which tells what is wrong with the way there.
pub(super) fn no_answer(error: &BusError) -> Check {
    match error {
        BusError::Db(why) => match &**why {
            DbError::Supabase(refused @ RestError::KeyRefused { .. }) => broken(KEYS, refused),
            _ => failed("connection", error),
        },
        BusError::Refused { code, message, .. } if code == "42501" => {
            wrong(KEYS, format!("the key may not do what workers do: {message}"), SECRET)
        }
        other => failed("connection", other),
    }
}

/// Everything else was answered.
pub(super) fn keys() -> Check {
    fine(KEYS, "the project knows our key, and lets it work".to_owned())
}

/// What must not be reached over REST is not.
pub(super) async fn schemas(settings: &DbSettings, endpoint: &Endpoint) -> Check {
    let check = "schemas";
    let limits = RestLimits { connections: 1, connect: settings.db_connect_timeout, answer: LATE };
    match Rest::new(endpoint, limits).serves(INTERNAL).await {
        Ok(false) => fine(check, format!("schema `{INTERNAL}` is not exposed")),
        Ok(true) => wrong(
            check,
            format!("schema `{INTERNAL}` is exposed over REST, and it is internal"),
            "take it out of the exposed schemas (in a project's API settings; db-schemas of \
             PostgREST)",
        ),
        Err(error) => broken(check, &error),
    }
}
