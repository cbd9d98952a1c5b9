//! Whatever is sent, the answer is no failure of the server's, and says what is wrong.

use rand::RngExt;
use rand::seq::IndexedRandom;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{Hall, SECRET_KEY, is_error, told, user};

#[tokio::test]
async fn bodies_that_make_no_sense_are_explained() {
    let hall = Hall::undecided(|_| {}).await;
    let deep = |open: &str, close: &str| {
        format!(
            "{{\"intent\": \"hello\", \"payload\": {}1{}}}",
            open.repeat(5_000),
            close.repeat(5_000)
        )
    };
    let message = |rest: &str| format!("{{\"service\": \"a\", \"role\": \"b\", {rest}}}");
    let intents = [
        "",
        "{",
        "null",
        "[]",
        "5",
        "\"x\"",
        "{}",
        "\u{0}",
        "{\"intent\": 5}",
        "{\"intent\": \"\"}",
        "{\"intent\": \"a\\u0000b\"}",
        "{\"intent\": \"hello\", \"unknown\": 1}",
        "{\"intent\": \"hello\", \"tenant\": \"a/b\"}",
        "{\"intent\": \"hello\", \"tenant\": 5}",
        "{\"intent\": \"hello\", \"payload\": {\"a\": \"\\u0000\"}}",
        "{\"intent\": \"hello\", \"payload\": {\"a\": \"\\ud800\"}}",
        "{\"intent\": \"hello\", \"payload\": {\"a\": 1e999999}}",
        "{\"intent\": \"hello\", \"payload\": {\"a\": 1e-99999}}",
        "{\"intent\": \"hello\", \"payload\": {\"a\": NaN}}",
    ]
    .map(str::to_owned);
    let messages = [
        "\"shard\": -1", "\"shard\": 99999999999", "\"shard\": 1.5", "\"priority\": 99999", "\"priority\": -32768",
        "\"max_attempts\": 0", "\"max_attempts\": 1001", "\"delay_ms\": -1", "\"delay_ms\": 1e20", "\"ttl_ms\": 0",
        "\"trace_id\": \"00000000000000000000000000000000\"", "\"trace_id\": \"x\"", "\"parent_id\": 0",
        "\"parent_id\": 99999999999999999999", "\"project_id\": \"x\"", "\"ordering_key\": \"\"",
        "\"ordering_key\": \"a\\nb\"", "\"traceparent\": \"00-x\"", "\"retry_at\": \"soon\"",
        "\"retry_at\": \"9999-12-31T23:59:59-23:59\"", "\"retry_at\": \"0000-01-01T00:00:00Z\"",
        "\"retry_at\": \"infinity\"", "\"delay_ms\": 1, \"retry_at\": \"2030-01-01T00:00:00Z\"",
        "\"trace_id\": \"4bf92f3577b34da6a3ce929d0e0e4736\", \"traceparent\": \"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"",
        "\"service\": \"again\"", "\"idempotency_key\": \"not here\"",
    ].map(message);
    let cases = intents
        .into_iter()
        .chain([deep("[", "]"), deep("{\"a\":", "}")])
        .map(|body| ("/v1/intents", body))
        .chain(messages.into_iter().map(|body| ("/v1/messages", body)))
        .chain([("/v1/messages", "{\"service\": \"A\", \"role\": \"b\"}".to_owned())]);
    for (path, body) in cases {
        let request = hall.core.http.post(hall.core.url(path)).bearer_auth(SECRET_KEY);
        let request = request.header("content-type", "application/json").body(body.clone());
        let (status, said) = told(request.send().await.unwrap()).await;
        // The least of numbers is one that Postgres takes.
        if body.contains("-32768") {
            assert!(status < 500, "{said}");
            continue;
        }
        assert_eq!(status, 400, "{path} {}: {said}", &body[..body.len().min(100)]);
        assert!(is_error(&said), "{said}");
    }
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonx"),
    ] {
        let mut request = hall.core.http.post(hall.core.url("/v1/intents")).bearer_auth(SECRET_KEY);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let (status, said) =
            told(request.body("{\"intent\": \"hello\"}").send().await.unwrap()).await;
        assert_eq!((status, is_error(&said)), (415, true), "{kind:?}");
    }
    for key in ["", &"k".repeat(256), "tab\tin it"] {
        let request = hall.core.http.post(hall.core.url("/v1/intents")).bearer_auth(SECRET_KEY);
        let request = request.header("idempotency-key", key).json(&json!({ "intent": "hello" }));
        assert_eq!(told(request.send().await.unwrap()).await.0, 400, "{key}");
    }
}

