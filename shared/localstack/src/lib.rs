//! Servers that we start ourselves: [`Stack`], the lasting Postgres of `cogo dev`; [`Services`],
//! what stands in for Supabase on top of it; and [`Cluster`], a throwaway Postgres for tests and
//! measurements, with [`Rest`] over one of its databases. Start at [`Stack::start`] and [`Services::start`].
//!
//! Invariants: works as root and as anybody else; touches no server but those it started itself;
//! none outlives the process that started it for longer than it takes to stop: what a killed process
//! leaves behind stops by itself, or is stopped by the next start. Only the gateway knows who may
//! come in; what is behind it listens for it alone. No secret is on a command line or in a log.

mod behind;
mod binaries;
mod cluster;
mod cors;
mod doorkeeper;
mod folder;
mod forward;
mod functions;
mod gateway;
mod home;
mod image_pusher;
mod image_registry;
mod kept;
mod keys;
mod lock;
mod part;
mod port;
mod postgrest;
mod recover;
mod refusal;
mod rest;
mod server;
mod services;
mod stack;
mod stack_error;
mod token;
mod tool;
mod tunnel;
mod upstream;
mod watched;

pub use binaries::Binaries;
pub use cluster::{Cluster, ClusterOptions, locked, no_durability};
pub use folder::throwaway_folder;
pub use functions::DENO;
pub use gateway::Gateway;
pub use home::{GatewaySettings, StackSettings};
pub use image_pusher::{ImageFormat, ImagePusher, PushError};
pub use image_registry::{
    DOCKER_REGISTRY, ImageRegistry, ImageRegistryError, htpasswd, image_registry_config,
};
pub use kept::Tell;
pub use keys::Keys;
pub use lock::Running;
pub use part::Part;
pub use port::{PortInUse, check_port, free_port};
pub use postgrest::{POSTGREST, postgrest_config};
pub use rest::{Rest, RestError};
pub use server::{PostgresError, Server};
pub use services::{Services, Wanted};
pub use stack::{DATABASE, Stack};
pub use stack_error::StackError;
pub use tool::{Tool, ToolMissing};
