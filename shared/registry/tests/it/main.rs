//! What the registry promises, against a real Postgres.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod catalogue;
mod events;
mod explaining;
mod fixture;
mod recording;
mod rollouts;
mod schema;
mod state_machine;
mod words;
