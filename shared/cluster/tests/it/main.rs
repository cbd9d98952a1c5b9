//! The client against answers in the shape that real servers were recorded to give. What controllers
//! make of a change is not in here.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod apply;
mod canary;
mod connect;
mod observe;
mod pull_secret;
mod server;
