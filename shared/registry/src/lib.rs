//! The registry: accounts at image registries, the catalogue of agents, and every release of
//! theirs. Start at [`Registry`]; `phase.rs` is the way of a release, `rollouts.rs` what a controller
//! does with it.
//!
//! Invariants: the database decides. Every change is one SQL function, a step of a rollout names the
//! fence it is taken under, and a value never stands where a reference belongs. Knows neither image
//! registries nor Kubernetes.

mod accounts;
mod agents;
mod error;
mod explain;
mod phase;
mod pull_secrets;
mod releases;
mod rollouts;
mod statement;
mod workers;

pub use accounts::{Account, NewAccount};
pub use agents::{Agent, NewAgent};
pub use error::RegistryError;
pub use explain::{OtherRelease, PullSecretTrouble, Quarantine, ReleaseFacts, ReleaseWorker};
pub use phase::Phase;
pub use pull_secrets::{LinkedPullSecret, PullSecret, PullSecretLink};
pub use releases::{Canary, NewTag, Recorded, Release, Wanted};
pub use rollouts::{Facts, Rollout, Step};
#[doc(hidden)]
pub use statement::statements;
pub use workers::{Heartbeat, Outcomes, Pulse};

use db::Db;

/// The registry's tables, over whichever way the database is reached.
#[derive(Clone, Debug)]
pub struct Registry {
    db: Db,
}

impl Registry {
    pub fn new(db: Db) -> Self {
        Self { db }
    }
}
