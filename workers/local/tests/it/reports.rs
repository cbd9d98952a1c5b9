use bus::{Bus, BusSettings, Outcome, Settle, Station};
use serde_json::json;
use testkit::TestDb;

use crate::running::{Cogo, plain};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn bus(db: &TestDb) -> Bus {
    Bus::connect(&db.settings(), &BusSettings::default()).expect("its settings are right")
}

/// Claims one message of a route and settles it.
async fn work(db: &TestDb, route: &str, settle: Settle) {
    let bus = bus(db);
    let mut station = Station::new(&bus, "tester", &[route.parse().expect("it is a route")]);
    let claimed = station.claim(1).await.expect("claiming works");
    let lease = claimed.into_iter().next().expect("there is a message");
    let outcome = Outcome { id: lease.message.id, lease: lease.token, settle };
    bus.settle("tester", &[outcome]).await.expect("settling works");
}

#[tokio::test]
async fn stats_count_what_stands_where() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    assert!(cogo.run(&["bus", "stats"]).out.starts_with("nothing stands anywhere"));
    for arguments in [
        &["codegen/generate/0"][..],
        &["codegen/generate/0", "{}", "--priority", "5"],
        &["codegen/generate/0", "{}", "--delay", "1h"],
        &["codegen/generate/0/acme", "{}", "--ordering-key", "one"],
        &["codegen/generate/0/acme", "{}", "--ordering-key", "one"],
        &["code/build-test/0"],
        &["code/build-test/0"],
    ] {
        let said = cogo.run(&[&["bus", "send"], arguments].concat());
        assert_eq!(said.code, Some(0), "{}", said.err);
    }
    work(&db, "code/build-test/0", Settle::done()).await;
    work(&db, "code/build-test/0", Settle::fail("tests_failed", "2 of 7")).await;
    assert_eq!(cogo.run(&["bus", "pause", "code/build-test"]).code, Some(0));

    insta::assert_snapshot!(plain(&cogo.run(&["bus", "stats"]).out), @r"
    route tenant ready delayed waiting claimed oldest done/h failed/h
    code/build-test/0 default 0 0 0 0 – 1 1 paused
    codegen/generate/0 acme 1 0 1 0 TIME 0 0
    codegen/generate/0 default 2 1 0 0 TIME 0 0
    ");
    let stats = cogo.json(&["bus", "stats", "code/build-test"]);
    assert_eq!(
        stats,
        json!({
            "routes": [{
                "route": "code/build-test/0/default", "paused": true, "ready": 0, "delayed": 0,
                "waiting": 0, "claimed": 0, "oldest_ready_s": null, "done_last_hour": 1,
                "failed_last_hour": 1,
            }],
            "last_hour_is_partial": false,
        })
    );
}

#[tokio::test]
async fn peek_shows_what_would_be_claimed_next_and_claims_nothing() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    for arguments in [
        &["a/b/0", "{\"n\": 1}"][..],
        &["a/b/0", "{\"n\": 2}", "--priority", "5"],
        &["a/b/1", "{\"n\": 3}"],
        &["a/b/0", "{\"n\": 4}", "--delay", "1h"],
    ] {
        cogo.run(&[&["bus", "send"], arguments].concat());
    }
    let first = cogo.run(&["bus", "peek", "a/b/0"]).out;
    insta::assert_snapshot!(plain(&first), @r#"
    id route priority attempts published payload
    2 a/b/0 5 0 DATE CLOCK {"n": 2}
    1 a/b/0 0 0 DATE CLOCK {"n": 1}
    "#);
    assert_eq!(cogo.run(&["bus", "peek", "a/b/0"]).out, first);
    assert_eq!(cogo.json(&["bus", "peek", "a/b/*", "--limit", "2"]).as_array().unwrap().len(), 2);
    assert_eq!(cogo.run(&["bus", "peek", "a/c/0"]).out, "nothing is ready on a/c/0\n");
}

