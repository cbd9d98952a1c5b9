//! Turns `codegen/generate` messages into artifacts, and hands them to whoever builds and tests.
//! Start at [`run`], then read `generate.rs`; the two ways to make code are `templates.rs` and
//! `command.rs`.
//!
//! Invariants: what is made is stored before it is told of, and told of in the settle that ends the
//! message; no process outlives its message; no secret is in an event, an error or a log.

mod built_in;
mod command;
mod env_reference;
mod executors_file;
mod figures;
mod generate;
mod mistake;
mod params;
mod pieces;
mod placeholders;
mod progress;
mod settings;
mod template_set;
mod templates;
mod workshop;

use bus::Bus;
use tokio_util::sync::CancellationToken;
use worker::Handlers;

pub use executors_file::Executors;
pub use mistake::InvalidExecutors;
pub use settings::Settings;
pub use template_set::InvalidTemplates;

use crate::workshop::Workshop;

pub async fn run(settings: Settings, stop: CancellationToken) -> miette::Result<()> {
    let bus = Bus::connect(&settings.db.clone().named("codegen-worker"), &settings.bus)?;
    let workshop = Box::pin(Workshop::open(&settings)).await?;
    let handlers =
        Handlers::new().on(move |asked, cx| generate::handle(asked, cx, workshop.clone()));
    Box::pin(worker::serve(bus, "codegen-worker", handlers, &settings.worker, stop)).await?;
    Ok(())
}
