use artifacts::About;
use serde_json::{Value, json};

use crate::hall::Hall;

#[tokio::test]
async fn a_template_becomes_an_artifact_and_the_next_message_under_the_same_trace() {
    let hall = Hall::new().await;
    let mut working = hall.start(&[]);
    let assignment = json!({ "agent_id": "cogo-codegen-generate", "ttl_ms": 60_000 });
    let build = json!({ "commands": [["make", "test"]] });
    let id = hall
        .ask(json!({
            "executor": "template", "template": "hello", "params": { "name": "demo" },
            "build": build, "__assignment": assignment,
        }))
        .await;
    let made = hall.made(id).await;
    assert_eq!(made.keys().collect::<Vec<_>>(), ["Makefile", "hello.sh", "test.sh"]);
    assert!(made["hello.sh"].contains("or demo."), "{}", made["hello.sh"]);

    let digest = hall.digest(id).await;
    let next = format!(
        "select jsonb_build_object('route', service || '/' || role || '/' || shard, 'tenant', tenant, 'payload', payload,
            'same_trace', trace_id = (select trace_id from public.agent_messages where id = {id}))
        from public.agent_messages where parent_id = {id}"
    );
    let next: Value = serde_json::from_str(&hall.text(&next).await.unwrap()).unwrap();
    assert_eq!(next["route"], "code/build-test/0");
    assert_eq!((&next["same_trace"], &next["tenant"]), (&json!(true), &json!("default")));
    assert_eq!(next["payload"]["source"], json!({ "artifact": digest.to_string() }));
    assert_eq!(next["payload"]["build"], build);
    assert_eq!(next["payload"]["__assignment"]["agent_id"], "cogo-codegen-generate");

    let manifest = hall.store.manifest(&digest).await.unwrap().unwrap();
    let trace =
        hall.text(&format!("select trace_id from public.agent_messages where id = {id}")).await;
    let about = [
        ("executor", "template".to_owned()),
        ("message", id.to_string()),
        ("template", "hello".to_owned()),
        ("trace", trace.unwrap()),
    ];
    assert_eq!(manifest.about, About::from(about.map(|(name, value)| (name.to_owned(), value))));

    let result = format!(
        "select result_snippet || ' ' || result_url from public.agent_messages where id = {id}"
    );
    let result = hall.text(&result).await.unwrap();
    assert!(result.starts_with(&format!("3 files by hello, {digest} file:///")), "{result}");
    let events = hall.events(id).await;
    let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["codegen_started", "codegen_done"]);
    assert_eq!(events[1].1["usage"], json!({ "cost_usd": 0.0, "tokens": 0 }));
    let agents = "select count(*) from public.bus_events where agent_id = 'cogo-codegen-generate'";
    assert_eq!(hall.text(agents).await.unwrap(), "2");
    working.stops().await;
    hall.assert_swept();
}

#[tokio::test]
async fn the_same_question_has_the_same_artifact() {
    let hall = Hall::new().await;
    let mut working = hall.start(&[]);
    for set in ["hello", "rust", "python", "typescript"] {
        let payload = json!({ "executor": "template", "template": set });
        let (one, other) = (hall.ask(payload.clone()).await, hall.ask(payload).await);
        assert_eq!(hall.digest(one).await, hall.digest(other).await, "{set}");
    }
    working.stops().await;
}

#[tokio::test]
async fn what_cannot_be_made_fails_at_once_and_says_why() {
    let hall = Hall::new().await;
    let mut working = hall.start(&[]);
    for (payload, said) in [
        (
            json!({ "executor": "template", "template": "rust", "params": { "name": "Not A Name" } }),
            r#"payload_invalid, 1, params.name: "Not A Name" does not match "^[a-z][a-z0-9_]{0,39}$""#,
        ),
        (
            json!({ "executor": "template", "template": "rust", "params": { "tops": 3 } }),
            "payload_invalid, 1, params: Additional properties are not allowed ('tops' was unexpected)",
        ),
        (
            json!({ "executor": "template", "template": "pyhton" }),
            "payload_invalid, 1, there is no template set `pyhton` (there are hello, python, rust, typescript); did you mean `python`?",
        ),
        (
            json!({ "executor": "template" }),
            "payload_invalid, 1, `template` must name a template set",
        ),
        (
            json!({ "executor": "template", "template": "rust", "prompt": "x" }),
            "payload_invalid, 1, `prompt` and `context` are for commands; a template takes `params`",
        ),
        (
            json!({ "executor": "templat", "template": "rust" }),
            "payload_invalid, 1, there is no executor `templat` here (there are template); did you mean `template`?",
        ),
    ] {
        let id = hall.ask(payload).await;
        assert_eq!(hall.letter(id).await, said);
        let events = hall.events(id).await;
        let (_, failed) = events.iter().find(|(kind, _)| kind == "codegen_failed").unwrap();
        assert_eq!(failed["retried"], false);
        let reason = format!(
            "select reason from public.bus_events where event_type = 'codegen_failed' and message_id = {id}"
        );
        assert_eq!(hall.text(&reason).await.unwrap(), "payload_invalid");
    }
    assert_eq!(
        hall.text("select count(*) from public.agent_messages where service = 'code'")
            .await
            .unwrap(),
        "0"
    );
    working.stops().await;
    hall.assert_swept();
}

#[tokio::test]
async fn a_message_older_than_its_assignment_allows_is_not_even_begun() {
    let hall = Hall::new().await;
    let asked =
        json!({ "executor": "template", "template": "hello", "__assignment": { "ttl_ms": 1000 } });
    let id = hall.ask(asked).await;
    hall.test.advance(std::time::Duration::from_secs(2)).await;
    let mut working = hall.start(&[]);
    let said = hall.letter(id).await;
    assert_eq!(said, "ttl_exceeded, 1, the time that the assignment gives (ttl_ms) is over");
    working.stops().await;
}

#[tokio::test]
async fn a_store_that_is_away_is_tried_again() {
    let hall = Hall::new().await;
    let mut working = hall.start(&[]);
    let warm = hall.ask(json!({ "executor": "template", "template": "hello" })).await;
    hall.until_status(warm, "done").await;
    // A file where the folder of blobs should be: not even root can write below it.
    std::fs::remove_dir_all(hall.path("store")).unwrap();
    std::fs::write(hall.path("store"), "").unwrap();
    let id = hall.ask(json!({ "executor": "template", "template": "rust" })).await;
    let said = hall.letter(id).await;
    assert!(said.starts_with("attempts_exhausted, 3, store_unavailable: could not "), "{said}");
    working.stops().await;
    hall.assert_swept();
}
