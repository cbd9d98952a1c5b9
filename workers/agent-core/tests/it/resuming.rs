//! Event streams: in order, and complete wherever the line is cut.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::fixture::{
    Core, Hall, SECRET_KEY, TOO_LONG, claims, in_seconds, settings, signed, user, with,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn chance(below: usize) -> usize {
    rand::rng().random_range(0..below)
}

/// What a stream told.
#[derive(Debug, PartialEq)]
enum Told {
    Event(i64, Value),
    End,
}

/// A stream being read, as a browser reads it: what was cut off half-way is forgotten.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(http: &Client, url: &str, token: &str, after: Option<i64>) -> Self {
        let mut request = http.get(url).bearer_auth(token);
        if let Some(after) = after {
            request = request.header("last-event-id", after.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{url}");
        Self { response, text: String::new() }
    }

    /// `None` when the line is cut.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let told = parse(block);
                self.text = rest.to_owned();
                if told.is_some() {
                    return told;
                }
                continue;
            }
            let chunk = self.response.chunk().await.ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn id(&mut self) -> i64 {
        match timeout(TOO_LONG, self.next()).await.expect("nothing comes") {
            Some(Told::Event(id, _)) => id,
            other => panic!("no event: {other:?}"),
        }
    }
}

fn parse(block: &str) -> Option<Told> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let data = serde_json::from_str(field("data:")?).unwrap();
    match field("event:") {
        Some("end") => Some(Told::End),
        Some(other) => panic!("{other}"),
        None => Some(Told::Event(field("id:")?.parse().unwrap(), data)),
    }
}

fn emit(tenant: &str, trace: &str) -> String {
    format!(
        "insert into public.bus_events (event_type, trace_id, tenant) values ('noted', '{trace}', '{tenant}') returning id"
    )
}

async fn emitted(client: &tokio_postgres::Client, tenant: &str, trace: &str) -> i64 {
    client.query_one(&emit(tenant, trace), &[]).await.unwrap().get(0)
}

/// The servers that clients may come to; one of them is replaced on the way.
type Servers = Arc<Mutex<Vec<String>>>;

/// Reads to `last` and beyond nothing, over a line that is cut again and again.
async fn read_on(
    servers: Servers,
    path: String,
    token: String,
    done: Arc<Mutex<Option<i64>>>,
) -> Vec<i64> {
    let http = Client::new();
    let mut seen: Vec<i64> = Vec::new();
    loop {
        let last = *done.lock().unwrap();
        if last.is_some_and(|last| seen.last().copied().unwrap_or(0) >= last) {
            return seen;
        }
        let url = {
            let servers = servers.lock().unwrap();
            format!("{}{path}", servers[chance(servers.len())])
        };
        let after = seen.last().copied().unwrap_or(0).to_string();
        let request = http.get(&url).bearer_auth(&token).header("last-event-id", after);
        let Ok(response) = request.send().await else { continue };
        if response.status() != 200 {
            continue;
        }
        let mut stream = Stream { response, text: String::new() };
        // Some lines hold, most do not.
        let events = chance(40);
        let life = Duration::from_millis(1 + chance(300) as u64);
        let _ = timeout(life, async {
            for _ in 0..events {
                match stream.next().await {
                    Some(Told::Event(id, _)) => seen.push(id),
                    Some(Told::End) => panic!("a message of the trace is queued"),
                    None => break,
                }
            }
        })
        .await;
    }
}