#[tokio::test]
async fn a_dead_letter_is_listed_shown_and_replayed() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    cogo.run(&["bus", "send", "a/b/0/acme", "{\"n\": 1}", "--trace", TRACE]);
    work(&db, "a/b/0", Settle::fail("tests_failed", "2 of 7 tests failed")).await;
    insta::assert_snapshot!(plain(&cogo.run(&["bus", "dlq", "list"]).out), @r"
    message route reason attempts died replayed as error
    1 a/b/0/acme tests_failed 1 DATE CLOCK – 2 of 7 tests failed
    ");
    insta::assert_snapshot!(plain(&cogo.run(&["bus", "dlq", "show", "1"]).out), @r#"
    message 1
    route a/b/0/acme
    trace TRACE
    died DATE CLOCK after 1 attempt
    reason tests_failed
    error 2 of 7 tests failed
    replayed not yet; `cogo bus dlq replay 1` does it
    payload {
    "n": 1
    }
    "#);
    let none = ["bus", "dlq", "replay", "--matching", "--reason", "expired"];
    assert_eq!(cogo.run(&none).out, "no dead letter fits\n");
    let all = ["bus", "dlq", "replay", "--matching"];
    assert_eq!(cogo.run(&all).out, "message 2 repeats message 1\n");
    assert_eq!(cogo.run(&all).out, "no dead letter fits\n", "once is enough");
    assert_eq!(cogo.run(&["bus", "dlq", "list"]).out, "no dead letters\n");
    assert_eq!(cogo.json(&["bus", "dlq", "list", "--all"])[0]["replayed_as"], 2);
}

#[tokio::test]
async fn a_trace_shows_every_message_below_the_one_it_follows_from() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    cogo.run(&["bus", "send", "a/first/0", "{}", "--trace", TRACE]);
    let next = Settle::done().publish_to(&"a/second/0".parse().unwrap(), &json!({})).unwrap();
    let next = next.publish_to(&"a/third/0".parse().unwrap(), &json!({})).unwrap();
    work(&db, "a/first/0", next).await;
    work(&db, "a/third/0", Settle::fail("tests_failed", "2 of 7")).await;
    let said = cogo.run(&["trace", TRACE]);
    assert_eq!(said.code, Some(0));
    let page: String = plain(&said.out).chars().filter(|mark| !"░█".contains(*mark)).collect();
    let page: Vec<&str> = page.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(page.join("\n"), @r#"
    trace TRACE 3 messages TIME 1 queued, 1 failed
    began DATE CLOCK UTC

    message state tries wait work 0 TIME
    1 a/first/0 done 1 TIME TIME
    2 a/second/0 queued 0 TIME –
    3 a/third/0 failed 1 TIME TIME
    #3: 2 of 7

    events
    TIME dead_lettered #3 tests_failed {"attempts":1}
    "#);
    assert!(said.out.contains("\n  2 a/second/0"), "children stand further in:\n{}", said.out);
    assert!(said.out.lines().all(|line| line.chars().count() <= 120), "{}", said.out);
    assert!(cogo.run(&["trace", "3"]).out.starts_with(&format!("trace {TRACE}  3 messages")));
}

#[tokio::test]
async fn a_key_attaches_and_a_cancelled_message_stays_cancelled() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    let send = ["bus", "send", "a/b/0", "{}", "--key", "order-17"];
    let first = cogo.json(&send);
    let second = cogo.json(&send);
    assert_eq!((&first["id"], &first["attached"]), (&second["id"], &json!(false)));
    assert_eq!(second["attached"], true);
    let id = first["id"].to_string();
    assert_eq!(cogo.run(&["bus", "cancel", &id]).out, format!("message {id} is cancelled\n"));
    let again = cogo.run(&["bus", "cancel", &id]);
    assert_eq!(again.code, Some(1));
    assert_eq!(again.out, format!("message {id} had already ended: cancelled\n"));
}

#[tokio::test]
async fn a_cancelled_trace_has_nothing_left_to_do() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    for role in ["b", "c"] {
        cogo.run(&["bus", "send", &format!("a/{role}/0"), "{}", "--trace", TRACE]);
    }
    let cancelled = cogo.json(&["bus", "cancel", TRACE]);
    assert_eq!((&cancelled["cancelled"], &cancelled["asked"]), (&json!(2), &json!(0)));
    let again = cogo.run(&["bus", "cancel", TRACE]);
    assert_eq!(again.code, Some(1));
    assert_eq!(again.out, format!("everything of trace {TRACE} had already ended\n"));
}

#[tokio::test]
async fn tail_starts_with_the_latest_and_filters() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    for stage in ["a/b", "c/d"] {
        cogo.run(&["bus", "pause", stage]);
        cogo.run(&["bus", "resume", stage]);
    }
    let seen = |arguments: &[&str], lines: usize| {
        use std::io::{BufRead, BufReader};
        let mut command = cogo.command(&[&["bus", "tail", "--output", "json"], arguments].concat());
        let mut tail = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let reader = BufReader::new(tail.stdout.take().unwrap());
        let lines: Vec<serde_json::Value> = reader
            .lines()
            .take(lines)
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        tail.kill().unwrap();
        tail.wait().unwrap();
        lines
    };
    let types = |lines: &[serde_json::Value]| -> Vec<String> {
        lines.iter().map(|line| line["event_type"].as_str().unwrap().to_owned()).collect()
    };
    let all = ["route_paused", "route_resumed", "route_paused", "route_resumed"];
    assert_eq!(types(&seen(&[], 4)), all);
    assert_eq!(types(&seen(&["--last", "1"], 1)), all[3..]);
    assert_eq!(types(&seen(&["--type", "route_paused"], 2)), [all[0], all[2]]);
    assert_eq!(seen(&["--route", "c/d"], 2)[0]["stage"], "c/d");
}
