//! agent-core over a real socket, against a real Postgres.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod access;
mod deciding;
mod document;
mod fixture;
mod following;
mod images;
mod limits;
mod nonsense;
mod public_keys;
mod resuming;
mod schema;
mod tokens;
