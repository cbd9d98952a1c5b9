use std::path::PathBuf;
use std::time::Duration;

use artifacts::ArtifactSettings;
use bus::BusSettings;
use child::ChildSettings;
use clap::Args;
use db::DbSettings;
use model::duration;
use worker::WorkerSettings;

/// Makes code, by filling in templates or by running an agent's command, and stores it.
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

    /// A folder of template sets beside those built in, each a folder with a params.schema.json and
    /// a folder named files.
    ///
    /// Read when the worker starts. A set called like one built in takes its place.
    #[arg(long, env, value_name = "FOLDER", help_heading = "Making code")]
    pub codegen_templates: Option<PathBuf>,

    /// A YAML file of the commands that may make code, by name; none but templates without it.
    ///
    /// Read when the worker starts; executors.example.yaml explains all of it.
    #[arg(long, env, value_name = "FILE", help_heading = "Making code")]
    pub codegen_executors: Option<PathBuf>,

    /// Time between two events of what a command says, at least; it grows while a command runs long.
    #[arg(long, env, default_value = "1s", value_parser = duration, help_heading = "Making code")]
    pub codegen_progress_every: Duration,
}
