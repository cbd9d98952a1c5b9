use std::time::{Duration, Instant};

use bus::{Bus, BusSettings, Lease, Outcome, Station};
use db::DbSettings;
use hdrhistogram::Histogram;
use miette::{IntoDiagnostic, miette};
use tokio::time::{sleep, timeout};
use worker::Settle;

use crate::latency::{Latency, Listener, histogram, now, summary};

const WORKER: &str = "bench-ring";
/// Rings in a row until it counts.
const WARM: usize = 10;
/// A ring may be lost while the doorbell is still being connected; this many, and it is broken.
const LOST: usize = 60;
const LATE: Duration = Duration::from_secs(2);

/// Where the time goes between a publisher and a worker: one sleeper is rung again and again.
///
/// The first figure is publishing, which ends when the message is on disk. The second is from just
/// before that until the sleeper hears its ring; nothing is claimed in between. The third is the
/// claim that follows.
pub(crate) async fn rung(
    db: &DbSettings,
    listener: &Listener,
    slots: usize,
    count: usize,
    apart: Duration,
) -> miette::Result<[Latency; 3]> {
    let publisher = Bus::connect(db, &BusSettings::default())?;
    let bus = listener.bus()?;
    let routes = ["bench/noop/0".parse().expect("it is a route")];
    let mut station = Station::new(&bus, WORKER, &routes);
    let mut parts = [histogram(), histogram(), histogram()];
    let (mut warm, mut lost) = (0, 0);
    while parts[1].len() < count as u64 {
        asleep(&mut station, &bus, slots).await?;
        let started = Instant::now();
        publisher.publish(now()).await?;
        let published = Instant::now();
        let heard = timeout(LATE, rings(&station)).await;
        let rung = Instant::now();
        let leases = station.wake_and_claim(slots).await?;
        let claimed = Instant::now();
        match heard {
            Ok(()) if !leases.is_empty() => warm += 1,
            _ => (warm, lost) = (0, lost + 1),
        }
        settle(&bus, leases).await?;
        if lost > LOST {
            return Err(miette!("{lost} rings were not heard"));
        }
        if warm > WARM {
            let spans = [published - started, rung - started, claimed - rung];
            for (part, span) in parts.iter_mut().zip(spans) {
                record(part, span)?;
            }
        }
        sleep(apart).await;
    }
    station.unpark().await?;
    Ok(parts.each_ref().map(summary))
}

/// Lies down with nothing left to claim and no ring left to hear.
async fn asleep(station: &mut Station, bus: &Bus, slots: usize) -> miette::Result<()> {
    loop {
        let leases = station.claim(slots).await?;
        if !leases.is_empty() {
            settle(bus, leases).await?;
            continue;
        }
        // Over Realtime the claim has lain down as well, or would have.
        let asleep = station.resting().is_some() || station.park().await?.is_some();
        if asleep && timeout(Duration::from_millis(1), rings(station)).await.is_err() {
            return Ok(());
        }
    }
}

async fn rings(station: &Station) {
    while !station.heard().await.ring {}
}

async fn settle(bus: &Bus, leases: Vec<Lease>) -> miette::Result<()> {
    let outcomes: Vec<Outcome> = leases
        .into_iter()
        .map(|lease| Outcome { id: lease.message.id, lease: lease.token, settle: Settle::done() })
        .collect();
    bus.settle(WORKER, &outcomes).await?;
    Ok(())
}

fn record(part: &mut Histogram<u64>, span: Duration) -> miette::Result<()> {
    part.saturating_record(u64::try_from(span.as_nanos()).into_diagnostic()?);
    Ok(())
}
