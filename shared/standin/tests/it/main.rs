//! The stand-in against a real Postgres, spoken to frame by frame and by the real client libraries.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod awkward;
mod broadcasting;
mod changes;
mod fixture;
mod handshake;
mod javascript;
mod providing;
mod raw;
mod secrets;
mod sending;
mod tokens;
