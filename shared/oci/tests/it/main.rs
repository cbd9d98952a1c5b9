//! Registries: a real one, Debian's `docker-registry` (`real.rs`), and one that answers what it is
//! told, for all that a real one does seldom.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod amazon;
mod canary;
mod proxy;
mod real;
mod redirects;
mod scripted;
mod tls;
mod tokens;
mod trouble;
