//! The loop that every worker runs: claim, hand to a typed handler, settle, drain. Start at
//! [`serve`]; a handler is registered with [`Handlers::on`] and returns a [`Settle`].
//! Invariants: whatever a handler does, its message is settled or its lease runs out; a lease we
//! lost is never settled; on shutdown what is unfinished goes back without spending an attempt.
mod context;
mod failure;
mod handlers;
mod held;
mod keep_alive;
mod received;
mod run_one;
mod serve;
mod settings;
mod settler;

pub use bus::Settle;
pub use context::Cx;
pub use failure::Failure;
pub use handlers::Handlers;
pub use received::Received;
pub use serve::{ServeError, serve};
pub use settings::{InvalidShards, Shards, WorkerSettings};
