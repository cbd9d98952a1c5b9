//! What a worker does with messages, against a real Postgres.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod cancelling;
mod fleet;
mod hall;
mod handling;
mod pooler;
mod restarting;
mod stopping;
