//! Checks `orchestrator/execute` messages, forwards them to their targets, and tells what became of
//! them. Start at [`run`], then read `forward.rs` (one message) and `follow.rs` (its target's end).
//!
//! Invariants: a message is forwarded and settled in one transaction; every state of an execution is
//! written together with the event that tells of it; circuits change in SQL only, under a lock, so
//! that any number of dispatchers agree.
mod check;
mod follow;
mod forward;
mod settings;
mod statement;

use std::sync::Arc;

use bus::Bus;
use messages::{Execute, Payload};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use worker::Handlers;

pub use settings::Settings;
#[doc(hidden)]
pub use statement::statements;

pub async fn run(settings: Settings, stop: CancellationToken) -> miette::Result<()> {
    let bus = Bus::connect(&settings.db.clone().named("executor-dispatcher"), &settings.bus)?;
    let forwarded = Arc::new(Notify::new());
    let handlers = {
        let forwarded = Arc::clone(&forwarded);
        Handlers::new().on_stage(Execute::stage(), move |message, cx| {
            forward::handle(message, cx, Arc::clone(&forwarded))
        })
    };
    let db = bus.db().clone();
    let serving =
        Box::pin(worker::serve(bus, "executor-dispatcher", handlers, &settings.worker, stop));
    tokio::select! {
        served = serving => served?,
        // It ends with the work.
        () = follow::follow(&db, &settings, &forwarded) => {}
    }
    Ok(())
}
