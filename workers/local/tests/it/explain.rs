use std::time::Duration;

use bus::{Bus, BusSettings, Outcome, Settle, Station};
use serde_json::json;
use testkit::{Supabase, TestDb};

use crate::running::{Cogo, plain};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const AGENT: &str = "cogo-codegen-worker";

struct On {
    db: TestDb,
    bus: Bus,
    cogo: Cogo,
}

impl On {
    async fn new() -> Self {
        let db = testkit::database().await;
        let bus = Bus::connect(&db.settings(), &BusSettings::default()).unwrap();
        let cogo = Cogo::at(&db);
        Self { db, bus, cogo }
    }

    async fn sql(&self, sql: &str) {
        self.db.client().await.batch_execute(sql).await.unwrap();
    }

    fn send(&self, arguments: &[&str]) -> String {
        self.cogo.json(&[&["bus", "send"], arguments].concat())["id"].to_string()
    }

    async fn claim(&self, worker: &str, route: &str) -> Outcome {
        let mut station = Station::new(&self.bus, worker, &[route.parse().unwrap()]);
        let lease = station.claim(1).await.unwrap().remove(0);
        Outcome { id: lease.message.id, lease: lease.token, settle: Settle::done() }
    }

    async fn work(&self, worker: &str, route: &str, settle: Settle) {
        let outcome = Outcome { settle, ..self.claim(worker, route).await };
        self.bus.settle(worker, &[outcome]).await.unwrap();
    }

    async fn beat(&self, id: &str, slots: i32) {
        let worker = json!({ "id": id, "agent_name": "tester", "service": "a", "role": "b",
            "state": "ready", "slots": slots, "busy": 1, "version": "1.2.3" });
        self.sql(&format!("select public.bus_beat('{worker}')")).await;
    }

    fn explain(&self, what: &[&str]) -> String {
        let said = self.cogo.run(&[&["explain"], what].concat());
        assert_eq!(said.code, Some(0), "{}", said.err);
        same(&said.out)
    }
}

/// `plain` knows lengths of time by the space behind them.
fn same(out: &str) -> String {
    let lines = out.lines().map(|line| match line.strip_prefix("Its trace is ") {
        Some(_) => "Its trace is TRACE.",
        None => line,
    });
    let out = lines.map(|line| format!("{line}\n")).collect::<String>();
    plain(&out.replace(" ms: ", " ms ").replace(" s: ", " s ").replace(" ms.", " ms"))
}

#[tokio::test]
async fn what_a_message_waits_for_is_told_with_how_to_end_it() {
    let on = On::new().await;
    let first = on.send(&["a/b/0"]);
    insta::assert_snapshot!("no-worker", on.explain(&[&first]));

    on.beat("w1", 1).await;
    assert!(
        on.explain(&[&first]).contains("1 worker serves this route, and all 1 slots are taken.")
    );
    on.beat("w1", 4).await;
    let second = on.send(&["a/b/0"]);
    assert!(
        on.explain(&[&second])
            .contains("1 message of its route, tenant and priority is before it.")
    );
    assert!(on.explain(&[&first]).contains("Nothing holds it back"), "{}", on.explain(&[&first]));

    on.cogo.run(&["bus", "pause", "a/b"]);
    let told = on.explain(&[&first]);
    assert!(told.contains("a/b is paused since DATE CLOCK UTC"), "{told}");
    assert!(told.contains("cogo bus resume a/b"), "{told}");
    on.cogo.run(&["bus", "resume", "a/b"]);

    on.sql("update public.bus_routes set max_in_flight = 1").await;
    on.work("w1", "a/b/0", Settle::done()).await;
    assert_eq!(on.claim("w1", "a/b/0").await.id.to_string(), second);
    let third = on.send(&["a/b/0"]);
    let told = on.explain(&[&third]);
    let limit = "a/b may have 1 in flight over the whole fleet, and 1 is claimed.";
    assert!(told.contains(limit), "{told}");
    on.sql("update public.bus_routes set max_in_flight = null, rate_per_tenant = 0.001").await;
    on.work("w1", "a/b/0", Settle::done()).await;
    let fourth = on.send(&["a/b/0"]);
    let told = on.explain(&[&fourth]);
    let rate = "limited to 0.001 claims a second at a/b, and those of `default` are used up now.";
    assert!(told.contains(rate), "{told}");
}

