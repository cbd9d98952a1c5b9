//! The worker as it runs, on a real database, with the real tools of this machine.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod ends;
mod programs;
mod repositories;
mod sources;
mod yard;
