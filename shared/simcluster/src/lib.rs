//! Stands in for a Kubernetes API server with its controllers and nodes, for tests and for machines
//! without a cluster. Start at [`SimCluster::start`], then read `api/answer.rs` for what is asked,
//! `control/deployment.rs` for what follows from it, and `node/life.rs` for what becomes of a pod.
//!
//! Invariant: no nicer than the real one where that would hide a mistake. `tests/it` asks the same
//! of a real server, wherever one is named.
//!
//! Deliberately absent: containers, networks, Services, every API that no rollout needs, and
//! storage: what is in here is gone with its process.

mod access;
mod admission;
mod api;
mod asked;
mod check;
mod cluster;
mod control;
mod defaults;
mod fates;
mod faults;
mod fields;
mod kind;
mod load;
mod look;
mod managed;
mod merge;
mod names;
mod node;
mod patch;
mod pod_event;
mod refusal;
mod schema;
mod selector;
mod settings;
mod sim_cluster;
mod store;
mod write;

pub use asked::Request;
pub use fates::{Fate, Fates};
pub use faults::{Fault, Faults};
pub use load::LoadError;
pub use node::RemoteNodes;
pub use pod_event::{PodEvent, PodFacts, PodWhat};
pub use refusal::Refusal;
pub use settings::Settings;
pub use sim_cluster::SimCluster;