#[tokio::test]
async fn a_message_that_is_late_or_behind_another_says_until_when_and_behind_whom() {
    let on = On::new().await;
    let late = on.send(&["a/b/0", "{}", "--delay", "1h", "--ttl", "2h"]);
    let told = on.explain(&[&late]);
    assert!(told.contains("as its producer asked"), "{told}");
    assert!(told.contains("it expires"), "{told}");
    let first = on.send(&["a/b/0", "{}", "--ordering-key", "one"]);
    let behind = on.send(&["a/b/0", "{}", "--ordering-key", "one"]);
    let told = on.explain(&[&behind]);
    let turn = format!("of the ordering key `one`, message {first} (queued) comes first.");
    assert!(told.contains(&turn), "{told}");
    assert!(told.contains(&format!("cogo explain {first}")), "{told}");
    on.db.advance(Duration::from_secs(3700)).await;
    let told = on.explain(&[&late]);
    assert!(told.contains("has been due for"), "{told}");
    assert!(told.contains("No bus-keeper has ever run."), "{told}");
}

#[tokio::test]
async fn every_attempt_is_told_with_who_had_it_and_why_it_ended() {
    let on = On::new().await;
    let id = on.send(&["a/b/0"]);
    on.work("w1", "a/b/0", Settle::retry("boom\u{1b}[31m one").after(Duration::ZERO)).await;
    let running = on.claim("w2", "a/b/0").await;
    let told = on.explain(&[&id]);
    assert!(told.contains("w2 has been working on it for"), "{told}");
    assert!(told.contains("No worker of that name is known."), "{told}");
    on.db.advance(Duration::from_secs(31)).await;
    let told = on.explain(&[&id]);
    assert!(told.contains("the keeper gives the message to another."), "{told}");
    assert!(told.contains("cogo run bus-keeper"), "{told}");
    on.bus.sweep("keeper", 100).await.unwrap();
    on.work("w3", "a/b/0", Settle::retry("boom two")).await;
    assert_eq!(running.id.to_string(), id);
    let told = on.explain(&[&id]);
    assert!(!told.contains('\u{1b}'), "what a handler says moves no cursor");
    insta::assert_snapshot!("dead-letter", told.replace('\u{1b}', "ESC"));

    let new = on.cogo.json(&["bus", "replay", &id])["id"].to_string();
    let told = on.explain(&[&id]);
    assert!(told.contains(&format!("It was replayed as message {new}.")), "{told}");
    assert!(on.explain(&[&new]).contains(&format!("as a replay of message {id}")));
    let facts = on.cogo.json(&["explain", &id]);
    assert_eq!(
        (&facts["kind"], &facts["facts"]["facts"]["place"]),
        (&json!("message"), &json!("ended"))
    );
    assert_eq!(facts["next"][0]["run"], format!("cogo explain {new}"));
    // The message goes before its dead letter does.
    on.sql(&format!("delete from cogo.agent_messages where id = {id}")).await;
    let told = on.explain(&[&id]);
    assert!(told.contains("its dead letter is what is left"), "{told}");
}

#[tokio::test]
async fn attempts_of_which_nothing_is_left_are_counted_and_not_made_up() {
    let on = On::new().await;
    let id = on.send(&["a/b/0"]);
    on.work("w1", "a/b/0", Settle::retry("boom").after(Duration::ZERO)).await;
    on.sql("delete from public.bus_events").await;
    on.work("w1", "a/b/0", Settle::done()).await;
    let told = on.explain(&[&id]);
    assert!(told.contains("attempt 2, w1: done"), "{told}");
    assert!(told.contains("Of 1 earlier attempt no record is left."), "{told}");
}

#[tokio::test]
async fn a_trace_an_event_and_a_worker_lead_to_each_other() {
    let on = On::new().await;
    let root = on.send(&["a/b/0", "{}", "--trace", TRACE]);
    on.beat("w1", 4).await;
    let next = Settle::done().publish_to(&"a/c/0".parse().unwrap(), &json!({})).unwrap();
    let next = next.publish_to(&"a/d/0".parse().unwrap(), &json!({})).unwrap();
    on.work("w1", "a/b/0", next).await;
    on.work("w1", "a/c/0", Settle::fail("tests_failed", "2 of 7")).await;
    on.claim("w1", "a/d/0").await;

    let told = on.explain(&[&root]);
    assert!(
        told.contains("From it followed message 2 (a/c/0, failed), message 3 (a/d/0, claimed)."),
        "{told}"
    );
    insta::assert_snapshot!("trace", on.explain(&[TRACE]));
    let event = on.cogo.json(&["trace", TRACE])["events"][0]["id"].to_string();
    insta::assert_snapshot!("event", on.explain(&[&format!("event:{event}")]));
    insta::assert_snapshot!("worker", on.explain(&["worker:w1"]));
    on.sql("update public.workers set state = 'gone'").await;
    let told = on.explain(&["worker:w1"]);
    assert!(told.contains("But no bus-keeper sweeps at the moment."), "{told}");
    let told = on.explain(&["3"]);
    assert!(told.contains("That worker is gone."), "{told}");
}

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Takes the latest release of the agent along, as a controller would.
async fn steps(on: &On, id: &str, steps: &[(&str, serde_json::Value)]) {
    for (to, facts) in steps {
        let take = "select public.rollout_take('controller-1')";
        let advance = format!(
            "select public.rollout_advance('{id}', (select fence from public.agent_catalog
                where agent_name = '{AGENT}'), '{to}', '{facts}')"
        );
        on.sql(take).await;
        on.sql(&advance).await;
    }
}

