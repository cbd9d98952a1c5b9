use std::time::Duration;

use artifacts::ArtifactSettings;
use bus::BusSettings;
use child::{ChildSettings, size};
use clap::Args;
use db::DbSettings;
use model::duration;
use worker::WorkerSettings;

/// Builds and tests code in a sandbox, and reports how many tests passed and failed.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    pub db: DbSettings,
    #[command(flatten)]
    pub bus: BusSettings,
    #[command(flatten)]
    pub worker: WorkerSettings,
    #[command(flatten)]
    pub artifacts: ArtifactSettings,
    #[command(flatten)]
    pub child: ChildSettings,
    #[command(flatten)]
    pub building: Building,
}

/// What building and testing may take.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Building and testing")]
pub struct Building {
    /// Longest that all commands of a message may take together; a message may ask for less.
    ///
    /// Commands that take longer are ended, and the message is done with a failure.
    #[arg(long, env, default_value = "10m", value_parser = duration)]
    pub buildtest_timeout: Duration,

    /// Lets commands reach the network if their message asks for it; without this, such a message
    /// is refused.
    #[arg(long, env)]
    pub buildtest_network: bool,

    /// Lets messages name repositories on this machine, as file:///path.
    #[arg(long, env)]
    pub buildtest_git_file: bool,

    /// Longest that fetching a repository may take.
    #[arg(long, env, default_value = "2m", value_parser = duration)]
    pub buildtest_git_timeout: Duration,

    /// Most files and folders that a source may have.
    #[arg(long, env, default_value = "20000", value_name = "N")]
    pub buildtest_source_entries: u64,

    /// Most that the files of a source may be together.
    #[arg(long, env, default_value = "512MiB", value_parser = size, value_name = "SIZE")]
    pub buildtest_source_size: u64,

    /// Time between two events of what commands say, at least; it grows while they run long.
    #[arg(long, env, default_value = "1s", value_parser = duration)]
    pub buildtest_progress_every: Duration,
}

impl Building {
    pub(crate) fn bounds(&self) -> artifacts::Bounds {
        artifacts::Bounds {
            entries: self.buildtest_source_entries,
            bytes: self.buildtest_source_size,
            ..artifacts::Bounds::default()
        }
    }
}
