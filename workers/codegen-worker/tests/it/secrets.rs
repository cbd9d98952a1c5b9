use serde_json::json;

use crate::hall::Hall;

/// Cargo sets this for every test; here it is somebody's key.
const KEY: &str = env!("CARGO_MANIFEST_DIR");

#[tokio::test]
async fn a_secret_that_a_command_shows_is_seen_nowhere() {
    let hall = Hall::new().await;
    let script = "printf '%s' \"$KEY\" | wc -c > length; echo \"key $KEY\"; echo \"err $KEY\" >&2; \
                  printf '{\"say\":\"json %s\"}\\n' \"$KEY\"; test \"$FAIL\" = no || exit 3";
    let agent = |fail: &str| {
        json!({ "command": ["sh", "-c", script],
            "env": { "secrets": { "KEY": "env:CARGO_MANIFEST_DIR" }, "set": { "FAIL": fail } } })
    };
    let file = json!({ "executors": { "good": agent("no"), "bad": agent("yes") } }).to_string();
    let mut working = hall.start(&[hall.executors(&file)]);
    let good = hall.ask(json!({ "executor": "good", "prompt": "x" })).await;
    let made = hall.made(good).await;
    assert_eq!(made["length"].trim(), KEY.len().to_string(), "it must have had the key");
    let bad = hall.ask(json!({ "executor": "bad", "prompt": "x" })).await;
    let said = hall.letter(bad).await;
    assert!(said.contains("err ***"), "{said}");
    for (id, what) in [(good, "json ***"), (bad, "key ***")] {
        let events = format!("{:?}", hall.events(id).await);
        assert!(events.contains(what), "{events}");
    }
    for table in
        ["public.bus_events", "public.agent_messages", "public.agent_messages_dlq", "cogo.receipts"]
    {
        let sql =
            format!("select count(*) from {table} as row where to_jsonb(row)::text like '%{KEY}%'");
        assert_eq!(hall.text(&sql).await.unwrap(), "0", "{table}");
    }
    working.stops().await;
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named_by_its_reference() {
    let hall = Hall::new().await;
    let mut working = hall.start_with(&json!({
        "command": ["true"], "env": { "secrets": { "KEY": "env:COGO_NOBODY_SETS_THIS" } },
    }));
    let id = hall.ask_agent(json!({})).await;
    let said = hall.letter(id).await;
    assert_eq!(
        said,
        "attempts_exhausted, 3, executor_unavailable: env:COGO_NOBODY_SETS_THIS is not set where this worker runs"
    );
    working.stops().await;
}
