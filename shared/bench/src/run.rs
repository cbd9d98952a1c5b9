use std::process::Stdio;
use std::time::Duration;

use bus::{Bus, BusSettings};
use clap::Args;
use db::{Db, DbSettings};
use localstack::{Cluster, ClusterOptions};
use miette::{Context, IntoDiagnostic};
use model::Stage;
use tokio::process::{Child, Command};
use tokio::time::sleep;
use worker::WorkerSettings;

use crate::ask::{text, until, until_worked_off};
use crate::latency::{FIFTY_A_SECOND, Listener};
use crate::limits::Limits;
use crate::noop::Noop;
use crate::process::stop;
use crate::publish::{PublishArgs, publish};
use crate::via::{self, Way};
use crate::{Report, cpu, latency};

/// Measures the bus on a Postgres of its own with default durability, and prints every figure with
/// the limits of this machine measured in the same run.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Messages of an ordinary measurement; the large ones use ten times as many. 100000 unless
    /// set, and 200 of each way with --via.
    #[arg(long)]
    pub messages: Option<usize>,
    /// Instead: how long a message takes to the worker by each of these ways, side by side.
    ///
    /// They share one Postgres; for the ways over Supabase there is our stand-in for it. Beside
    /// them stands what a bare NOTIFY takes, and for each way what only the ring and only the
    /// claim take. All at 20 messages a second.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WAYS")]
    pub via: Vec<Way>,
    /// Leave out what takes long: a million queued, a million done, and the held snapshot.
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub worker: WorkerSettings,
}

/// `tell` is called with what is being measured.
pub async fn run(args: &RunArgs, tell: impl Fn(&str)) -> miette::Result<Report> {
    if !args.via.is_empty() {
        return via::measure(args, tell).await;
    }
    tell("starting a Postgres");
    let options = ClusterOptions::default();
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&options));
    let cluster = cluster.await.into_diagnostic()?.into_diagnostic()?;
    let mut bench = Bench { cluster, report: Report::default(), databases: 0 };
    let n = args.messages.unwrap_or(100_000);

    let db = bench.database().await?;
    bench.report.postgres = text(&db, "select version()").await?;
    bench.publishing(&db, n / 10, &tell).await?;
    bench.latencies(&args.worker, &tell).await?;
    bench.processing(n, &tell).await?;
    bench.tenants(n, &tell).await?;
    if !args.quick {
        bench.backlog(n, &tell).await?;
        bench.kept(n, &tell).await?;
        bench.snapshot(n, &tell).await?;
    }
    let Bench { cluster, report, .. } = bench;
    tokio::task::spawn_blocking(move || drop(cluster)).await.into_diagnostic()?;
    Ok(report)
}

struct Bench {
    cluster: Cluster,
    report: Report,
    databases: usize,
}

/// What a drained backlog says.
struct Drained {
    per_second: f64,
    postgres_us: f64,
    workers_us: f64,
    log_bytes: f64,
}

impl Bench {
    /// A fresh one for each group of figures, so that none inherits the other's dead rows.
    async fn database(&mut self) -> miette::Result<DbSettings> {
        self.databases += 1;
        let name = format!("bench_{}", self.databases);
        let url = self.cluster.create_migrated_database(&name).await.into_diagnostic()?;
        Ok(DbSettings::at(&url))
    }

    async fn publishing(
        &mut self,
        db: &DbSettings,
        n: usize,
        tell: &impl Fn(&str),
    ) -> miette::Result<()> {
        let limits = Limits::new(db).await?;
        let args = |count, batch, connections, callers| PublishArgs {
            count,
            batch,
            connections,
            callers,
            seconds: 60,
            bytes: 0,
            tenants: 1,
        };
        tell("publishing, one connection");
        self.rate("limit_insert_1", limits.inserts(1, n / 2).await?);
        self.rate("publish_1", publish(db, &args(n / 2, 1, 1, None)).await?.per_second);
        tell("publishing, 16 connections");
        self.rate("limit_insert_16", limits.inserts(16, n * 2).await?);
        self.rate("publish_16", publish(db, &args(n * 2, 1, 16, None)).await?.per_second);
        tell("publishing in batches, and many callers together");
        self.rate("publish_batched", publish(db, &args(n * 10, 1000, 1, None)).await?.per_second);
        let coalesced = publish(db, &args(n * 10, 1, 1, Some(1000))).await?.per_second;
        self.rate("publish_coalesced", coalesced);
        self.report.ratio("publish_vs_limit", "publish_16", "limit_insert_16");
        self.report.ratio("publish_coalesced_vs_limit", "publish_coalesced", "limit_insert_16");
        Ok(())
    }

