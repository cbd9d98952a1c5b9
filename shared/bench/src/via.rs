use std::time::Duration;

use bus::{BusSettings, Doorbell};
use clap::ValueEnum;

use crate::ask::text;
use crate::latency::Listener;
use crate::ring::rung;
use crate::servers::Servers;
use crate::{Report, RunArgs, latency};

/// How a worker hears of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Way {
    /// A connection, LISTEN and NOTIFY.
    Direct,
    /// Supabase's REST API, and what the database broadcasts over Realtime.
    Realtime,
    /// Supabase's REST API, and the inserts that Realtime reads from the write-ahead log.
    PostgresChanges,
    /// A connection, and a look now and again.
    Poll,
}

const TWENTY_A_SECOND: Duration = Duration::from_millis(50);
const MESSAGES: usize = 200;
/// A way's figures: from publishing to the handler, only publishing, the ring, the claim.
type Names = [&'static str; 4];

/// Measures these ways and, in any case, the bare doorbells they are to be compared with.
pub(crate) async fn measure(args: &RunArgs, tell: impl Fn(&str)) -> miette::Result<Report> {
    tell("starting a Postgres and what stands in for Supabase");
    let servers = Servers::start().await?;
    let count = args.messages.unwrap_or(MESSAGES);
    let (db, slots) = (&servers.db, args.worker.worker_slots.get());
    let mut report = Report { postgres: text(db, "select version()").await?, ..Report::default() };

    tell("a bare NOTIFY");
    report.latencies.insert("notify_round_trip", latency::notify(db, count).await?);
    let mut ways = args.via.clone();
    ways.sort_unstable();
    ways.dedup();
    for way in Way::value_variants() {
        let (listener, [whole, publish, ring, claim]) = (way.listener(&servers), way.names());
        let wanted = ways.contains(way);
        // What the others are compared with is measured in any case.
        if wanted && *way != Way::Poll || *way == Way::Direct {
            tell(&format!("{way}: the ring, and the claim"));
            let parts = rung(db, &listener, slots, count, TWENTY_A_SECOND).await?;
            let names = [publish, ring, claim];
            report.latencies.extend(names.into_iter().zip(parts));
        }
        if wanted {
            tell(&format!("{way}: from publishing to the handler"));
            let idle = latency::idle(db, &listener, &args.worker, count, TWENTY_A_SECOND).await?;
            report.latencies.insert(whole, idle);
        }
    }
    report.compare("via_realtime_vs_direct", "via_realtime", "via_direct");
    report.compare("via_realtime_ring_vs_direct_ring", "via_realtime_ring", "via_direct_ring");
    report.compare("via_realtime_ring_vs_notify", "via_realtime_ring", "notify_round_trip");
    servers.stop().await?;
    Ok(report)
}

impl Way {
    fn listener(self, servers: &Servers) -> Listener {
        let (db, bus_doorbell) = match self {
            Self::Direct => (&servers.db, Doorbell::Listen),
            Self::Realtime => (&servers.supabase, Doorbell::Realtime),
            Self::PostgresChanges => (&servers.supabase, Doorbell::PostgresChanges),
            Self::Poll => (&servers.db, Doorbell::Poll),
        };
        Listener { db: db.clone(), bus: BusSettings { bus_doorbell, ..BusSettings::default() } }
    }

    fn names(self) -> Names {
        match self {
            Self::Direct => {
                ["via_direct", "via_direct_publish", "via_direct_ring", "via_direct_claim"]
            }
            Self::Realtime => {
                ["via_realtime", "via_realtime_publish", "via_realtime_ring", "via_realtime_claim"]
            }
            Self::PostgresChanges => [
                "via_postgres_changes",
                "via_postgres_changes_publish",
                "via_postgres_changes_ring",
                "via_postgres_changes_claim",
            ],
            Self::Poll => ["via_poll", "via_poll_publish", "via_poll_ring", "via_poll_claim"],
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.names()[0].trim_start_matches("via_"))
    }
}