#[tokio::test]
async fn a_release_is_told_from_its_first_step_to_what_came_back() {
    let on = On::new().await;
    let deadline = || json!({ "deadline_ms": 40_000 });
    let first = on.cogo.json(&["images", "record", AGENT, "v1.0.0"])["id"].clone();
    let first = first.as_str().unwrap();
    assert!(on.explain(&[AGENT]).contains("No image-controller has ever looked"));
    on.cogo.run(&["images", "promote", AGENT, "v1.0.0"]);
    steps(&on, first, &[("resolved", json!({ "digest": DIGEST })), ("deploying", deadline())])
        .await;
    let told = on.explain(&[first]);
    assert!(told.contains("left until its deadline"), "{told}");
    assert!(told.contains("controller-1 is at it."), "{told}");
    steps(&on, first, &[("verifying", json!({})), ("active", json!({}))]).await;
    assert!(on.explain(&[AGENT]).contains("0 workers of it are ready on the bus."));

    for (tag, digit) in [("v1.1.0", 'b'), ("v1.1.1", 'c'), ("v1.1.2", 'd')] {
        let recorded = on.cogo.json(&["images", "record", AGENT, tag, "--built-by", "ci"]);
        let id = recorded["id"].as_str().unwrap().to_owned();
        on.cogo.run(&["images", "promote", AGENT, tag]);
        let why = json!({ "code": "crashed", "detail": "the container worker ended with 1" });
        let digest = json!({ "digest": DIGEST.replace('a', &digit.to_string()).replacen(&format!("sh{digit}"), "sha", 1) });
        let bad = [
            ("resolved", digest),
            ("deploying", deadline()),
            ("verifying", json!({})),
            ("failed", why),
        ];
        steps(&on, &id, &bad).await;
        steps(&on, &id, &[("rolling_back", deadline()), ("rolled_back", json!({}))]).await;
    }
    insta::assert_snapshot!("rolled-back", on.explain(&[AGENT]));
    let told = on.explain(&[AGENT, "v1.0.0"]);
    assert!(told.contains("It runs: it was found good"), "{told}");
    let facts = on.cogo.json(&["explain", AGENT, "v1.1.0"]);
    assert_eq!(facts["facts"]["facts"]["quarantine"]["failure_code"], "crashed");
    assert_eq!(facts["steps"].as_array().unwrap().len(), 9, "{facts}");
}

#[tokio::test]
async fn what_is_not_there_is_said_plainly() {
    let on = On::new().await;
    on.beat("w1", 4).await;
    for (what, code, says) in [
        (&["42"][..], 1, "there is no message 42"),
        (&["event:42"], 1, "there is no event 42"),
        (&[TRACE], 1, "nothing belongs to the trace"),
        (&["worker:w2"], 1, "did you mean worker:w1?"),
        (&["67e55044-10b1-426f-9247-bb680e5fe0c8"], 1, "there is no release 67e55044"),
        (&["cogo-codegen-woker"], 1, "did you mean cogo-codegen-worker?"),
        (&[AGENT], 1, "no tag of cogo-codegen-worker is recorded"),
        (&[AGENT, "v1.0.0"], 1, "no tag v1.0.0 of cogo-codegen-worker is recorded"),
        (&["what"], 2, "nothing that can be explained"),
        (&["event:x"], 2, "is no event"),
        (&["42", "v1.0.0"], 2, "only of an agent a tag can be named"),
        (&[AGENT, "latest"], 2, "latest"),
    ] {
        let said = on.cogo.run(&[&["explain"], what].concat());
        assert_eq!(said.code, Some(code), "{what:?}: {}", said.err);
        let told = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(says), "{what:?}: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_the_same_is_told() {
    let on = On::new().await;
    let id = on.send(&["a/b/0", "{}", "--trace", TRACE]);
    on.work("w1", "a/b/0", Settle::fail("tests_failed", "2 of 7")).await;
    on.cogo.json(&["images", "record", AGENT, "v1.0.0"]);
    on.beat("w1", 4).await;
    let supabase = Supabase::start(&on.db).await;
    let over = Cogo::over(&supabase);
    for what in [&id, TRACE, "event:1", AGENT, "worker:w1"] {
        let said = over.run(&["explain", what]);
        assert_eq!(said.code, Some(0), "{what}: {}", said.err);
        let direct = on.explain(&[what]);
        let (here, there) = (direct.lines().next(), same(&said.out));
        assert_eq!(here, there.lines().next(), "{what}");
    }
    assert_eq!(over.run(&["explain", "999"]).code, Some(1));
}