    async fn latencies(
        &mut self,
        settings: &WorkerSettings,
        tell: &impl Fn(&str),
    ) -> miette::Result<()> {
        let db = self.database().await?;
        tell("latency at 50 messages a second");
        let raw = latency::notify(&db, 500).await?;
        let idle =
            latency::idle(&db, &Listener::direct(&db), settings, 750, FIFTY_A_SECOND).await?;
        self.report.ratios.insert("latency_p50_vs_notify", idle.p50_ms / raw.p50_ms);
        self.report.ratios.insert("latency_p99_vs_notify", idle.p99_ms / raw.p99_ms);
        self.report.latencies.insert("notify_round_trip", raw);
        self.report.latencies.insert("publish_to_handler", idle);
        Ok(())
    }

    async fn processing(&mut self, n: usize, tell: &impl Fn(&str)) -> miette::Result<()> {
        let db = self.database().await?;
        tell("processing, one process");
        let limits = Limits::new(&db).await?;
        // The limit before and after, because the machine's speed drifts.
        let before = limits.process(n * 2).await?;
        let one = self.drain(&db, n * 2, 1, &Load::default()).await?;
        let with_events =
            self.drain(&db, n * 2, 1, &Load { events: true, ..Load::default() }).await?;
        tell("processing, four processes");
        let four = self.drain(&db, n * 2, 4, &Load::default()).await?;
        let after = limits.process(n * 2).await?;
        tell("processing 1.8 KB payloads");
        let large = self.drain(&db, n, 1, &Load { bytes: 1780, ..Load::default() }).await?;
        self.rate("limit_process", f64::midpoint(before, after));
        self.rate("process_1", one.per_second);
        self.rate("process_1_events", with_events.per_second);
        self.rate("process_4", four.per_second);
        self.rate("process_1_1800_bytes", large.per_second);
        self.report.costs.extend([
            ("cpu_us_postgres_1", one.postgres_us),
            ("cpu_us_worker_1", one.workers_us),
            ("cpu_us_postgres_4", four.postgres_us),
            ("cpu_us_workers_4", four.workers_us),
            ("log_bytes", one.log_bytes),
            ("log_bytes_1800", large.log_bytes),
        ]);
        self.report.ratio("process_1_vs_limit", "process_1", "limit_process");
        self.report.ratio("process_4_vs_limit", "process_4", "limit_process");
        self.report.ratio("process_events_vs_plain", "process_1_events", "process_1");
        Ok(())
    }

    async fn tenants(&mut self, n: usize, tell: &impl Fn(&str)) -> miette::Result<()> {
        let db = self.database().await?;
        tell("processing, 100 tenants");
        let one = self.drain(&db, n, 1, &Load::default()).await?;
        let many = self.drain(&db, n, 1, &Load { tenants: 100, ..Load::default() }).await?;
        self.rate("process_1_tenant", one.per_second);
        self.rate("process_100_tenants", many.per_second);
        self.report.ratio("fair_100_tenants", "process_100_tenants", "process_1_tenant");
        Ok(())
    }

    async fn backlog(&mut self, n: usize, tell: &impl Fn(&str)) -> miette::Result<()> {
        let db = self.database().await?;
        tell("processing with 10,000 and with ten times as many queued");
        let small = self.drain(&db, n / 10, 1, &Load::default()).await?;
        let small_again = self.drain(&db, n / 10, 1, &Load::default()).await?;
        let large = self.drain(&db, n * 10, 1, &Load::default()).await?;
        self.rate("process_10k_queued", f64::midpoint(small.per_second, small_again.per_second));
        self.rate("process_1m_queued", large.per_second);
        self.report.ratio("backlog_1m", "process_1m_queued", "process_10k_queued");
        Ok(())
    }

    async fn kept(&mut self, n: usize, tell: &impl Fn(&str)) -> miette::Result<()> {
        let db = self.database().await?;
        tell("processing with a million done messages kept");
        let free = self.drain(&db, n, 1, &Load::default()).await?;
        self.drain(&db, n * 10, 2, &Load::default()).await?;
        let kept = self.drain(&db, n, 1, &Load::default()).await?;
        self.rate("process_nothing_kept", free.per_second);
        self.rate("process_1m_done", kept.per_second);
        self.report.ratio("done_1m", "process_1m_done", "process_nothing_kept");
        Ok(())
    }

