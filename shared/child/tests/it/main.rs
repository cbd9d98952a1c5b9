//! Real programs under every layer that works on this machine; which those are is printed.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod bounds;
mod ending;
mod layers;
mod output;
mod room;
mod survivors;
mod workspaces;
