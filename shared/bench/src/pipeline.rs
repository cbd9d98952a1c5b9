use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use bus::{Bus, BusSettings, MessageState, NewMessage, Status, TraceHistory};
use clap::Args;
use db::DbSettings;
use hdrhistogram::Histogram;
use localstack::{Cluster, ClusterOptions, free_port};
use messages::{BuildReport, BuildTest, EventType, Execute, Generate, Intent, Payload};
use miette::{Context, IntoDiagnostic, miette};
use model::{Stage, TraceId};
use serde::Deserialize;
use serde_json::value::to_raw_value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, sleep};

use crate::Report;
use crate::ask::{text, until};
use crate::latency::{histogram, summary};
use crate::process::stop;

/// Measures the way from an intent to tested code, each worker a process of its own, on a Postgres
/// of its own with default durability.
///
/// The program is made from templates and needs no compiling, and the time of the commands that
/// test it is taken out: what remains is Cogo's own time.
#[derive(Args, Clone, Debug)]
pub struct PipelineArgs {
    /// Intents sent one by one.
    #[arg(long, default_value = "200")]
    pub intents: usize,
    /// Milliseconds between two of them.
    #[arg(long, default_value = "250")]
    pub apart_ms: u64,
    /// Then so many at once, to see that each is finished, once, in a trace of its own.
    #[arg(long, default_value = "0")]
    pub burst: usize,
    /// The set of templates the programs are made from.
    #[arg(long, default_value = "hello")]
    pub template: String,
}

/// What the whole of it may take at p50, beside the child processes.
const GOAL_MS: f64 = 50.0;
/// So many intents go before those that count: statements get prepared, files get cached.
const WARMING_UP: usize = 10;

const PATIENT: &str = r#"{"ttl_ms": 600000}"#;

/// The stages, in order, as the report calls them: waiting to be claimed, and being worked on.
const HOPS: [(&str, &str); 4] = [
    ("1_intent_wait", "1_intent_work"),
    ("2_execute_wait", "2_execute_work"),
    ("3_generate_wait", "3_generate_work"),
    ("4_build_test_wait", "4_build_test_work_own"),
];

/// `workers` are the names that `cogo run` knows; `tell` is called with what is being measured.
pub async fn pipeline(
    args: &PipelineArgs,
    workers: &[&str],
    tell: impl Fn(&str),
) -> miette::Result<Report> {
    tell("starting a Postgres");
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(&ClusterOptions::default()));
    let cluster = cluster.await.into_diagnostic()?.into_diagnostic()?;
    let url = cluster.create_migrated_database("pipeline").await.into_diagnostic()?;
    let db = DbSettings::at(&url);
    let mut report = Report { postgres: text(&db, "select version()").await?, ..Report::default() };

    // Whoever sends a thousand at once gives the last of them the time it has to wait. Longer is not
    // slower: nothing of it is in the path.
    let sql = format!("update public.intents set default_assignment = '{PATIENT}'");
    db::Db::connect(&db)?.client().await?.batch("bench.patience", &sql).await?;

    tell("starting the workers");
    let mut fleet = Fleet::start(&db, workers)?;
    fleet.ready(&db).await?;
    let bus = Bus::connect(&db, &BusSettings::default())?;
    one_by_one(args, &bus, &db, &mut fleet, &mut report, &tell).await?;
    if args.burst > 0 {
        at_once(args, &bus, &db, &mut fleet, &mut report, &tell).await?;
    }
    fleet.end().await?;
    tokio::task::spawn_blocking(move || drop(cluster)).await.into_diagnostic()?;
    Ok(report)
}

