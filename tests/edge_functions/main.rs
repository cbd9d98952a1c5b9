//! The edge functions as they run: Deno serves them over HTTP, a real PostgREST stands behind them,
//! and a real migrated Postgres behind that.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod doors;
mod examples;
mod fixture;
mod intents;
mod reads;
mod signed;
mod streams;
