use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bus::{Bus, BusSettings, NewMessage};
use db::{Commit, DbSettings, Session, Statement, Type};
use hdrhistogram::Histogram;
use miette::{IntoDiagnostic, miette};
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

/// Between two NOTIFYs.
const APART: Duration = Duration::from_millis(2);
pub(crate) const FIFTY_A_SECOND: Duration = Duration::from_millis(20);
/// Until a worker has settled down to sleep, is heard wherever it listens, and both sides have
/// their statements prepared.
const WARM_UP: Duration = Duration::from_secs(2);
/// Later than any way may be, whatever else the machine does.
const LOST: Duration = Duration::from_secs(60);

/// A worker's way to the database, and its doorbell.
pub(crate) struct Listener {
    pub db: DbSettings,
    pub bus: BusSettings,
}

impl Listener {
    pub(crate) fn direct(db: &DbSettings) -> Self {
        Self { db: db.clone(), bus: BusSettings::default() }
    }

    pub(crate) fn bus(&self) -> miette::Result<Bus> {
        Ok(Bus::connect(&self.db, &self.bus)?)
    }
}

/// From just before the publish call, over a connection, to the start of the handler: one worker
/// that is otherwise idle.
pub(crate) async fn idle(
    db: &DbSettings,
    listener: &Listener,
    settings: &WorkerSettings,
    count: usize,
    apart: Duration,
) -> miette::Result<Latency> {
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
        let publish = async |count: usize| {
            for _ in 0..count {
                publisher.publish(now()).await?;
                sleep(apart).await;
            }
            all(&seen, count).await
        };
        publish(usize::try_from(WARM_UP.as_millis() / apart.as_millis()).expect("few")).await?;
        seen.lock().expect("nobody panics with it").reset();
        publish(count).await?;
        stop.cancel();
        Ok::<(), miette::Report>(())
    };
    let bus = listener.bus()?;
    tokio::select! {
        served = serve(bus, "bench", handlers, settings, stop.clone()) => served?,
        Err(error) = publishing => return Err(error),
    }
    let seen = seen.lock().expect("nobody panics with it");
    Ok(summary(&seen))
}

async fn all(seen: &Mutex<Histogram<u64>>, count: usize) -> miette::Result<()> {
    let handled = || seen.lock().expect("nobody panics with it").len();
    let deadline = Instant::now() + LOST;
    while handled() < count as u64 {
        if Instant::now() > deadline {
            return Err(miette!("only {} of {count} messages were handled", handled()));
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
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
        sleep(APART).await;
    }
    Ok(summary(&seen))
}

pub(crate) fn now() -> NewMessage {
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