async fn write(client: tokio_postgres::Client) {
    for _ in 0..40 {
        client.batch_execute("begin").await.unwrap();
        for _ in 0..=chance(3) {
            let (tenant, trace) = [("a", TRACE), ("b", TRACE), ("a", OTHER_TRACE)][chance(3)];
            if chance(5) == 0 {
                client.batch_execute("savepoint part").await.unwrap();
                emitted(&client, tenant, trace).await;
                client.batch_execute("rollback to part").await.unwrap();
            }
            emitted(&client, tenant, trace).await;
            sleep(Duration::from_millis(chance(15) as u64)).await;
        }
        let end = if chance(4) == 0 { "rollback" } else { "commit" };
        client.batch_execute(end).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_client_gets_exactly_the_committed_events_in_order_wherever_its_line_is_cut() {
    let hall = Hall::new().await;
    // Keeps the trace from being over.
    hall.run(&format!(
        "insert into public.agent_messages (service, role, tenant, trace_id) values ('a', 'b', 'a', '{TRACE}')"
    ))
    .await;
    // The trace must be known to whoever follows it.
    for tenant in ["a", "b"] {
        emitted(&hall.sql, tenant, TRACE).await;
    }
    let mut short_lived = hall.replica(|_| {}).await;
    let servers: Servers = Arc::new(Mutex::new(vec![hall.core.url(""), short_lived.url("")]));
    let done = Arc::new(Mutex::new(None));
    let trace = format!("/v1/traces/{TRACE}/events");
    let filters = [
        ("/v1/events", SECRET_KEY.to_owned(), "true".to_owned()),
        ("/v1/events", user("a"), "tenant = 'a'".to_owned()),
        (trace.as_str(), SECRET_KEY.to_owned(), format!("trace_id = '{TRACE}'")),
        (trace.as_str(), user("a"), format!("trace_id = '{TRACE}' and tenant = 'a'")),
    ];
    let mut readers: Vec<JoinSet<Vec<i64>>> = Vec::new();
    for (path, token, _) in &filters {
        let mut same = JoinSet::new();
        for _ in 0..2 {
            same.spawn(read_on(servers.clone(), (*path).to_owned(), token.clone(), done.clone()));
        }
        readers.push(same);
    }
    let mut writers = JoinSet::new();
    for _ in 0..6 {
        writers.spawn(write(hall.test.client().await));
    }
    // In the middle of it one server ends and another takes its place.
    hall.until("(select count(*) from public.bus_events) > 100").await;
    let fresh = hall.replica(|_| {}).await;
    short_lived.stop.cancel();
    servers.lock().unwrap()[1] = fresh.url("");
    short_lived.ends().await;
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    // One that all of them get, and after which there is nothing.
    let last = emitted(&hall.sql, "a", TRACE).await;
    *done.lock().unwrap() = Some(last);
    for ((path, _, condition), mut same) in filters.iter().zip(readers) {
        let sql = format!("select id from public.bus_events where {condition} order by id");
        let committed: Vec<i64> =
            hall.sql.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        while let Some(seen) =
            timeout(TOO_LONG, same.join_next()).await.expect("a reader waits for ever")
        {
            assert_eq!(seen.unwrap(), committed, "{path} {condition}");
        }
    }
    let written = hall.number("select count(*) from public.bus_events").await;
    assert!(written < last, "some must have been rolled back");
}

#[tokio::test]
async fn what_is_behind_an_open_transaction_waits_for_it_and_for_nothing_else() {
    let hall = Hall::new().await;
    let first = emitted(&hall.sql, "a", TRACE).await;
    let url = hall.core.url("/v1/events");
    let mut stream = Stream::open(&hall.core.http, &url, SECRET_KEY, Some(0)).await;
    assert_eq!(stream.id().await, first);

    // Somebody who writes elsewhere holds nobody up, however long.
    let elsewhere = hall.test.client().await;
    elsewhere
        .batch_execute("begin; insert into public.bus_routes (service, role) values ('x', 'y')")
        .await
        .unwrap();
    let slow = hall.test.client().await;
    slow.batch_execute("begin; savepoint s").await.unwrap();
    let late = emitted(&slow, "a", TRACE).await;
    slow.batch_execute("release s").await.unwrap();
    let quick = emitted(&hall.sql, "a", TRACE).await;
    // Whoever comes now is told no more, and whoever starts here waits as well.
    let mut resumed = Stream::open(&hall.core.http, &url, SECRET_KEY, Some(first)).await;
    let early = timeout(Duration::from_millis(400), async {
        tokio::select! { one = stream.next() => one, one = resumed.next() => one }
    });
    assert!(early.await.is_err(), "{quick} was told before {late} could be");
    slow.batch_execute("commit").await.unwrap();
    for stream in [&mut stream, &mut resumed] {
        assert_eq!([stream.id().await, stream.id().await], [late, quick]);
    }

    // What is taken back leaves a hole that nobody waits for.
    slow.batch_execute("begin").await.unwrap();
    emitted(&slow, "a", TRACE).await;
    let next = emitted(&hall.sql, "a", TRACE).await;
    slow.batch_execute("rollback").await.unwrap();
    assert_eq!(stream.id().await, next);
    // A leap of the sequence, as after a restored backup, is such a hole.
    hall.run("select setval('public.bus_events_id_seq', 5000000000)").await;
    let far = emitted(&hall.sql, "a", TRACE).await;
    assert_eq!((stream.id().await, far), (far, 5_000_000_001));
    drop(elsewhere);
}

#[tokio::test]
async fn a_stream_without_a_place_to_resume_from_begins_now() {
    let hall = Hall::new().await;
    let before = emitted(&hall.sql, "a", TRACE).await;
    let url = hall.core.url("/v1/events");
    let mut stream = Stream::open(&hall.core.http, &url, SECRET_KEY, None).await;
    let now = emitted(&hall.sql, "a", TRACE).await;
    assert!(before < now);
    assert_eq!(stream.id().await, now);
    // A number of the future is waited for.
    let mut ahead = Stream::open(&hall.core.http, &url, SECRET_KEY, Some(now + 1)).await;
    emitted(&hall.sql, "a", TRACE).await;
    let after = emitted(&hall.sql, "a", TRACE).await;
    assert_eq!(ahead.id().await, after);
}

#[tokio::test]
async fn a_stream_of_a_trace_tells_it_from_its_beginning_and_ends_with_it() {
    let hall = Hall::new().await;
    let accepted = hall.core.intent("hello", json!({ "template": "rust" })).await;
    let trace = accepted["trace_id"].as_str().unwrap();
    let url = hall.core.url(&format!("/v1/traces/{trace}/events"));
    let mut stream = Stream::open(&hall.core.http, &url, SECRET_KEY, None).await;
    let mut types = Vec::new();
    for _ in 0..2 {
        match stream.next().await.unwrap() {
            Told::Event(_, event) => types.push(event["event_type"].as_str().unwrap().to_owned()),
            Told::End => panic!("the execution waits"),
        }
    }
    assert_eq!(types, ["orchestrate_decision", "orchestrate_enqueued"]);
    let (_, done) =
        hall.core.post(&format!("/v1/traces/{trace}/cancel"), SECRET_KEY, &json!({})).await;
    assert_eq!(done["cancelled"], 1);
    assert!(
        matches!(stream.next().await, Some(Told::Event(_, event)) if event["event_type"] == "cancelled")
    );
    assert_eq!(stream.next().await, Some(Told::End));
    assert_eq!(stream.next().await, None, "nothing comes after the end");

    // Whoever comes when all is over is told the same.
    let mut late = Stream::open(&hall.core.http, &url, SECRET_KEY, None).await;
    let mut count = 0;
    while let Some(Told::Event(..)) = late.next().await {
        count += 1;
    }
    assert_eq!(count, 3);
}

#[tokio::test]
async fn a_stream_ends_with_the_users_token_and_with_the_server() {
    let mut hall = Hall::new().await;
    let url = hall.core.url("/v1/events");
    let brief = signed(&with(claims("a"), "exp", json!(in_seconds(2))));
    let mut stream = Stream::open(&hall.core.http, &url, &brief, None).await;
    assert_eq!(timeout(TOO_LONG, stream.next()).await.expect("it goes on"), None);

    let mut stream = Stream::open(&hall.core.http, &url, &user("a"), None).await;
    hall.core.stop.cancel();
    assert_eq!(timeout(TOO_LONG, stream.next()).await.expect("it goes on"), None);
    hall.core.ends().await;
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_left_behind_and_gets_the_rest_when_it_comes_back() {
    let hall = Hall::new().await;
    let url = hall.core.url("/v1/events");
    let mut slow = Stream::open(&hall.core.http, &url, SECRET_KEY, None).await;
    let first = emitted(&hall.sql, "a", TRACE).await;
    assert_eq!(slow.id().await, first);
    // More than any buffer on the way takes.
    hall.run(&format!(
        "insert into public.bus_events (event_type, trace_id, tenant, payload)
        select 'noted', '{TRACE}', 'a', jsonb_build_object('text', repeat('x', 2000)) from generate_series(1, 20000)"
    ))
    .await;
    // Somebody quick, to know that the feed is through.
    let mut quick = Stream::open(&hall.core.http, &url, SECRET_KEY, Some(first + 19_990)).await;
    for number in 1..=10 {
        assert_eq!(quick.id().await, first + 19_990 + number);
    }
    hall.until("(select count(*) from pg_stat_activity where query like '%bus_events%' and state = 'active' and pid <> pg_backend_pid()) = 0").await;
    let mut seen = vec![first];
    let mut cut = 0;
    while seen.len() < 20_001 {
        match timeout(TOO_LONG, slow.next()).await.expect("nothing comes") {
            Some(Told::Event(id, _)) => seen.push(id),
            Some(Told::End) => panic!("no end was asked for"),
            None => {
                cut += 1;
                slow = Stream::open(&hall.core.http, &url, SECRET_KEY, seen.last().copied()).await;
            }
        }
    }
    assert_eq!(seen, (first..=first + 20_000).collect::<Vec<_>>());
    assert!(cut >= 1, "it was to be cut off");
}

#[tokio::test]
async fn nobody_is_asked_while_nobody_listens() {
    let hall = Hall::new().await;
    let core = Core::start(settings(&hall.test)).await;
    drop(Stream::open(&core.http, &core.url("/v1/events"), SECRET_KEY, None).await);
    hall.until(
        "select not exists (select from pg_stat_activity where query like '%fresh%bus_events%'
            and pid <> pg_backend_pid() and query_start > clock_timestamp() - interval '500 ms')",
    )
    .await;
    // And then it goes on where it must.
    let id = emitted(&hall.sql, "a", TRACE).await;
    let mut stream = Stream::open(&core.http, &core.url("/v1/events"), SECRET_KEY, Some(0)).await;
    assert_eq!(stream.id().await, id);
}

#[tokio::test]
async fn the_numbers_of_events_are_given_one_by_one() {
    let hall = Hall::new().await;
    let cache =
        "select seqcache from pg_sequence where seqrelid = 'public.bus_events_id_seq'::regclass";
    assert_eq!(hall.number(cache).await, 1, "a cache would hand out old numbers late");
}
