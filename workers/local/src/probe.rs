use bus::{Bus, BusSettings};
use clap::Args;
use db::DbSettings;
use messages::{EventType, Probe};
use tokio_util::sync::CancellationToken;
use tracing::info;
use worker::{Cx, Failure, Handlers, Received, Settle, WorkerSettings};

/// Answers what is sent to cogo/probe/0: shows the text, records `probe_done`, and is done.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    db: DbSettings,
    #[command(flatten)]
    bus: BusSettings,
    #[command(flatten)]
    worker: WorkerSettings,
}

pub async fn run(settings: Settings, stop: CancellationToken) -> miette::Result<()> {
    let bus = Bus::connect(&settings.db.named("probe"), &settings.bus)?;
    let handlers = Handlers::new().on(answer);
    Box::pin(worker::serve(bus, "probe", handlers, &settings.worker, stop)).await?;
    Ok(())
}

async fn answer(probe: Received<Probe>, _: Cx) -> Result<Settle, Failure> {
    // The one payload that is logged: showing it is what a probe is for.
    info!("{}", probe.payload.text);
    let event = bus::NewEvent::new(EventType::PROBE_DONE).payload(&probe.payload)?;
    Ok(Settle::done().result(&probe.payload.text).note(event))
}
