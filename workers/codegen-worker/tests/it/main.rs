//! The worker at work: real Postgres, real processes, a store in a folder.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod alone;
mod budgets;
mod commands;
mod ending;
mod hall;
mod mistakes;
mod secrets;
mod sets;
mod templates;