async fn one_by_one(
    args: &PipelineArgs,
    bus: &Bus,
    db: &DbSettings,
    fleet: &mut Fleet,
    report: &mut Report,
    tell: &impl Fn(&str),
) -> miette::Result<()> {
    let apart = Duration::from_millis(args.apart_ms.max(1));
    tell(&format!("{} intents, one every {apart:?}", args.intents));
    let mut clock = interval(apart);
    let mut traces = Vec::new();
    for _ in 0..args.intents + WARMING_UP {
        clock.tick().await;
        traces.push(bus.publish(intent(args)?).await?.trace);
    }
    fleet.finished(db).await?;

    let mut times: BTreeMap<&'static str, Histogram<u64>> = BTreeMap::new();
    for trace in &traces[WARMING_UP..] {
        let history = bus.trace(*trace).await?.ok_or_else(|| miette!("trace {trace} is gone"))?;
        for (name, time) in figures(&history)? {
            let nanos = u64::try_from(time.as_nanos()).into_diagnostic()?;
            times.entry(name).or_insert_with(histogram).saturating_record(nanos);
        }
    }
    report.latencies = times.iter().map(|(name, times)| (*name, summary(times))).collect();
    let own = report.latencies.get(OWN).ok_or_else(|| miette!("no intent was measured"))?;
    report.ratios.insert("own_p50_vs_50_ms", own.p50_ms / GOAL_MS);
    Ok(())
}

/// First in the alphabet, and so in the report.
const OWN: &str = "0_own_time";

/// How long everything took, and each of its parts.
fn figures(trace: &TraceHistory) -> miette::Result<Vec<(&'static str, Duration)>> {
    let messages = in_order(trace)?;
    let children = children(trace)?;
    let ended = |message: &MessageState| {
        let done = message.done_at.filter(|_| message.status == Status::Done);
        let trouble = message.error.as_deref().unwrap_or("nobody knows why");
        done.ok_or_else(|| miette!("message {} is {}: {trouble}", message.id, message.status))
    };
    let mut last = messages[0].created_at;
    let mut figures = Vec::new();
    for (message, (wait, work)) in messages.iter().zip(HOPS) {
        let done = ended(message)?;
        let claimed = message.claimed_at.unwrap_or(message.created_at);
        last = last.max(done);
        let took = positive(done - claimed);
        let own = if work.ends_with("own") { took.saturating_sub(children) } else { took };
        figures.push((wait, positive(claimed - message.created_at)));
        figures.push((work, own));
    }
    let wall = positive(last - messages[0].created_at);
    figures.push(("wall", wall));
    figures.push(("child_processes", children));
    figures.push((OWN, wall.saturating_sub(children)));
    Ok(figures)
}

/// Exactly one message for each stage.
fn in_order(trace: &TraceHistory) -> miette::Result<Vec<&MessageState>> {
    let stages = [Intent::stage(), Execute::stage(), Generate::stage(), BuildTest::stage()];
    let of = |stage: &Stage| {
        let mut found = trace.messages.iter().filter(|message| message.route.stage() == stage);
        match (found.next(), found.next()) {
            (Some(message), None) => Ok(message),
            (None, _) => Err(miette!("trace {} has no message on {stage}", trace.trace_id)),
            (Some(_), Some(_)) => Err(miette!("trace {} did {stage} twice", trace.trace_id)),
        }
    };
    stages.iter().map(of).collect()
}

/// What the worker that ran them says.
fn children(trace: &TraceHistory) -> miette::Result<Duration> {
    let done = EventType::BUILDTEST_DONE;
    let tested = trace.events.iter().find(|event| event.event_type == done.as_str());
    let tested = tested.ok_or_else(|| miette!("trace {} has no {done}", trace.trace_id))?;
    let report = BuildReport::deserialize(&tested.payload).into_diagnostic()?;
    Ok(Duration::from_millis(report.duration_ms))
}

/// Moments of one server's clock, so the other way round is only ever a clock being set.
fn positive(time: time::Duration) -> Duration {
    time.try_into().unwrap_or_default()
}

