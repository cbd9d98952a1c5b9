//! The client against servers that speak as Realtime does, and misbehave as it may.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod hearing;
mod joining;
mod logs;
mod proxy;
mod reconnecting;
mod rest;
mod secrets;
mod sending;
mod server;
mod soak;
mod tls;
mod tokens;
mod world;
