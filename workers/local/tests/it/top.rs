use serde_json::json;
use testkit::Supabase;

use crate::running::{Cogo, plain};

#[tokio::test(flavor = "multi_thread")]
async fn one_look_is_printed_for_scripts_also_without_a_connection() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    let said = cogo.run(&["top", "--once"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for none in ["no route has ever", "no worker is alive", "no release is recorded"] {
        assert!(said.out.contains(none), "{}", said.out);
    }
    for arguments in [&["a/b/0"][..], &["a/b/0", "{}", "--delay", "1h"], &["a/c/0"]] {
        cogo.run(&[&["bus", "send"], arguments].concat());
    }
    cogo.run(&["bus", "pause", "a/c"]);
    cogo.run(&["images", "record", "cogo-codegen-worker", "v1.0.0"]);
    let worker = json!({ "id": "w1", "agent_name": "tester", "service": "a", "role": "b",
        "state": "ready", "slots": 4, "busy": 1, "version": "1.2.3" });
    let client = db.client().await;
    client.batch_execute(&format!("select public.bus_beat('{worker}')")).await.unwrap();

    let supabase = Supabase::start(&db).await;
    for cogo in [cogo, Cogo::over(&supabase)] {
        let told = plain(&cogo.run(&["top", "--once", "--window", "1h"]).out);
        for line in ["a/b/0 1 1 0", "a/c/0 paused 1 0 0", "w1 a/b ready 1/4", "v1.0.0 recorded"] {
            assert!(told.contains(line), "{line} in\n{told}");
        }
        let look = cogo.json(&["top", "--once", "--window", "1h"]);
        let route = &look["routes"][0];
        assert_eq!(
            (&route["ready"], &route["later"], &route["published"]),
            (&json!(1), &json!(1), &json!(2))
        );
        assert_eq!(
            (&look["published_s"], &look["routes"][1]["paused"]),
            (&json!(3600.0), &json!(true))
        );
        assert_eq!(look["workers"][0]["id"], "w1");
        assert_eq!(look["rollouts"][0]["tag"], "v1.0.0");
    }
}

#[test]
fn where_it_cannot_be_seen_it_says_what_to_do_instead() {
    let cogo = Cogo::at_url("postgres://cogo:hunter2@127.0.0.1:1/x");
    for (arguments, code, says) in [
        // What the test reads is no terminal.
        (&[][..], 2, "--once prints what it sees"),
        (&["--output", "json"], 2, "add --once"),
        (&["--window", "1ms", "--once"], 2, "between 100 ms and an hour"),
        (&["--every", "often"], 2, "often"),
        (&["--once"], 1, "could not reach the database"),
    ] {
        let said = cogo.run(&[&["top"], arguments].concat());
        assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{arguments:?}: {}", said.err);
        let told = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(says), "{arguments:?}: {}", said.err);
        assert!(!told.contains("hunter2"), "{told}");
    }
}
