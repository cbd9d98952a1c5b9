use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bus::{Bus, BusSettings, NewMessage};
use db::{Commit, DbSettings, Session, Statement, Type};
use hdrhistogram::Histogram;
use miette::IntoDiagnostic;
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use worker::{Handlers, Received, Settle, WorkerSettings, serve};

use crate::noop::{Noop, nanos};

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

const APART: Duration = Duration::from_millis(20);

/// From just before the publish call to the start of the handler, fifty a second, one worker that is
/// otherwise idle.
pub(crate) async fn idle(
    db: &DbSettings,
    settings: &WorkerSettings,
    count: usize,
) -> miette::Result<Latency> {
    let bus = Bus::connect(db, &BusSettings::default())?;
    let seen = Arc::new(Mutex::new(histogram()));
    let record = Arc::clone(&seen);
    let handlers = Handlers::new().on(move |noop: Received<Noop>, _| {
        let waited = nanos().saturating_sub(noop.payload.at);
        record.lock().expect("nobody panics with it").saturating_record(waited);
        async { Ok(Settle::done()) }
    });
    let stop = CancellationToken::new();
    let publishing = async {
        let publisher = Bus::connect(db, &BusSettings::default())?;
        // Until it has settled down to sleep, and both sides have their statements prepared.
        for _ in 0..10 {
            publisher.publish(now()).await?;
            sleep(APART * 5).await;
        }
        seen.lock().expect("nobody panics with it").reset();
        for _ in 0..count {
            publisher.publish(now()).await?;
            sleep(APART).await;
        }
        sleep(APART * 10).await;
        stop.cancel();
        Ok::<(), bus::BusError>(())
    };
    let (served, published) =
        tokio::join!(serve(bus, "bench", handlers, settings, stop.clone()), publishing);
    served?;
    published?;
    let seen = seen.lock().expect("nobody panics with it");
    Ok(summary(&seen))
}

static RING: Statement = Statement {
    name: "bench.notify",
    sql: "select pg_notify('cogo_bench', $1)",
    types: &[Type::TEXT],
};

/// NOTIFY on one connection to LISTEN on another, with nothing else: the floor of any doorbell.
pub(crate) async fn notify(db: &DbSettings, count: usize) -> miette::Result<Latency> {
    let channel = ["cogo_bench".to_owned()];
    let ears = Session::open(db, &channel, Commit::Forgettable).await?;
    let pool = db::Db::connect(db)?;
    let mut seen = histogram();
    for round in 0..count + 10 {
        let started = Instant::now();
        let text = round.to_string();
        let parameters: &[&dyn db::Parameter] = &[&text];
        let (sent, heard) = tokio::join!(pool.query(&RING, parameters), ears.notified());
        sent?;
        heard?;
        if round >= 10 {
            let nanos = u64::try_from(started.elapsed().as_nanos()).into_diagnostic()?;
            seen.saturating_record(nanos);
        }
        sleep(APART / 10).await;
    }
    Ok(summary(&seen))
}

fn now() -> NewMessage {
    NewMessage::of(&Noop::now()).expect("it is plain JSON")
}

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 600_000_000_000, 3).expect("these bounds are valid")
}

pub(crate) fn summary(seen: &Histogram<u64>) -> Latency {
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of at most a minute")]
    let ms = |nanos: u64| nanos as f64 / 1e6;
    Latency {
        p50_ms: ms(seen.value_at_quantile(0.5)),
        p99_ms: ms(seen.value_at_quantile(0.99)),
        max_ms: ms(seen.max()),
    }
}