    async fn snapshot(&mut self, n: usize, tell: &impl Fn(&str)) -> miette::Result<()> {
        let db = self.database().await?;
        let mut free = 0.0;
        for round in 1..=5 {
            tell(&format!("processing, round {round} of 5"));
            free = self.drain(&db, n, 1, &Load::default()).await?.per_second;
        }
        let db = self.database().await?;
        let holder = Db::connect(&db)?;
        let mut client = holder.client().await?;
        let transaction = client.transaction().await?;
        transaction
            .batch(
                "bench.hold",
                "set transaction isolation level repeatable read; select txid_current()",
            )
            .await?;
        let mut held = 0.0;
        for round in 1..=5 {
            tell(&format!("processing beside a held snapshot, round {round} of 5"));
            held = self.drain(&db, n, 1, &Load::default()).await?.per_second;
        }
        transaction.rollback().await?;
        self.rate("process_round_5", free);
        self.rate("process_round_5_snapshot_held", held);
        self.report.ratio("held_snapshot", "process_round_5_snapshot_held", "process_round_5");
        Ok(())
    }

    /// Publishes a backlog, lets so many worker processes at it, and reads from the receipts how
    /// long it took from the first claim to the last settle.
    async fn drain(
        &self,
        db: &DbSettings,
        count: usize,
        processes: usize,
        load: &Load,
    ) -> miette::Result<Drained> {
        let bus = Bus::connect(db, &BusSettings::default())?;
        let stage: Stage = <Noop as messages::Payload>::stage();
        bus.pause(&stage).await?;
        let (bytes, tenants) = (load.bytes, load.tenants.max(1));
        let args = PublishArgs {
            count,
            batch: 1000,
            connections: 1,
            callers: None,
            seconds: 600,
            bytes,
            tenants,
        };
        publish(db, &args).await?;
        let first: String =
            text(db, &format!("select (max(id) - {count})::text from cogo.agent_messages")).await?;
        let client = Db::connect(db)?;
        for table in ["cogo.ready", "cogo.agent_messages", "cogo.leases", "cogo.receipts"] {
            client
                .client()
                .await?
                .batch("bench.vacuum", &format!("vacuum analyze {table}"))
                .await?;
        }
        client.client().await?.batch("bench.checkpoint", "checkpoint").await?;

        let mut workers = Vec::new();
        for _ in 0..processes {
            workers.push(spawn_worker(db, load, count)?);
        }
        until(
            db,
            &format!("(select count(*) from public.workers where state = 'ready') >= {processes}"),
        )
        .await?;
        sleep(Duration::from_millis(500)).await;
        let pids: Vec<u32> = workers.iter().filter_map(Child::id).collect();
        let postmaster = self.cluster.pid().into_diagnostic()?;
        let used = || {
            let workers: Duration = pids.iter().map(|pid| cpu::of(*pid)).sum();
            (cpu::of_family(postmaster), workers)
        };
        let log_before = text(db, "select pg_current_wal_lsn()::text").await?;
        let (postgres_before, workers_before) = used();
        bus.resume(&stage).await?;
        until_worked_off(db, &bus).await?;
        let (postgres, working) = used();
        let log = text(
            db,
            &format!("select pg_wal_lsn_diff(pg_current_wal_lsn(), '{log_before}')::text"),
        )
        .await?;
        for worker in &mut workers {
            stop(worker).await?;
        }
        until(db, "not exists (select from public.workers where state <> 'gone')").await?;
        client.client().await?.batch("bench.forget", "delete from public.workers").await?;

        let took = text(
            db,
            &format!(
                "select extract(epoch from max(done_at) - min(claimed_at))::text
                    from cogo.receipts where id > {first}"
            ),
        )
        .await?;
        let took: f64 = took.parse().into_diagnostic()?;
        let log: f64 = log.parse().into_diagnostic()?;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let count = count as f64;
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / count;
        Ok(Drained {
            per_second: count / took,
            postgres_us: each(postgres.saturating_sub(postgres_before)),
            workers_us: each(working.saturating_sub(workers_before)),
            log_bytes: log / count,
        })
    }

    fn rate(&mut self, name: &'static str, rate: f64) {
        self.report.rates.insert(name, rate);
    }
}

#[derive(Clone, Debug, Default)]
struct Load {
    events: bool,
    bytes: usize,
    tenants: usize,
}

/// `cogo bench work`, as anybody may run it.
fn spawn_worker(db: &DbSettings, load: &Load, count: usize) -> miette::Result<Child> {
    let url = db.database_url.as_ref().expect("it was set when the database was made");
    let mut command = Command::new(std::env::current_exe().into_diagnostic()?);
    command.args(["bench", "work", "--seconds", "600", "--idle-ms", "600000"]);
    command.args(["--count", &(count * 2).to_string()]);
    if load.events {
        command.arg("--events");
    }
    command.env("DATABASE_URL", url.expose()).env("COGO_LOG", "error");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    command.kill_on_drop(true).spawn().into_diagnostic().wrap_err("could not start a worker")
}
