use std::time::Duration;

use bus::{BusSettings, Retention};
use clap::Args;
use db::DbSettings;
use model::duration;

/// Gives lost messages back, ends expired ones, and deletes what is old.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    pub db: DbSettings,
    #[command(flatten)]
    pub bus: BusSettings,

    /// Time between two sweeps: the longest that a lost message waits beyond its lease.
    #[arg(long, env, default_value = "1s", value_parser = duration, help_heading = "Keeping")]
    pub keeper_every: Duration,

    /// Time between two walks of retention over the tables.
    #[arg(long, env, default_value = "10m", value_parser = duration, help_heading = "Keeping")]
    pub keeper_retention_every: Duration,

    /// How long finished messages are kept.
    #[arg(long, env, default_value = "7d", value_parser = duration, help_heading = "Keeping")]
    pub keep_messages: Duration,

    /// How long events are kept.
    #[arg(long, env, default_value = "14d", value_parser = duration, help_heading = "Keeping")]
    pub keep_events: Duration,

    /// How long workers that are gone are kept.
    #[arg(long, env, default_value = "2d", value_parser = duration, help_heading = "Keeping")]
    pub keep_workers: Duration,

    /// How long dead letters are kept.
    #[arg(long, env, default_value = "30d", value_parser = duration, help_heading = "Keeping")]
    pub keep_dead_letters: Duration,

    /// A trace in which something happened this recently is kept whole, however old its parts.
    #[arg(long, env, default_value = "24h", value_parser = duration, help_heading = "Keeping")]
    pub keep_quiet: Duration,
}

impl Settings {
    pub(crate) fn retention(&self) -> Retention {
        Retention {
            messages: self.keep_messages,
            events: self.keep_events,
            workers: self.keep_workers,
            dead_letters: self.keep_dead_letters,
            quiet: self.keep_quiet,
        }
    }
}
