//! The lasting stack, with real servers in folders of their own.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod holder;
mod lasting;
mod refusing;
mod surviving;