async fn at_once(
    args: &PipelineArgs,
    bus: &Bus,
    db: &DbSettings,
    fleet: &mut Fleet,
    report: &mut Report,
    tell: &impl Fn(&str),
) -> miette::Result<()> {
    tell(&format!("{} intents at once", args.burst));
    let intents = (0..args.burst).map(|_| intent(args)).collect::<miette::Result<Vec<_>>>()?;
    let began = Instant::now();
    let published = bus.publish_all(&intents).await?;
    fleet.finished(db).await?;
    let took = began.elapsed();

    let mut whole = 0_usize;
    let traces: std::collections::BTreeSet<TraceId> =
        published.iter().map(|one| one.trace).collect();
    for trace in &traces {
        let history = bus.trace(*trace).await?.ok_or_else(|| miette!("trace {trace} is gone"));
        match history.and_then(|history| figures(&history)) {
            Ok(_) => whole += 1,
            Err(trouble) => tell(&format!("{trouble:#}")),
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let (sent, whole, traces) = (args.burst as f64, whole as f64, traces.len() as f64);
    report.rates.insert("burst_intents", sent / took.as_secs_f64());
    report.ratios.insert("burst_traces_per_intent", traces / sent);
    report.ratios.insert("burst_finished", whole / sent);
    Ok(())
}

fn intent(args: &PipelineArgs) -> miette::Result<NewMessage> {
    let payload = serde_json::json!({ "template": args.template });
    let payload = to_raw_value(&payload).into_diagnostic()?;
    NewMessage::of(&Intent { intent: "hello".to_owned(), payload: Some(payload) }).into_diagnostic()
}

/// Every worker as a process, started as an operator would.
struct Fleet {
    processes: Vec<(String, Child)>,
    _artifacts: TempDir,
}

impl Fleet {
    fn start(db: &DbSettings, workers: &[&str]) -> miette::Result<Self> {
        let artifacts = tempfile::Builder::new().prefix("cogo-bench-").tempdir();
        let artifacts = artifacts.into_diagnostic()?;
        let url = db.database_url.as_ref().expect("it was set when the database was made");
        let port = free_port().into_diagnostic()?.to_string();
        let key = format!("sb_secret_{:032x}", rand::random::<u128>());
        let program = std::env::current_exe().into_diagnostic()?;
        let spawn = |worker: &&str| {
            let mut command = Command::new(&program);
            command.args(["run", worker]).env("DATABASE_URL", url.expose());
            command.env("ARTIFACTS_BASE", artifacts.path()).env("COGO_LOG", "error");
            command.env("PORT", &port).env("HTTP_BIND", "127.0.0.1");
            command.env("SUPABASE_SECRET_KEY", &key);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
            let child = command.kill_on_drop(true).spawn().into_diagnostic();
            let child = child.wrap_err_with(|| format!("could not start {worker}"))?;
            Ok(((*worker).to_owned(), child))
        };
        let processes = workers.iter().map(spawn).collect::<miette::Result<_>>()?;
        Ok(Self { processes, _artifacts: artifacts })
    }

    /// When every stage has a worker that waits for messages.
    async fn ready(&mut self, db: &DbSettings) -> miette::Result<()> {
        let stages = "array['orchestrator/intent', 'orchestrator/execute', 'codegen/generate',
            'code/build-test']";
        let ready = "select service || '/' || role from public.workers where state = 'ready'";
        self.until(db, &format!("{stages} <@ array({ready})")).await?;
        // They have said so just before they lie down to sleep.
        sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    /// When nothing waits or is worked on.
    async fn finished(&mut self, db: &DbSettings) -> miette::Result<()> {
        let open = "select from public.agent_messages where status in ('queued', 'claimed')";
        self.until(db, &format!("not exists ({open})")).await
    }

    /// Fails when a worker ends meanwhile.
    async fn until(&mut self, db: &DbSettings, condition: &str) -> miette::Result<()> {
        tokio::select! {
            waited = until(db, condition) => waited,
            died = self.died() => Err(died),
        }
    }

    async fn died(&mut self) -> miette::Report {
        loop {
            for (name, child) in &mut self.processes {
                match child.try_wait() {
                    Ok(None) => {}
                    Ok(Some(status)) => return miette!("{name} ended by itself: {status}"),
                    Err(error) => return miette!("{name} is gone: {error}"),
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn end(mut self) -> miette::Result<()> {
        for (_, child) in &mut self.processes {
            stop(child).await?;
        }
        Ok(())
    }
}
