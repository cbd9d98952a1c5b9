//! Runs the real `cogo` against real databases.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod bench;
mod demo;
mod dev;
mod doctor;
mod doctor_rollouts;
mod doctor_supabase;
mod errors;
mod explain;
mod follow;
mod help;
mod parts;
mod place;
mod probe;
mod registry;
mod reports;
mod rollouts;
mod running;
mod secrets;
mod supabase;
mod top;
