use reqwest::Method;
use serde_json::json;

use crate::fixture::{Hall, SECRET_KEY, settings, told};

#[tokio::test]
async fn a_message_is_shown_with_where_it_stands() {
    let hall = Hall::new().await;
    let body = json!({
        "service": "codegen", "role": "generate", "shard": 2, "tenant": "acme", "priority": 5,
        "payload": { "n": 12_345_678_901_234_567_u64 }, "delay_ms": 60_000, "ttl_ms": 120_000,
        "ordering_key": "k", "max_attempts": 2, "project_id": "5e1f0000-0000-4000-8000-000000000000",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    });
    let (status, made) = hall.core.post("/v1/messages", SECRET_KEY, &body).await;
    assert_eq!(status, 202, "{made}");
    assert_eq!(made["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let (status, seen) = hall.core.get(&format!("/v1/messages/{}", made["id"]), SECRET_KEY).await;
    assert_eq!(status, 200);
    for (field, value) in [
        ("route", json!("codegen/generate/2")),
        ("tenant", json!("acme")),
        ("status", json!("queued")),
        ("priority", json!(5)),
        ("max_attempts", json!(2)),
        ("ordering_key", json!("k")),
        ("project_id", json!("5e1f0000-0000-4000-8000-000000000000")),
        ("payload", json!({ "n": 12_345_678_901_234_567_u64 })),
        ("worked_ms", json!(null)),
    ] {
        assert_eq!(seen[field], value, "{field}");
    }
    assert!(seen["retry_at"].is_string() && seen["expires_at"].is_string(), "{seen}");
}

#[tokio::test]
async fn a_message_is_cancelled_and_replayed() {
    let hall = Hall::new().await;
    let (id, trace) = hall.message("default").await;
    let path = format!("/v1/messages/{id}");
    let replay = format!("{path}/replay");
    let (status, refused) = hall.core.post(&replay, SECRET_KEY, &json!({})).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (409, Some("not_now")));
    for outcome in ["cancelled", "cancelled"] {
        let (status, done) =
            hall.core.post(&format!("{path}/cancel"), SECRET_KEY, &json!({})).await;
        assert_eq!((status, done["outcome"].as_str()), (200, Some(outcome)));
    }
    let (status, copy) = hall.core.post(&replay, SECRET_KEY, &json!({})).await;
    assert_eq!((status, &copy["replay_of"]), (200, &json!(id)), "{copy}");

    let (_, seen) = hall.core.get(&format!("/v1/traces/{trace}"), SECRET_KEY).await;
    assert_eq!((&seen["over"], &seen["truncated"]), (&json!(false), &json!(false)));
    let (_, done) =
        hall.core.post(&format!("/v1/traces/{trace}/cancel"), SECRET_KEY, &json!({})).await;
    assert_eq!((&done["cancelled"], &done["asked"]), (&json!(1), &json!(0)));
    let (_, seen) = hall.core.get(&format!("/v1/traces/{trace}"), SECRET_KEY).await;
    assert_eq!(seen["over"], true);
    assert!(seen["duration_ms"].as_f64().unwrap() >= 0.0);
    let ids: Vec<i64> = seen["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, [id, copy["id"].as_i64().unwrap()]);
    for message in seen["messages"].as_array().unwrap() {
        assert!(message["waited_ms"].as_f64().unwrap() >= 0.0 && message.get("payload").is_none());
    }
}

#[tokio::test]
async fn probes_and_metrics_say_how_it_is() {
    let mut hall = Hall::undecided(|settings| settings.http.metrics_port = None).await;
    assert_eq!(hall.core.get("/healthz", "nobody").await.0, 200);
    assert_eq!(hall.core.get("/readyz", "nobody").await.0, 200);
    hall.core.intent("hello", json!({})).await;
    assert_eq!(hall.core.get("/nowhere", "nobody").await.0, 404);
    let response = hall.core.send(Method::GET, "/metrics", Some(SECRET_KEY), None).await;
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = response.text().await.unwrap();
    for line in [
        "agent_core_requests_total{operation=\"publish_intent\",status=\"2xx\"} 1",
        "agent_core_requests_total{operation=\"none\",status=\"4xx\"} 1",
        "agent_core_undecided_intents 1",
        "agent_core_event_streams 0",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    hall.core.stop.cancel();
    hall.core.ends().await;
}

#[tokio::test]
async fn it_is_not_ready_while_the_database_is_away_or_lacks_migrations() {
    let test = testkit::database().await;
    let sql = test.client().await;
    sql.batch_execute("delete from supabase_migrations.schema_migrations where version = (select max(version) from supabase_migrations.schema_migrations)").await.unwrap();
    let core = crate::fixture::Core::start(settings(&test)).await;
    let (status, told) = told(core.send(Method::GET, "/readyz", None, None).await).await;
    assert_eq!((status, told["error"]["code"].as_str()), (503, Some("not_ready")));
    assert!(told["error"]["help"].as_str().unwrap().contains("cogo db migrate"));

    let mut away = settings(&test);
    away.db = db::DbSettings::at("postgres://nobody@127.0.0.1:1/nowhere");
    let core = crate::fixture::Core::start(away).await;
    let told = crate::fixture::told(core.send(Method::GET, "/readyz", None, None).await).await;
    assert_eq!(told.0, 503, "{}", told.1);
    assert_eq!(core.get("/healthz", "nobody").await.0, 200);
    let (status, said) = core.get("/v1/messages/1", SECRET_KEY).await;
    assert_eq!((status, said["error"]["code"].as_str()), (503, Some("database_unavailable")));
}
