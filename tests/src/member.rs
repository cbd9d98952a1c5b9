use std::num::NonZeroUsize;
use std::process::ExitCode;

use bus::{Bus, BusSettings};
use clap::{Args, Subcommand};
use db::DbSettings;
use miette::IntoDiagnostic;
use telemetry::LogSettings;
use tokio_util::sync::CancellationToken;
use worker::{WorkerSettings, serve};

use crate::handler::handlers;

/// What this program is when the chaos starts it again, as a process of the fleet.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
pub enum Member {
    #[command(hide = true)]
    Worker(WorkerArgs),
    #[command(hide = true)]
    Keeper(KeeperArgs),
}

#[derive(Args, Debug)]
pub struct WorkerArgs {
    #[command(flatten)]
    db: DbSettings,
    #[command(flatten)]
    bus: BusSettings,
    #[command(flatten)]
    worker: WorkerSettings,
    #[command(flatten)]
    log: LogSettings,
}

#[derive(Args, Debug)]
pub struct KeeperArgs {
    #[command(flatten)]
    keeper: bus_keeper::Settings,
    #[command(flatten)]
    log: LogSettings,
}

impl Member {
    pub fn live(self) -> ExitCode {
        // Whoever interrupts the chaos wants no fleet left behind, however it ended.
        #[cfg(target_os = "linux")]
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        match self {
            Self::Worker(WorkerArgs { db, bus, worker, log }) => {
                live("chaos-worker", &log, |stop| work(db, bus, worker, stop))
            }
            Self::Keeper(KeeperArgs { keeper, log }) => {
                live("chaos-keeper", &log, |stop| bus_keeper::run(keeper, stop))
            }
        }
    }
}

fn live<F, Fut>(name: &'static str, log: &LogSettings, work: F) -> ExitCode
where
    F: FnOnce(CancellationToken) -> Fut,
    Fut: Future<Output = miette::Result<()>>,
{
    let threads = NonZeroUsize::new(2).expect("two is not zero");
    let result = telemetry::start(log)
        .into_diagnostic()
        .and_then(|()| boot::block_on_with_stop(name, threads, work)?);
    boot::finish(log, result)
}

async fn work(
    db: DbSettings,
    bus: BusSettings,
    settings: WorkerSettings,
    stop: CancellationToken,
) -> miette::Result<()> {
    let bus = Bus::connect(&db, &bus)?;
    let name = settings.holder_id.clone().unwrap_or_default();
    serve(bus, "chaos-worker", handlers(&name), &settings, stop).await?;
    Ok(())
}
