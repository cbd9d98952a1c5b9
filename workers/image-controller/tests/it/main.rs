//! Real controllers against a real Postgres and a simulated cluster: nodes are simulated, and what
//! workers say on the bus; everything between is what ships.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod asking;
mod beating_workers;
mod bed;
mod canaries;
mod fates;
mod fleet;
mod holding;
mod hushed;
mod killed;
mod measure;
mod order;
mod pull_secrets;
mod real_workers;
mod registry_server;
mod server;
mod under_load;
