//! Real Postgres for tests. Start at [`database`], a fresh and migrated database of one's own on a
//! server that all tests of this machine share; [`Cluster`] is a whole server of one's own, to be
//! stopped and started at will; [`Rest`] is a real PostgREST over a database, [`Supabase`] all
//! that a worker over Supabase needs, [`Pooler`] a real PgBouncer, and [`Way`] is for tests that
//! hold over all of them;
//! [`node_modules`] is what npm installs, kept between runs. [`Vault`] and [`Kubernetes`] are two
//! servers of our own, answering as real ones were seen to; [`ImageRegistry`] is a real one.
//!
//! Invariants: works as root and as anybody else; touches no Postgres but those it started itself;
//! what a killed test left behind is removed by a later one.

mod hushed;
mod image_registry;
mod kubernetes;
mod logs;
mod node_modules;
mod pooler;
mod program;
mod rest;
mod shared;
mod statements;
mod supabase;
mod test_db;
mod tools;
mod vault;
mod way;

pub use hushed::assert_hushed;
pub use image_registry::ImageRegistry;
pub use kubernetes::Kubernetes;
pub use localstack::{Cluster, ClusterOptions, DENO, ImageFormat, POSTGREST, PostgresError};
pub use logs::{keep_logs, kept_logs};
pub use node_modules::node_modules;
pub use pooler::{Pooler, Pooling};
pub use program::Program;
pub use rest::Rest;
pub use shared::{Stopped, stop};
pub use standin::{Awkward, Rate};
pub use statements::all_are_listed;
pub use supabase::Supabase;
pub use test_db::{Caller, TestDb, database};
pub use tools::tools_path;
pub use vault::Vault;
pub use way::{Reached, Way};
