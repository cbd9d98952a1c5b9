//! From an intent to tested code, by real workers that are real processes: killed at every boundary
//! of the chain, given a thousand intents at once, and told to stop.

use std::collections::BTreeSet;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bus::NewMessage;
use messages::Intent;
use model::TraceId;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use stories::{Gate, Line, Moment, TOO_LONG};
use tokio::time::{Instant, sleep, timeout};

/// A thousand builds on a machine that does other things, too.
const FAR_TOO_LONG: Duration = Duration::from_secs(1800);

/// Where a worker dies.
#[derive(Clone, Copy, Debug)]
struct Boundary {
    /// What the message of the stage is called.
    stage: &'static str,
    worker: &'static str,
    route: (&'static str, &'static str),
    point: Point,
    statements: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// The message is claimed, and its handler has not begun.
    Claimed,
    /// The work is done, and the settle that ends it and hands on has not reached Postgres.
    Worked,
    /// That settle is committed, and the worker does not know it.
    Settled,
}

const CLAIM: &[&str] = &["public.bus_claim("];
/// However a worker settles: the long way, the short way, or by a function of its own.
const SETTLE: &[&str] = &["public.bus_settle(", "public.bus_done(", "public.execution_forward("];
const FOLLOW: &[&str] = &["public.execution_follow("];

