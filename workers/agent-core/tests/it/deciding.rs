use serde_json::{Value, json};

use crate::fixture::{Hall, SECRET_KEY};

/// What an intent came to: its status, its events, and what was published next.
async fn decided(hall: &Hall, intent: &str, payload: Value) -> (Value, Value, Option<Value>) {
    let accepted = hall.core.intent(intent, payload).await;
    let id = &accepted["id"];
    hall.until(&format!(
        "select status in ('done', 'failed') from public.agent_messages where id = {id}"
    ))
    .await;
    let trace = accepted["trace_id"].as_str().unwrap();
    let (_, trace) = hall.core.get(&format!("/v1/traces/{trace}"), SECRET_KEY).await;
    let next = trace["messages"].as_array().unwrap().get(1);
    let next = match next {
        Some(next) => {
            assert_eq!(next["route"], "orchestrator/execute/0");
            assert_eq!(next["parent_id"], *id);
            Some(hall.core.get(&format!("/v1/messages/{}", next["id"]), SECRET_KEY).await.1)
        }
        None => None,
    };
    (trace["messages"][0].clone(), trace["events"].clone(), next)
}

fn types(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().map(|one| one["event_type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_known_intent_becomes_an_execution_in_one_settle() {
    let hall = Hall::new().await;
    let payload = json!({ "template": "rust", "params": { "name": "greet" } });
    let (message, events, next) = decided(&hall, "hello", payload).await;
    assert_eq!(message["status"], "done");
    assert_eq!(message["result_snippet"], "to codegen/generate/0");
    assert_eq!(types(&events), ["orchestrate_decision", "orchestrate_enqueued"]);
    assert_eq!(events[0]["payload"]["decision"], "execute");
    assert_eq!(events[0]["reason"], "intent_known");
    assert_eq!(
        next.unwrap()["payload"],
        json!({
            "target": "codegen/generate/0",
            "__assignment": { "budget": { "maxCostUsd": 0.1, "maxTokens": 200_000 }, "ttl_ms": 60_000 },
            "payload": { "executor": "template", "template": "rust", "params": { "name": "greet" } },
        })
    );
}

#[tokio::test]
async fn what_the_intents_of_the_demo_let_through_is_a_generate() {
    let hall = Hall::new().await;
    for (intent, payload) in [
        (
            "hello",
            json!({ "template": "python", "params": {}, "context": { "a.txt": "a" }, "build": { "commands": [["make"]] } }),
        ),
        (
            "generate",
            json!({ "executor": "claude", "prompt": "write it", "context": {}, "build": {} }),
        ),
        (
            "generate",
            json!({ "executor": "template", "template": "rust", "params": { "name": "x" } }),
        ),
    ] {
        let (_, _, next) = decided(&hall, intent, payload).await;
        let payload = &next.unwrap()["payload"]["payload"];
        let read: Result<messages::Generate, _> = serde_json::from_value(payload.clone());
        assert!(read.is_ok(), "{payload}: {read:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_fails_at_once_and_says_why() {
    let hall = Hall::new().await;
    hall.run(
        "insert into public.intents (name, target, enabled) values ('asleep', 'codegen/generate/0', false);
        insert into public.intents (name, target, payload_schema) values ('broken', 'codegen/generate/0', '{\"type\": 5}')",
    )
    .await;
    for (intent, payload, reason, why) in [
        (
            "helo",
            json!({}),
            "intent_unknown",
            "there is no intent `helo`; the nearest known ones are `hello`",
        ),
        ("; drop table", json!({}), "intent_unknown", "there is no intent `; drop table`"),
        ("asleep", json!({}), "intent_disabled", "the intent `asleep` is disabled"),
        ("broken", json!({}), "intent_broken", "its payload_schema is no JSON Schema"),
        ("hello", json!({}), "payload_invalid", "payload: \"template\" is a required property"),
        (
            "hello",
            json!({ "template": 5 }),
            "payload_invalid",
            "payload.template: 5 is not of type \"string\"",
        ),
        (
            "hello",
            json!({ "template": "rust", "context": { "a": 1 } }),
            "payload_invalid",
            "payload.context.a: ",
        ),
        (
            "hello",
            json!({ "template": "rust", "nane": 1 }),
            "payload_invalid",
            "'nane' was unexpected",
        ),
        (
            "hello",
            json!({ "template": "rust", "executor": "claude" }),
            "payload_invalid",
            "payload.executor: ",
        ),
        ("hello", json!("rust"), "payload_invalid", "payload: it must be an object"),
        (
            "hello",
            json!({ "template": "rust", "__assignment": { "ttl": 5 } }),
            "payload_invalid",
            "payload.__assignment: unknown field `ttl`",
        ),
    ] {
        let (message, events, next) = decided(&hall, intent, payload).await;
        assert_eq!(
            (&message["status"], &message["attempts"]),
            (&json!("failed"), &json!(1)),
            "{intent}"
        );
        let error = message["error"].as_str().unwrap();
        assert!(error.contains(why), "{intent}: {error}");
        assert!(next.is_none(), "{intent}");
        assert_eq!(types(&events), ["dead_lettered", "orchestrate_decision"], "{intent}");
        assert_eq!(events[1]["reason"], reason);
        assert_eq!(events[1]["payload"]["decision"], "refuse");
        let sql = format!(
            "select count(*) from public.agent_messages_dlq where orig_id = {} and reason = '{reason}'",
            message["id"]
        );
        assert_eq!(hall.number(&sql).await, 1, "{intent}");
    }
}

#[tokio::test]
async fn a_change_of_the_table_holds_for_the_next_intent() {
    let hall = Hall::new().await;
    let next = |next: Option<Value>| next.unwrap()["payload"].clone();
    hall.run(
        "insert into public.intents (name, target, default_assignment)
        values ('mine', 'mine/stage/3', '{\"model\": \"small\", \"budget\": {\"maxTokens\": 5}}')",
    )
    .await;
    let payload = json!({ "x": [1], "__assignment": { "ttl_ms": 7 } });
    let execute = next(decided(&hall, "mine", payload.clone()).await.2);
    assert_eq!(execute["target"], "mine/stage/3");
    assert_eq!(execute["payload"], json!({ "x": [1] }));
    assert_eq!(
        execute["__assignment"],
        json!({ "model": "small", "budget": { "maxCostUsd": 0.1, "maxTokens": 5 }, "ttl_ms": 7 })
    );

    hall.run("update public.intents set target = 'other/stage/0', payload_schema = '{\"required\": [\"y\"]}' where name = 'mine'").await;
    assert_eq!(decided(&hall, "mine", payload).await.0["status"], "failed");
    let execute = next(decided(&hall, "mine", json!({ "y": 1 })).await.2);
    assert_eq!(execute["target"], "other/stage/0");
}

#[tokio::test]
async fn the_table_refuses_what_could_never_work() {
    let hall = Hall::new().await;
    for values in [
        "('Hello', 'a/b/0', '{}', '{}')",
        "('', 'a/b/0', '{}', '{}')",
        "('x', 'a/b', '{}', '{}')",
        "('x', 'a/b/0/tenant', '{}', '{}')",
        "('x', 'a/b/*', '{}', '{}')",
        "('x', 'a/b/007', '{}', '{}')",
        "('x', 'a/b/0', '[]', '{}')",
        "('x', 'a/b/0', '{}', '5')",
        "('hello', 'a/b/0', '{}', '{}')",
    ] {
        let sql = format!(
            "insert into public.intents (name, target, payload_schema, default_assignment) values {values}"
        );
        assert!(hall.sql.batch_execute(&sql).await.is_err(), "{values}");
    }
}
