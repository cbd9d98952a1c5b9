//! No wake-up is lost: workers that sleep until they are rung, no keeper, no poll for an hour, and
//! producers of every kind that publish while the workers fall asleep.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::{Bus, BusSettings, Doorbell};
use messages::Payload;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use testkit::TestDb;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use worker::{Failure, Handlers, Received, Settle, Shards, WorkerSettings, serve};

/// A message that nobody was woken for would wait for an hour.
const STALLED: Duration = Duration::from_secs(20);
const ROUNDS: usize = 500;
const PRODUCERS: usize = 4;

#[derive(Deserialize, Serialize)]
struct Ring {
    n: i64,
    /// The first attempt fails.
    #[serde(default)]
    twice: bool,
}

impl Payload for Ring {
    const SERVICE: &'static str = "doorbell";
    const ROLE: &'static str = "ring";
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_publishes_somebody_wakes_up() {
    let test = testkit::database().await;
    for workers in [1, 3] {
        if let Err(stalled) = stress(&test, workers, STALLED).await {
            panic!("{stalled}");
        }
    }
}

/// Without the lock, a worker falls asleep between a producer's look for sleepers and its commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stress_notices_a_producer_that_does_not_lock() {
    let test = sabotaged("ring_for_new", "pg_advisory_xact_lock_shared", "hashint8").await;
    assert!(stress(&test, 1, NOTICED).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stress_notices_a_retry_that_rings_for_nobody() {
    let test = sabotaged("leave", "in ('ready', 'later')", "= 'ready'").await;
    assert!(stress(&test, 1, NOTICED).await.is_err());
}

const NOTICED: Duration = Duration::from_secs(4);

/// A database where one function says something else.
async fn sabotaged(function: &str, was: &str, becomes: &str) -> TestDb {
    let test = testkit::database().await;
    let client = test.client().await;
    let whole = "select pg_get_functiondef(oid) from pg_proc
        where pronamespace = 'cogo'::regnamespace and proname = $1";
    let whole: String =
        client.query_one(whole, &[&function]).await.expect("it is one function").get(0);
    assert!(whole.contains(was), "cogo.{function} does not say `{was}` any more");
    client.batch_execute(&whole.replace(was, becomes)).await.expect("it is still a function");
    test
}

/// Rounds of a few producers at once. A round ends when its messages are handled, and the next one
/// begins at once: just when the workers are about to lie down. One worker alone is the hardest case,
/// because nobody else is awake to find what it missed.
async fn stress(test: &TestDb, workers: usize, patience: Duration) -> Result<(), String> {
    let seed: u64 = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let stop = CancellationToken::new();
    let (handled, mut seen) = watch::channel(BTreeSet::new());
    let mut working = JoinSet::new();
    for _ in 0..workers {
        working.spawn(work(test.settings(), handled.clone(), stop.clone()));
    }
    let mut clients = Vec::new();
    for _ in 0..PRODUCERS {
        clients.push(test.client().await);
    }
    // An old snapshot cannot use a lane that somebody else has just made; this makes all of them.
    let lanes = "insert into public.agent_messages (service, role, shard, payload)
        select 'doorbell', 'ring', shard, '{\"n\": -1}' from generate_series(0, 3) as shard";
    run(&clients[0], lanes).await;
    let mut next = i64::try_from(workers).expect("it is small") * 1_000_000;
    let mut result = Ok(());
    for round in 0..ROUNDS {
        let mut due = BTreeSet::new();
        let mut said = Vec::new();
        let publishing = clients.iter().map(|client| {
            let batch = Batch::choose(&mut rng, &mut next);
            due.extend(batch.published());
            said.push(format!("{batch:?}"));
            batch.publish(client)
        });
        let publishing: Vec<_> = publishing.collect();
        futures_util::future::join_all(publishing).await;
        let all = timeout(patience, seen.wait_for(|seen| due.is_subset(seen))).await.is_ok();
        if !all {
            let missing: Vec<_> = due.difference(&seen.borrow()).copied().collect();
            result = Err(format!(
                "seed {seed}, {workers} workers, round {round}: nobody woke up for {missing:?} of {said:#?}"
            ));
            break;
        }
        if rng.random_bool(0.2) {
            sleep(Duration::from_millis(rng.random_range(0..20))).await;
        }
    }
    stop.cancel();
    while let Some(ended) = working.join_next().await {
        ended.expect("no worker panics");
    }
    result
}

async fn work(db: db::DbSettings, handled: watch::Sender<BTreeSet<i64>>, stop: CancellationToken) {
    let doorbell = BusSettings { bus_poll_ms: 3_600_000, bus_doorbell: Doorbell::Listen };
    let bus = Bus::connect(&db, &doorbell).expect("the settings are right");
    let handlers = Handlers::new().on(move |job: Received<Ring>, _| {
        let handled = handled.clone();
        async move {
            if job.payload.twice && job.attempt == 1 {
                return Err(Failure::retry_after(Duration::from_millis(5), "as planned"));
            }
            handled.send_modify(|handled| {
                handled.insert(job.payload.n);
            });
            Ok(Settle::done())
        }
    });
    let settings = WorkerSettings {
        agent_service: None,
        agent_role: None,
        agent_shard: Shards::Every,
        agent_tenant: None,
        holder_id: None,
        worker_slots: 4.try_into().expect("four is not zero"),
        worker_grace: Duration::from_secs(5),
        worker_beat: Duration::from_secs(10),
        pod_uid: None,
        cogo_image: None,
        cogo_image_digest: None,
        cogo_release_id: None,
    };
    serve(bus, "doorbell", handlers, &settings, stop).await.expect("it has a handler");
}

/// What one producer does in one transaction.
#[derive(Debug)]
struct Batch {
    numbers: Vec<i64>,
    /// In whole milliseconds, the time between what it does and its commit.
    commit_after: u64,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Insert,
    InsertInTurns,
    RollBack,
    Publish,
    Ordered,
    Delayed,
    TriedTwice,
    OldSnapshot,
    PausedMeanwhile,
}

impl Batch {
    fn choose(rng: &mut StdRng, next: &mut i64) -> Self {
        let how = match rng.random_range(0..18) {
            0..6 => How::Insert,
            6..8 => How::InsertInTurns,
            8 => How::RollBack,
            9..12 => How::Publish,
            12..14 => How::Ordered,
            14 => How::Delayed,
            15 => How::TriedTwice,
            16 => How::OldSnapshot,
            _ => How::PausedMeanwhile,
        };
        let count = rng.random_range(1..=3);
        let numbers = (*next..*next + count).collect();
        *next += count;
        let commit_after = if rng.random_bool(0.5) { rng.random_range(0..6) } else { 0 };
        Self { numbers, commit_after, how }
    }

    fn published(&self) -> impl Iterator<Item = i64> {
        let none = matches!(self.how, How::RollBack);
        self.numbers.iter().copied().filter(move |_| !none)
    }

    async fn publish(self, client: &Client) {
        let begin = match self.how {
            How::OldSnapshot => "begin isolation level repeatable read; select 1",
            _ => "begin",
        };
        run(client, begin).await;
        match self.how {
            How::Insert | How::RollBack => run(client, &self.insert("shard", "0")).await,
            How::Delayed => {
                run(client, &self.insert("retry_at", "now() + interval '8 ms'")).await;
            }
            How::OldSnapshot => {
                self.wait().await;
                run(client, &self.insert("shard", "1")).await;
            }
            How::InsertInTurns => {
                run(client, &self.insert("shard", "2")).await;
                self.wait().await;
                run(client, "select count(*) from public.agent_messages where shard = 2").await;
            }
            How::Publish => run(client, &self.call("")).await,
            How::Ordered => run(client, &self.call(r#", "ordering_key": "one""#)).await,
            How::TriedTwice => run(client, &self.call("").replace("false", "true")).await,
            How::PausedMeanwhile => {
                run(client, "select public.bus_pause('doorbell', 'ring')").await;
                run(client, &self.insert("shard", "3")).await;
                run(client, "commit; begin").await;
                run(client, "select public.bus_pause('doorbell', 'ring', false)").await;
            }
        }
        self.wait().await;
        run(client, if matches!(self.how, How::RollBack) { "rollback" } else { "commit" }).await;
    }

    async fn wait(&self) {
        sleep(Duration::from_millis(self.commit_after)).await;
    }

    fn insert(&self, column: &str, value: &str) -> String {
        let numbers = &self.numbers;
        format!(
            "insert into public.agent_messages (service, role, payload, {column})
            select 'doorbell', 'ring', jsonb_build_object('n', n), {value}
            from unnest(array{numbers:?}) as new(n)"
        )
    }

    fn call(&self, more: &str) -> String {
        let messages: Vec<String> = self
            .numbers
            .iter()
            .map(|n| {
                format!(
                    r#"{{"service": "doorbell", "role": "ring",
                    "payload": {{"n": {n}, "twice": false}}{more}}}"#
                )
            })
            .collect();
        format!("select public.bus_publish('[{}]')", messages.join(","))
    }
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect("it is valid");
}
