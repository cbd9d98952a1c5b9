//! What an attempt tells, by a real worker against a real Postgres.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod hall;
mod telling;
