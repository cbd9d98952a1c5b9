//! The door to Kubernetes: brings a release onto a Deployment, and tells what became of it. Start at
//! [`Cluster`]; `apply.rs` changes things, `observe.rs` looks, [`facts`] is what it sees.
//!
//! Invariants: no type of Kubernetes leaves this crate. Nothing is deleted, and no Deployment but a
//! canary is made. How many pods there are is nobody's business but that of whoever scales. Every
//! call has a limit with a name. Nothing that a server says is in an error, only what it means.

mod apply;
mod backoff;
mod call;
mod canary;
mod cluster;
pub mod facts;
mod follow;
mod observe;
mod printable;
mod pull_secret;
mod quietly;
mod read;
mod rights;
mod scale;
mod selector;
mod settings;
mod shelf;
mod target;
mod trouble;
mod view;
mod words;

pub use apply::ApplyError;
pub use cluster::{Cluster, ConnectError};
pub use model::Disposition;
pub use observe::ObserveError;
pub use pull_secret::{Kept, PullSecret, PullSecretError, PullSecretState};
pub use rights::Right;
pub use settings::ClusterSettings;
pub use target::{Applied, CanaryRoute, Fence, Release, Target};
pub use trouble::Trouble;
