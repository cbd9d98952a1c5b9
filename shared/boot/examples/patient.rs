//! A process for the tests of `boot::run`: it waits to be told to stop, then ends as `--ending`
//! says.

use std::future::pending;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use miette::miette;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Waits to be told to stop.
#[derive(Args)]
struct Settings {
    /// How to end.
    #[arg(long, env, value_enum)]
    ending: Ending,
}

#[derive(Clone, ValueEnum)]
enum Ending {
    Done,
    Failed,
    Never,
}

fn main() -> ExitCode {
    boot::run("patient", run)
}

async fn run(settings: Settings, stop: CancellationToken) -> miette::Result<()> {
    if let Ending::Failed = settings.ending {
        return Err(miette!(help = "ask for another ending", "it was to fail")
            .wrap_err("could not be patient"));
    }
    info!("waiting");
    stop.cancelled().await;
    info!("told to stop");
    match settings.ending {
        Ending::Never => pending().await,
        Ending::Done | Ending::Failed => Ok(()),
    }
}
