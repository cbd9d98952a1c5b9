//! What the bus promises, against a real Postgres: mostly through plain SQL, since that is what all
//! its users have in common.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod cancelling;
mod claiming;
mod fixture;
mod keeping;
mod limits;
mod ordering;
mod publishing;
mod renewing;
mod replaying;
mod retaining;
mod settling;
mod status;
