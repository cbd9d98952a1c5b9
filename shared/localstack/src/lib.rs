//! Postgres servers that we start ourselves: [`Stack`], the lasting one of `cogo dev`, and
//! [`Cluster`], a throwaway one for tests and measurements. Start at [`Stack::start`].
//!
//! Invariants: works as root and as anybody else; touches no Postgres but those it started itself;
//! no server outlives the process that started it for longer than it takes to stop: what a killed
//! process leaves behind stops by itself, or is stopped by the next start.

mod binaries;
mod cluster;
mod folder;
mod home;
mod keys;
mod lock;
mod port;
mod recover;
mod server;
mod stack;
mod stack_error;
mod watched;

pub use binaries::Binaries;
pub use cluster::{Cluster, ClusterOptions, locked, no_durability};
pub use folder::throwaway_folder;
pub use home::StackSettings;
pub use keys::Keys;
pub use lock::Running;
pub use port::{PortInUse, check_port, free_port};
pub use server::{PostgresError, Server};
pub use stack::{DATABASE, Stack};
pub use stack_error::StackError;
