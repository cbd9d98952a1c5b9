use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bus::{Bus, BusSettings};
use clap::Args;
use db::DbSettings;
use miette::IntoDiagnostic;
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use worker::{Handlers, Received, Settle, WorkerSettings, serve};

use crate::cpu;
use crate::noop::{Noop, NoopDone};

/// Works off the messages on `bench/noop` with the worker loop that every worker runs, and says how
/// fast.
#[derive(Args, Clone, Debug)]
pub struct WorkArgs {
    /// Stop after so many messages.
    #[arg(long, default_value = "10000")]
    pub count: usize,
    /// Stop after this time even if fewer were there.
    #[arg(long, default_value = "60")]
    pub seconds: u64,
    /// Stop when nothing came for so many milliseconds, once something had come.
    #[arg(long, default_value = "1000")]
    pub idle_ms: u64,
    /// Messages handled at the same time, and so how large a claim may be.
    #[arg(long, default_value = "4000")]
    pub batch: usize,
    /// Connections for settling, besides the one that claims.
    #[arg(long, default_value = "2")]
    pub connections: usize,
    /// Also record an event for each message.
    #[arg(long)]
    pub events: bool,
    #[command(flatten)]
    pub worker: WorkerSettings,
}

#[derive(Clone, Debug, Serialize)]
pub struct WorkReport {
    pub worked: usize,
    /// From the first message to the last.
    pub seconds: f64,
    pub per_second: f64,
    /// Of this process, for each message.
    pub cpu_us: f64,
}

pub async fn work(
    db: &DbSettings,
    args: &WorkArgs,
    stop: CancellationToken,
) -> miette::Result<WorkReport> {
    let mut db = db.clone();
    db.db_pool = args.connections.max(1).try_into().into_diagnostic()?;
    let mut settings = args.worker.clone();
    settings.worker_slots = args.batch.max(1).try_into().into_diagnostic()?;
    let bus = Bus::connect(&db, &BusSettings::default())?;

    let worked = Arc::new(AtomicUsize::new(0));
    let (count, events) = (worked.clone(), args.events);
    let handlers = Handlers::new().on(move |_: Received<Noop>, _| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            let settle = Settle::done();
            Ok(if events { settle.event(&NoopDone {})? } else { settle })
        }
    });
    let timing = Timing::default();
    let cpu_before = cpu::of(std::process::id());
    let watched = async {
        tokio::select! {
            () = watch(&worked, args, &timing) => stop.cancel(),
            () = stop.cancelled() => {}
        }
    };
    let (served, ()) =
        tokio::join!(serve(bus, "bench", handlers, &settings, stop.clone()), watched);
    served?;
    let cpu = cpu::of(std::process::id()).saturating_sub(cpu_before);
    let worked = worked.load(Ordering::Relaxed);
    let seconds = timing.seconds();
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let number = worked as f64;
    Ok(WorkReport {
        worked,
        seconds,
        per_second: if seconds > 0.0 { number / seconds } else { 0.0 },
        cpu_us: if worked > 0 { cpu.as_secs_f64() * 1e6 / number } else { 0.0 },
    })
}

#[derive(Default)]
struct Timing {
    first: std::sync::OnceLock<Instant>,
    last: std::sync::Mutex<Option<Instant>>,
}

impl Timing {
    fn seconds(&self) -> f64 {
        let last = *self.last.lock().expect("nobody panics with it");
        match (self.first.get(), last) {
            (Some(first), Some(last)) => (last - *first).as_secs_f64(),
            _ => 0.0,
        }
    }
}

/// Looks every millisecond: precise enough for seconds, and nothing in the path of the messages.
async fn watch(worked: &AtomicUsize, args: &WorkArgs, timing: &Timing) {
    let started = Instant::now();
    let idle = Duration::from_millis(args.idle_ms);
    let mut seen = 0;
    let mut seen_at = started;
    while started.elapsed() < Duration::from_secs(args.seconds) {
        let now = worked.load(Ordering::Relaxed);
        if now > seen {
            seen = now;
            seen_at = Instant::now();
            timing.first.get_or_init(Instant::now);
            *timing.last.lock().expect("nobody panics with it") = Some(seen_at);
        } else if seen > 0 && seen_at.elapsed() > idle {
            return;
        }
        if seen >= args.count {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
}
