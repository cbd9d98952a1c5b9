//! Real dispatchers and the functions they call, against real databases.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod checking;
mod circuit;
mod desk;
mod following;
mod forwarding;
mod running;
mod schema;