/// Every boundary of the chain, in the order in which a trace comes by.
fn boundaries() -> Vec<Boundary> {
    let stages = [
        ("intent", "agent-core", ("orchestrator", "intent")),
        ("execute", "executor-dispatcher", ("orchestrator", "execute")),
        ("generate", "codegen-worker", ("codegen", "generate")),
        ("build-test", "buildtest-worker", ("code", "build-test")),
    ];
    let points = [(Point::Claimed, CLAIM), (Point::Worked, SETTLE), (Point::Settled, SETTLE)];
    let mut all = Vec::new();
    for (stage, worker, route) in stages {
        for (point, statements) in points {
            all.push(Boundary { stage, worker, route, point, statements });
        }
    }
    // Closing an execution is no message of its own: it is read off that of the target.
    for point in [Point::Worked, Point::Settled] {
        let (worker, route) = ("executor-dispatcher", ("codegen", "generate"));
        all.push(Boundary { stage: "closing", worker, route, point, statements: FOLLOW });
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_wherever_in_the_chain_the_trace_ends_and_each_effect_exists_once() {
    let mut line = Line::new(env!("CARGO_BIN_EXE_crew")).await;
    let boundaries = boundaries();
    for (number, boundary) in boundaries.iter().enumerate() {
        let trace = kill_at(&mut line, *boundary, number).await;
        let said = judge(&line, trace, *boundary).await;
        println!(
            "{:>2}/{} {} killed at {}, {:?}: {said}",
            number + 1,
            boundaries.len(),
            boundary.worker,
            boundary.stage,
            boundary.point
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_intents_at_once_all_end_each_in_a_trace_of_its_own() {
    const INTENTS: i64 = 1000;
    let line = Line::new(env!("CARGO_BIN_EXE_crew")).await;
    // Where a thousand stand in line, the last one waits longer than usual.
    line.run("update public.intents set default_assignment = '{\"ttl_ms\": 3600000}'").await;
    let intents: Vec<NewMessage> = (0..INTENTS).map(|n| hello(&format!("n{n}"))).collect();
    let published = line.bus.publish_all(&intents).await.expect("they are published");
    let traces: BTreeSet<TraceId> = published.iter().map(|published| published.trace).collect();
    assert_eq!(traces.len(), intents.len(), "each has a trace of its own");

    let ended = "select count(*) = 4000 and not exists (
            select from public.agent_messages where status not in ('done', 'failed', 'cancelled'))
        from public.agent_messages";
    line.within(FAR_TOO_LONG, ended).await;
    line.until("select count(*) = 1000 from public.executions where ended_at is not null").await;
    let whole = "select count(*) from (
        select trace_id from public.agent_messages where status = 'done'
        group by trace_id having count(*) = 4 and count(distinct service || '/' || role) = 4) as whole";
    assert_eq!(line.number(whole).await, INTENTS, "{}", line.crew.last_words());
    let events = line.events("true").await;
    for once in ONCE {
        assert_eq!(events.get(once), Some(&INTENTS), "{once} in {events:?}");
    }
    assert_eq!(line.number("select count(*) from public.agent_messages_dlq").await, 0);
    let passed = "select count(*) from public.bus_events
        where event_type = 'buildtest_done' and (payload ->> 'passed')::boolean";
    assert_eq!(line.number(passed).await, INTENTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_a_trace_stops_its_child_processes_and_whatever_would_have_followed() {
    let line = Line::new(env!("CARGO_BIN_EXE_crew")).await;
    // Nobody else sleeps exactly so long.
    let marker = format!("{}.25", 80_000 + u32::from(rand::random::<u16>()));
    let build = json!({ "commands": [["sleep", marker]] });
    for (intent, payload, stage, messages) in [
        ("slow", json!({ "executor": "slow", "prompt": marker }), "generate", 3),
        ("hello", json!({ "template": "hello", "build": build }), "build-test", 4),
    ] {
        let trace =
            line.bus.publish(intended(intent, &payload)).await.expect("it is published").trace;
        count_of_children(&line, &marker, 1..).await;
        line.bus
            .cancel_trace(trace, "nobody wants it any more")
            .await
            .expect("there is such a trace");
        let cancelled = Instant::now();
        count_of_children(&line, &marker, 0..1).await;
        println!(
            "the child of {stage} was gone {:?} after its trace was cancelled",
            cancelled.elapsed()
        );

        line.until(&format!(
            "select count(*) = {messages} and count(*) filter (where status = 'cancelled' and role = '{stage}') = 1
                and count(*) filter (where status = 'done') = {messages} - 1
            from public.agent_messages where trace_id = '{trace}'"
        ))
        .await;
        let execution = if stage == "generate" { "cancelled" } else { "done" };
        line.until(&format!(
            "select state = '{execution}' from public.executions where trace_id = '{trace}'"
        ))
        .await;
    }
}

async fn count_of_children(line: &Line, marker: &str, wanted: impl RangeBounds<usize>) {
    let waiting = async {
        while !wanted.contains(&children(marker)) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(TOO_LONG, waiting).await;
    assert!(waited.is_ok(), "{}", line.crew.last_words());
}

/// What happens once in a trace in which nothing fails.
const ONCE: [&str; 6] = [
    "orchestrate_decision",
    "orchestrate_enqueued",
    "execute_enqueued",
    "execute_done",
    "codegen_done",
    "buildtest_done",
];

/// Sends an intent whose trace comes by this boundary, kills the worker there, and starts another.
async fn kill_at(line: &mut Line, boundary: Boundary, number: usize) -> TraceId {
    let worker = boundary.worker;
    let moment = match boundary.point {
        // What closes an execution is asked for all the time: it is stopped before anything can
        // be closed, and goes on when there is.
        _ if boundary.stage == "closing" => Moment::Asked,
        Point::Claimed | Point::Settled => Moment::Answered,
        Point::Worked => Moment::Asked,
    };
    let gate = line.gate(boundary.statements, moment).await;
    line.crew.kill(worker).await.expect("it can be killed");
    line.start_behind(worker, &gate);

    let intent = hello(&format!("boundary{number}"));
    let trace = line.bus.publish(intent).await.expect("it is published").trace;
    let (service, role) = boundary.route;
    let message = format!(
        "from public.agent_messages
        where trace_id = '{trace}' and service = '{service}' and role = '{role}'"
    );
    reach(line, &gate, boundary).await;
    if boundary.stage == "closing" {
        line.until(&format!("select status = 'done' {message}")).await;
        if boundary.point == Point::Settled {
            gate.go_on_until_answered().await;
        }
    }
    line.crew.kill(worker).await.expect("it can be killed");

    // It died where it was meant to.
    let status = line.text(&format!("select status {message}")).await;
    let closed =
        format!("select ended_at is not null from public.executions where trace_id = '{trace}'");
    let closed = line.text(&closed).await;
    let meant = match (boundary.stage, boundary.point) {
        ("closing", Point::Settled) => ("done", Some("true")),
        ("closing", _) => ("done", Some("false")),
        (_, Point::Settled) => ("done", closed.as_deref()),
        (_, Point::Claimed | Point::Worked) => ("claimed", closed.as_deref()),
    };
    assert_eq!((status.as_deref(), closed.as_deref()), (Some(meant.0), meant.1), "{boundary:?}");
    drop(gate);
    line.start(worker);
    trace
}

async fn reach(line: &mut Line, gate: &Gate, boundary: Boundary) {
    let reached = timeout(TOO_LONG, gate.reached()).await;
    let dead = line.crew.dead();
    assert!(
        reached.is_ok() && dead.is_empty(),
        "{boundary:?} was never reached; {dead:?}\n{}",
        line.crew.last_words()
    );
}

/// Waits until the trace has ended, and reads its tables.
async fn judge(line: &Line, trace: TraceId, boundary: Boundary) -> String {
    let of_trace = format!("trace_id = '{trace}'");
    line.until(&format!(
        "select count(*) = 4 and bool_and(status = 'done') from public.agent_messages where {of_trace}"
    ))
    .await;
    line.until(&format!(
        "select count(*) = 1 and bool_and(state = 'done') from public.executions where {of_trace}"
    ))
    .await;
    let stages = format!(
        "select count(distinct service || '/' || role) from public.agent_messages where {of_trace}"
    );
    assert_eq!(line.number(&stages).await, 4, "{boundary:?}: a stage was handed on to twice");

    // An attempt is spent by dying with a message in one's hands, and by nothing else.
    let (service, role) = boundary.route;
    let died_with_it = boundary.stage != "closing" && boundary.point != Point::Settled;
    let attempts = format!(
        "select sum(attempts - 1) from public.agent_messages where {of_trace}
        and (service, role) = ('{service}', '{role}')"
    );
    assert_eq!(line.number(&attempts).await, i64::from(died_with_it), "{boundary:?}");
    let others = format!(
        "select sum(attempts - 1) from public.agent_messages where {of_trace}
        and (service, role) <> ('{service}', '{role}')"
    );
    assert_eq!(line.number(&others).await, 0, "{boundary:?}");

    let events = line.events(&of_trace).await;
    for once in ONCE {
        assert_eq!(events.get(once), Some(&1), "{boundary:?}: {once} in {events:?}");
    }
    let told = events.get("execute_retry").copied().unwrap_or_default();
    let retried = i64::from(died_with_it && boundary.stage == "generate");
    assert_eq!(told, retried, "{boundary:?}: {events:?}");
    let reclaimed = events.get("reclaimed").copied().unwrap_or_default();
    assert_eq!(reclaimed, i64::from(died_with_it), "{boundary:?}: {events:?}");
    for never in [
        "dead_lettered",
        "expired",
        "cancelled",
        "execute_failed",
        "codegen_failed",
        "buildtest_failed",
    ] {
        assert_eq!(events.get(never), None, "{boundary:?}: {events:?}");
    }
    let artifacts = line.crew.artifacts().join("manifests");
    assert_eq!(naming(&artifacts, &trace.to_string()), 1, "{boundary:?}: artifacts of the trace");
    let passed = format!(
        "select (payload ->> 'passed')::boolean from public.bus_events where {of_trace} and event_type = 'buildtest_done'"
    );
    assert_eq!(line.text(&passed).await.as_deref(), Some("true"), "{boundary:?}");
    format!(
        "4 messages done, {} events, {} attempt more",
        events.values().sum::<i64>(),
        i64::from(died_with_it)
    )
}

fn hello(name: &str) -> NewMessage {
    let payload = json!({ "template": "hello", "params": { "name": name } });
    intended("hello", &payload)
}

fn intended(intent: &str, payload: &Value) -> NewMessage {
    let payload = to_raw_value(payload).expect("it can be written");
    let intent = Intent { intent: intent.to_owned(), payload: Some(payload) };
    NewMessage::of(&intent).expect("it can be written")
}

/// Files in a folder, and in those below it, that say this.
fn naming(folder: &Path, text: &str) -> usize {
    let inside = std::fs::read_dir(folder).expect("it is a folder").filter_map(Result::ok);
    let count = |path: PathBuf| match path.is_dir() {
        true => naming(&path, text),
        false => usize::from(std::fs::read_to_string(path).is_ok_and(|said| said.contains(text))),
    };
    inside.map(|entry| count(entry.path())).sum()
}

/// Processes on this machine that were started with this argument.
fn children(marker: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("this is Linux").filter_map(Result::ok);
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    // The child itself, and whoever watches over it.
    lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == marker.as_bytes())).count()
}
