use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use telemetry::LogSettings;

/// What every Cogo process can be told, whatever it does.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Process")]
pub struct ProcessSettings {
    /// A file of NAME=value lines, one setting each, by the names --help shows in [env: ...].
    ///
    /// A flag wins over the environment, and the environment over the file.
    #[arg(long, env = "COGO_SETTINGS", value_name = "FILE", global = true)]
    pub settings: Option<PathBuf>,

    /// How many threads handlers run on.
    ///
    /// Two are plenty for work that waits on the network and the database; raise it for handlers
    /// that compute.
    #[arg(long, env = "COGO_THREADS", default_value = "2", value_name = "N", global = true)]
    pub threads: NonZeroUsize,

    #[command(flatten)]
    pub log: LogSettings,
}