#[tokio::test]
async fn ids_and_paths_that_make_no_sense_are_nothing() {
    let hall = Hall::new().await;
    for id in [
        "0",
        "-1",
        "x",
        "1.5",
        "+1",
        "007",
        "99999999999999999999999",
        "%00",
        "%ff",
        "1%2F2",
        "%20",
        "%F0%9F%92%A9",
        "null",
    ] {
        for (method, path) in [
            (Method::GET, format!("/v1/messages/{id}")),
            (Method::POST, format!("/v1/messages/{id}/cancel")),
            (Method::POST, format!("/v1/messages/{id}/replay")),
            (Method::GET, format!("/v1/traces/{id}")),
            (Method::GET, format!("/v1/traces/{id}/events")),
            (Method::POST, format!("/v1/traces/{id}/cancel")),
        ] {
            let (status, said) =
                told(hall.core.send(method, &path, Some(SECRET_KEY), None).await).await;
            assert_eq!((status, is_error(&said)), (404, true), "{path}: {said}");
        }
    }
    for (method, path, expected) in [
        (Method::GET, "/", 404),
        (Method::GET, "/v1", 404),
        (Method::GET, "/v1/messages/", 404),
        (Method::DELETE, "/v1/messages/1", 405),
        (Method::GET, "/v1/intents", 405),
        (Method::PUT, "/v1/events", 405),
    ] {
        let (status, said) = told(hall.core.send(method, path, Some(SECRET_KEY), None).await).await;
        assert_eq!((status, is_error(&said)), (expected, true), "{path}: {said}");
    }
    for id in ["x", "-1", "1.5", "99999999999999999999999", "1 2"] {
        let request = hall.core.http.get(hall.core.url("/v1/events")).bearer_auth(SECRET_KEY);
        let answer = request.header("last-event-id", id).send().await.unwrap();
        assert_eq!(told(answer).await.0, 400, "{id}");
    }
}

/// Pieces of right requests, put together by chance.
#[tokio::test]
async fn no_nonsense_makes_the_server_fail() {
    let hall = Hall::undecided(|settings| settings.http.max_undecided_intents = 1_000_000).await;
    let mut rng = rand::rng();
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("hello"),
        json!("a"),
        json!("\u{0}"),
        json!("ü€💩"),
        json!("x".repeat(5_000)),
        json!([]),
        json!([[[]]]),
        json!({}),
        json!({ "a": { "b": [1, null] } }),
        json!("2030-01-01T00:00:00Z"),
        json!("4bf92f3577b34da6a3ce929d0e0e4736"),
        json!("default"),
        json!("orchestrator"),
        json!("intent"),
    ];
    let fields = [
        "intent",
        "tenant",
        "payload",
        "service",
        "role",
        "shard",
        "trace_id",
        "traceparent",
        "parent_id",
        "project_id",
        "ordering_key",
        "priority",
        "max_attempts",
        "delay_ms",
        "retry_at",
        "ttl_ms",
        "__proto__",
    ];
    let tokens = [SECRET_KEY.to_owned(), user("a"), user("ü"), "x.y.z".to_owned()];
    for _ in 0..600 {
        let mut body = if rng.random_bool(0.7) {
            json!({ "service": "open", "role": "stage" })
        } else {
            json!({ "intent": "hello" })
        };
        for _ in 0..rng.random_range(0..4) {
            body[*fields.choose(&mut rng).unwrap()] = values.choose(&mut rng).unwrap().clone();
        }
        let mut text = body.to_string().into_bytes();
        if rng.random_bool(0.2) {
            let place = rng.random_range(0..text.len());
            text[place] = rng.random();
        }
        let path = if body.get("intent").is_some() { "/v1/intents" } else { "/v1/messages" };
        let mut request =
            hall.core.http.post(hall.core.url(path)).header("content-type", "application/json");
        request = request.bearer_auth(tokens.choose(&mut rng).unwrap());
        if rng.random_bool(0.3) {
            let value: Vec<u8> =
                (0..rng.random_range(0..20)).map(|_| rng.random_range(32..=255)).collect();
            if let Ok(value) = reqwest::header::HeaderValue::from_bytes(&value) {
                let name =
                    *["idempotency-key", "last-event-id", "apikey"].choose(&mut rng).unwrap();
                request = request.header(name, value);
            }
        }
        let (status, said): (u16, Value) =
            told(request.body(text.clone()).send().await.unwrap()).await;
        let sent = String::from_utf8_lossy(&text);
        assert!(status < 500, "{path} {sent}: {status} {said}");
        assert!(status < 300 || is_error(&said), "{path} {sent}: {said}");
    }
}
