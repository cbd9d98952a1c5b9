use std::time::{Duration, Instant};

use bus::{Bus, BusSettings};
use clap::Args;
use db::DbSettings;
use miette::{IntoDiagnostic, miette};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::noop::message;

/// Publishes no-op messages on `bench/noop` and says how fast.
#[derive(Args, Clone, Debug)]
pub struct PublishArgs {
    /// How many messages.
    #[arg(long, default_value = "10000")]
    pub count: usize,
    /// Messages in one transaction.
    #[arg(long, default_value = "1")]
    pub batch: usize,
    /// Connections that publish at the same time, each its own.
    #[arg(long, default_value = "1")]
    pub connections: usize,
    /// Instead: so many concurrent callers in one process, whose messages go together.
    #[arg(long)]
    pub callers: Option<usize>,
    /// Stop after this time even if fewer are published.
    #[arg(long, default_value = "60")]
    pub seconds: u64,
    /// Bytes of padding in each payload.
    #[arg(long, default_value = "0")]
    pub bytes: usize,
    /// Spread the messages over so many tenants.
    #[arg(long, default_value = "1")]
    pub tenants: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct PublishReport {
    pub published: usize,
    pub seconds: f64,
    pub per_second: f64,
}

pub async fn publish(db: &DbSettings, args: &PublishArgs) -> miette::Result<PublishReport> {
    let started = Instant::now();
    let until = started + Duration::from_secs(args.seconds);
    let published = match args.callers {
        Some(callers) => coalesced(db, args, callers, until).await?,
        None => apart(db, args, until).await?,
    };
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let per_second = published as f64 / seconds;
    Ok(PublishReport { published, seconds, per_second })
}

async fn apart(db: &DbSettings, args: &PublishArgs, until: Instant) -> miette::Result<usize> {
    let mut senders = JoinSet::new();
    let connections = args.connections.max(1);
    for sender in 0..connections {
        let share = args.count / connections + usize::from(sender < args.count % connections);
        let (db, args) = (db.clone(), args.clone());
        senders.spawn(async move {
            // Its own bus, and so its own connection.
            let bus = Bus::connect(&db, &BusSettings::default())?;
            let mut sent = 0;
            while sent < share && Instant::now() < until {
                let size = args.batch.clamp(1, share - sent);
                let messages: Vec<_> = (sent..sent + size)
                    .map(|number| message(number, args.bytes, args.tenants))
                    .collect();
                bus.publish_all(&messages).await?;
                sent += size;
            }
            Ok::<usize, bus::BusError>(sent)
        });
    }
    sum(senders).await
}

async fn coalesced(
    db: &DbSettings,
    args: &PublishArgs,
    callers: usize,
    until: Instant,
) -> miette::Result<usize> {
    let bus = Bus::connect(db, &BusSettings::default())?;
    let mut senders = JoinSet::new();
    for sender in 0..callers {
        let share = args.count / callers + usize::from(sender < args.count % callers);
        let (bus, args) = (bus.clone(), args.clone());
        senders.spawn(async move {
            let mut sent = 0;
            while sent < share && Instant::now() < until {
                bus.publish(message(sent, args.bytes, args.tenants)).await?;
                sent += 1;
            }
            Ok::<usize, bus::BusError>(sent)
        });
    }
    sum(senders).await
}

async fn sum(mut senders: JoinSet<Result<usize, bus::BusError>>) -> miette::Result<usize> {
    let mut sum = 0;
    while let Some(sent) = senders.join_next().await {
        sum += sent.into_diagnostic()??;
    }
    if sum == 0 { Err(miette!("nothing was published in time")) } else { Ok(sum) }
}
