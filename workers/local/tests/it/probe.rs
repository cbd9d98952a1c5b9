use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::running::{Cogo, Started, eventually, plain};

#[tokio::test]
async fn a_message_passes_from_one_terminal_to_another() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    let _worker = cogo.start(&["run", "probe"]);
    let mut tail = cogo.command(&["bus", "tail", "--messages"]);
    let mut tail = Started(tail.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(tail.0.stdout.take().unwrap()).lines();
    eventually("the worker is ready", || cogo.json(&["workers", "list"])[0]["state"] == "ready")
        .await;

    let said = cogo.run(&["bus", "send", "cogo/probe/0", "{\"text\": \"hello\"}", "--wait"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    insta::assert_snapshot!(plain(&said.err), @r"
    published message 1 on cogo/probe/0
    trace TRACE; see it with `cogo trace 1`
    ");
    insta::assert_snapshot!(plain(&said.out), @r"
    message 1 is done after TIME, 1 attempt
    hello
    ");

    let mut seen = String::new();
    while !(seen.contains("probe_done") && seen.contains("done after")) {
        seen.push_str(&lines.next().expect("tail goes on").unwrap());
        seen.push('\n');
    }
    assert!(seen.contains("#1  cogo/probe/0  published"), "{seen}");
    assert!(seen.contains("{\"text\":\"hello\"}"), "{seen}");

    let trace = cogo.run(&["trace", "1"]);
    let page = plain(&trace.out);
    for line in
        ["message state tries wait work 0 TIME", "1 cogo/probe/0 done 1 TIME TIME", "probe_done #1"]
    {
        assert!(page.contains(line), "{line}\n{page}");
    }
    let trace = cogo.json(&["trace", "1"]);
    assert_eq!(trace["messages"][0]["status"], "done");
    assert_eq!(trace["events"][0]["event_type"], "probe_done");
}

#[tokio::test]
async fn whoever_waits_for_a_message_that_fails_is_told_why() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    let _worker = cogo.start(&["run", "probe"]);
    let said = cogo.run(&["bus", "send", "cogo/probe/0", "{\"txt\": 1}", "--wait"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("message 1 is failed"), "{}", said.out);
    assert!(said.out.contains("missing field `text`"), "{}", said.out);
    let letters = cogo.json(&["bus", "dlq", "list"]);
    assert_eq!(letters[0]["reason"], "payload_invalid");
}

#[tokio::test]
async fn a_worker_drains_when_it_is_asked_to() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    let mut worker = cogo.start(&["run", "probe", "--holder-id", "probe-1"]);
    eventually("the worker is ready", || cogo.json(&["workers", "list"])[0]["state"] == "ready")
        .await;
    let wrong = cogo.run(&["workers", "drain", "probe-2"]);
    assert!(wrong.err.contains("did you mean probe-1?"), "{}", wrong.err);
    assert_eq!(cogo.run(&["workers", "drain", "probe-1"]).code, Some(0));
    eventually("the worker leaves", || worker.0.try_wait().unwrap().is_some()).await;
    assert_eq!(worker.0.wait().unwrap().code(), Some(0));
    assert_eq!(cogo.json(&["workers", "list"]), serde_json::json!([]));
    assert_eq!(cogo.json(&["workers", "list", "--all"])[0]["state"], "gone");
}
