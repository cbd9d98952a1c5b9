use std::time::Duration;

use bus::BusSettings;
use clap::Args;
use db::DbSettings;
use model::duration;
use worker::WorkerSettings;

/// Checks executions, forwards them to their targets, and tells what became of them.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    pub db: DbSettings,
    #[command(flatten)]
    pub bus: BusSettings,
    #[command(flatten)]
    pub worker: WorkerSettings,

    /// Time between two looks at the executions that are still open: how late their end is told.
    ///
    /// With thousands of them open, looks that take long are further apart.
    #[arg(long, env, default_value = "200ms", value_parser = duration, help_heading = "Dispatching")]
    pub follow_every: Duration,

    /// How long executions that have ended are kept.
    #[arg(long, env, default_value = "14d", value_parser = duration, help_heading = "Dispatching")]
    pub keep_executions: Duration,
}
