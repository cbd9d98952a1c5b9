//! Builds and tests code from `code/build-test` messages, and reports what came of it. Start at
//! [`run`], then read `build_test.rs`.
//!
//! Invariants: red tests are a result and not a failure, so nothing repeats them; code that we did
//! not write runs only as a child in its sandbox; no process and no folder outlives its message.

mod build_test;
mod git;
mod plan;
mod report;
mod results;
mod settings;
mod source;
mod trouble;

use std::sync::Arc;

use artifacts::Store;
use bus::Bus;
use child::Sandbox;
use tokio_util::sync::CancellationToken;
use worker::Handlers;

pub use settings::Settings;

use crate::build_test::Yard;

pub async fn run(settings: Settings, stop: CancellationToken) -> miette::Result<()> {
    let bus = Bus::connect(&settings.db.clone().named("buildtest-worker"), &settings.bus)?;
    let yard = Yard {
        store: Store::connect(&settings.artifacts)?,
        sandbox: Box::pin(Sandbox::start(&settings.child)).await?,
        building: Arc::new(settings.building),
    };
    let handlers = Handlers::new().on(move |asked, cx| build_test::handle(asked, cx, yard.clone()));
    Box::pin(worker::serve(bus, "buildtest-worker", handlers, &settings.worker, stop)).await?;
    Ok(())
}
