//! What the bus promises, against a real Postgres: mostly through plain SQL, since that is what all
//! its users have in common.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod any_order;
mod bad_input;
mod calling;
mod cancelling;
mod claiming;
mod client_reads;
mod concurrent;
mod explaining;
mod fixture;
mod keeping;
mod limits;
mod ordering;
mod plans;
mod publishing;
mod renewing;
mod replaying;
mod retaining;
mod schema;
mod settling;
mod status;
mod tenancy;
mod words;
mod world;
