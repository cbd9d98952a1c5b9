//! Every operation of the OpenAPI document × everybody. A new operation is tried without a word
//! here, unless it takes a body, of which this has to be told an example.

use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{
    Hall, OTHER_KEY, SECRET_KEY, claims, in_seconds, is_error, signed, signed_with, user, with,
    without,
};

/// What is open to everybody, and nothing else.
const OPEN: [&str; 3] = ["healthz", "openapi", "readyz"];
/// What no user may do, whatever the tenant.
const SERVERS_ONLY: [&str; 7] = [
    "list_agents",
    "list_images",
    "metrics",
    "promote_image",
    "record_image",
    "rollback_image",
    "show_release",
];
const RELEASE: &str = "00000000-0000-0000-0000-0000000000a1";

struct Operation {
    id: String,
    method: Method,
    path: String,
    /// Names something of tenant `a`, in its path or its body.
    names: bool,
    body: Option<Value>,
    secured: bool,
}

fn operations(message: i64, trace: &str) -> Vec<Operation> {
    let document: Value = serde_json::from_str(&agent_core::openapi_json()).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let body = schema["$ref"].as_str().map(|name| match name.rsplit('/').next().unwrap() {
                "NewIntent" => {
                    json!({ "intent": "hello", "tenant": "a", "payload": { "template": "rust" } })
                }
                "MessageRequest" => json!({ "service": "open", "role": "stage", "tenant": "a" }),
                "TagRequest" => json!({ "tag": "v0.0.3", "canary": { "tenant": "a" } }),
                "PromoteRequest" => json!({ "tag": "v0.0.2" }),
                "RollbackRequest" => json!({}),
                new => panic!("say here what a body of {new} looks like for tenant a"),
            });
            let filled = path.replace("{id}", &message.to_string()).replace("{trace_id}", trace);
            let filled =
                filled.replace("{agent}", "cogo-codegen-worker").replace("{release}", RELEASE);
            assert!(!filled.contains('{'), "say here what to put into {path}");
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase().parse().unwrap(),
                names: filled != *path || body.is_some(),
                path: filled,
                body,
                secured: operation["security"].as_array().is_some_and(|ways| !ways.is_empty()),
            });
        }
    }
    assert!(operations.len() >= 13, "they were not found");
    operations
}

/// A message of tenant `a` that has ended, so that everything can be done with it again and again.
async fn ended(hall: &Hall) -> (i64, String) {
    let (id, trace) = hall.message("a").await;
    hall.run(&format!("select public.bus_cancel({id})")).await;
    // Two releases that have run, so that one can go back again and again.
    hall.run(&format!(
        "insert into public.image_tag_history (id, agent_id, tag, digest)
        select ('00000000-0000-0000-0000-0000000000a' || n)::uuid, id, 'v0.0.' || n, 'sha256:' || repeat(n::text, 64)
        from public.agent_catalog, generate_series(1, 2) as n where agent_name = 'cogo-codegen-worker';
        update public.image_tag_history set phase = case id when '{RELEASE}' then 'retired' else 'active' end,
            finished_at = now();
        update public.agent_catalog set active_release_id = '00000000-0000-0000-0000-0000000000a2'
        where agent_name = 'cogo-codegen-worker'"
    ))
    .await;
    (id, trace)
}

async fn tried(hall: &Hall, operation: &Operation, header: Option<(&str, &str)>) -> u16 {
    let mut request =
        hall.core.http.request(operation.method.clone(), hall.core.url(&operation.path));
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    if let Some(body) = &operation.body {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    // An event stream that began does not end.
    if status >= 400 {
        let body: Value = response.json().await.unwrap();
        assert!(is_error(&body), "{}: {body}", operation.id);
    }
    status
}

/// Tokens that say who they are, and are not believed.
fn refused() -> Vec<(&'static str, String)> {
    let server = json!({ "role": "service_role", "exp": in_seconds(600) });
    let part = |value: &Value| {
        let text = serde_json::to_vec(value).unwrap();
        base64(&text)
    };
    let unsigned = |algorithm: &str| {
        format!("{}.{}.", part(&json!({ "alg": algorithm, "typ": "JWT" })), part(&server))
    };
    let hs256 = user("a");
    let (unsigned_part, _) = hs256.rsplit_once('.').unwrap();
    let mut tampered: Vec<&str> = hs256.split('.').collect();
    let more = part(&with(claims("a"), "role", json!("service_role")));
    tampered[1] = &more;
    vec![
        ("garbage", "Bearer garbage".into()),
        ("dots", "Bearer a.b.c".into()),
        ("nothing", "Bearer ".into()),
        ("no scheme", SECRET_KEY.into()),
        ("basic", "Basic YTpi".into()),
        ("near the key", format!("Bearer {SECRET_KEY}x")),
        ("part of the key", format!("Bearer {}", &SECRET_KEY[..20])),
        (
            "expired",
            format!("Bearer {}", signed(&with(claims("a"), "exp", json!(in_seconds(-60))))),
        ),
        (
            "expired server",
            format!("Bearer {}", signed(&with(server.clone(), "exp", json!(in_seconds(-60))))),
        ),
        ("not yet", format!("Bearer {}", signed(&with(claims("a"), "nbf", json!(in_seconds(60)))))),
        ("no expiry", format!("Bearer {}", signed(&without(claims("a"), "exp")))),
        ("no role", format!("Bearer {}", signed(&without(claims("a"), "role")))),
        (
            "other audience",
            format!("Bearer {}", signed(&with(claims("a"), "aud", json!("others")))),
        ),
        ("no audience", format!("Bearer {}", signed(&without(claims("a"), "aud")))),
        (
            "wrong signature",
            format!("Bearer {}", signed_with("another secret, just as long as ours", &claims("a"))),
        ),
        ("no signature", format!("Bearer {unsigned_part}.")),
        ("tampered", format!("Bearer {}", tampered.join("."))),
        ("alg none", format!("Bearer {}", unsigned("none"))),
        ("alg None", format!("Bearer {}", unsigned("None"))),
        ("alg RS256", format!("Bearer {}", unsigned("RS256"))),
        ("alg HS512", format!("Bearer {}", unsigned("HS512"))),
        ("endless", format!("Bearer {}", "a".repeat(5_000))),
    ]
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(DIGITS[(number >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

#[tokio::test]
async fn without_a_right_credential_nothing_is_open_but_what_must_be() {
    let hall = Hall::new().await;
    let (message, trace) = ended(&hall).await;
    let before = hall.number("select count(*) from cogo.agent_messages").await;
    let mut open = Vec::new();
    for operation in operations(message, &trace) {
        assert_eq!(operation.secured, !OPEN.contains(&operation.id.as_str()), "{}", operation.id);
        if !operation.secured {
            assert_eq!(tried(&hall, &operation, None).await, 200, "{}", operation.id);
            assert_eq!(
                tried(&hall, &operation, Some(("authorization", "Bearer garbage"))).await,
                200
            );
            open.push(operation.id);
            continue;
        }
        assert_eq!(tried(&hall, &operation, None).await, 401, "{}", operation.id);
        for (what, value) in refused() {
            let status = tried(&hall, &operation, Some(("authorization", &value))).await;
            assert_eq!(status, 401, "{}: {what}", operation.id);
        }
        for key in ["", "garbage", "sb_secret_of_these_tests_000", &user("a")[..40]] {
            let status = tried(&hall, &operation, Some(("apikey", key))).await;
            assert_eq!(status, 401, "{}: apikey {key}", operation.id);
        }
        for (what, token) in [
            ("anonymous", json!({ "role": "anon", "exp": in_seconds(600) })),
            ("no tenant", without(claims("a"), "app_metadata")),
            ("no real tenant", with(claims("a"), "tenant", json!("a/b"))),
            ("a number as tenant", with(claims("a"), "app_metadata", json!({ "tenant": 5 }))),
            ("another role", with(claims("a"), "role", json!("postgres"))),
        ] {
            let value = format!("Bearer {}", signed(&token));
            let status = tried(&hall, &operation, Some(("authorization", &value))).await;
            assert_eq!(status, 403, "{}: {what}", operation.id);
        }
        assert_eq!(tried(&hall, &operation, Some(("apikey", "sb_publishable_x"))).await, 403);
    }
    open.sort();
    assert_eq!(open, OPEN);
    let after = hall.number("select count(*) from cogo.agent_messages").await;
    assert_eq!(before, after, "somebody who was refused published something");
}

#[tokio::test]
async fn every_right_credential_opens_what_it_should() {
    let hall = Hall::new().await;
    let (message, trace) = ended(&hall).await;
    let server = json!({ "role": "service_role", "exp": in_seconds(600) });
    let bearer = |token: String| ("authorization", format!("Bearer {token}"));
    let top_level = with(without(claims("x"), "app_metadata"), "tenant", json!("a"));
    for operation in operations(message, &trace).iter().filter(|one| one.secured) {
        for (name, value) in [
            bearer(SECRET_KEY.into()),
            bearer(OTHER_KEY.into()),
            ("apikey", SECRET_KEY.into()),
            ("apikey", OTHER_KEY.into()),
            bearer(signed(&server)),
            ("apikey", signed(&server)),
            bearer(signed(&with(server.clone(), "aud", json!("authenticated")))),
        ] {
            let status = tried(&hall, operation, Some((name, &value))).await;
            assert!((200..300).contains(&status), "{}: {name} {status}", operation.id);
        }
        for token in [
            user("a"),
            signed(&top_level),
            signed(&with(claims("a"), "aud", json!(["others", "authenticated"]))),
            signed(&with(claims("a"), "nbf", json!(in_seconds(-5)))),
        ] {
            let status =
                tried(&hall, operation, Some(("authorization", &format!("bearer {token}")))).await;
            if SERVERS_ONLY.contains(&operation.id.as_str()) {
                assert_eq!(status, 403, "{}", operation.id);
            } else {
                assert!((200..300).contains(&status), "{}: {status}", operation.id);
            }
        }
    }
}

#[tokio::test]
async fn another_tenants_things_are_not_told_apart_from_what_does_not_exist() {
    let hall = Hall::new().await;
    let (message, trace) = ended(&hall).await;
    let theirs = ("authorization", format!("Bearer {}", user("b")));
    let before = hall.number("select count(*) from cogo.agent_messages").await;
    let of_tenants =
        |one: &&Operation| one.secured && one.names && !SERVERS_ONLY.contains(&one.id.as_str());
    for operation in operations(message, &trace).iter().filter(of_tenants) {
        let status = tried(&hall, operation, Some((theirs.0, &theirs.1))).await;
        let expected = if operation.body.is_some() { 403 } else { 404 };
        assert_eq!(status, expected, "{}", operation.id);
        if operation.body.is_none() {
            let told = async |path: &str| {
                let request = hall.core.http.request(operation.method.clone(), hall.core.url(path));
                let response = request.header(theirs.0, &theirs.1).send().await.unwrap();
                response.text().await.unwrap()
            };
            let hidden = told(&operation.path).await;
            let (id, other) = (message.to_string(), "f".repeat(32));
            let nothing =
                operation.path.replace(&format!("/{id}"), "/987654321").replace(&trace, &other);
            let nothing = told(&nothing).await;
            let plain = nothing.replace("987654321", &id).replace(&other, &trace);
            assert_eq!(hidden, plain, "{}", operation.id);
        }
    }
    assert_eq!(before, hall.number("select count(*) from cogo.agent_messages").await);
}

#[tokio::test]
async fn a_user_publishes_where_an_operator_allows_it_and_replays_no_more_than_that() {
    let hall = Hall::undecided(|_| {}).await;
    let (_, trace) = hall.message("a").await;
    let me = user("a");
    let to = |service: &str| json!({ "service": service, "role": "stage" });
    assert_eq!(hall.core.post("/v1/messages", &me, &to("open")).await.0, 202);
    let (status, refused) = hall.core.post("/v1/messages", &me, &to("closed")).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (403, Some("stage_closed")));
    let intent =
        json!({ "service": "orchestrator", "role": "intent", "payload": { "intent": "hello" } });
    assert_eq!(hall.core.post("/v1/messages", &me, &intent).await.0, 202);

    let (_, made) = hall
        .core
        .post(
            "/v1/messages",
            SECRET_KEY,
            &json!({ "service": "closed", "role": "stage", "tenant": "a" }),
        )
        .await;
    let path = format!("/v1/messages/{}", made["id"]);
    assert_eq!(hall.core.get(&path, &me).await.1["tenant"], "a");
    let cancel = hall.core.post(&format!("{path}/cancel"), &me, &json!({})).await;
    assert_eq!((cancel.0, &cancel.1["outcome"]), (200, &json!("cancelled")));
    assert_eq!(hall.core.post(&format!("{path}/replay"), &me, &json!({})).await.0, 403);

    // Another tenant's message is no parent, and looks like none.
    let (foreign, _) = hall.message("b").await;
    for parent in [foreign, 987_654] {
        let body = json!({ "service": "open", "role": "stage", "parent_id": parent });
        let (status, refused) = hall.core.post("/v1/messages", &me, &body).await;
        assert_eq!((status, refused["error"]["code"].as_str()), (400, Some("parent_unknown")));
    }

    // Nor does joining another's trace show it, or end it.
    let body = json!({ "service": "open", "role": "stage", "trace_id": trace });
    let they = user("b");
    assert_eq!(hall.core.post("/v1/messages", &they, &body).await.0, 202);
    let (_, seen) = hall.core.get(&format!("/v1/traces/{trace}"), &they).await;
    assert_eq!(seen["messages"].as_array().unwrap().len(), 1);
    let (_, done) = hall.core.post(&format!("/v1/traces/{trace}/cancel"), &they, &json!({})).await;
    assert_eq!((&done["cancelled"], &done["asked"]), (&json!(1), &json!(0)));
    let sql = format!(
        "select count(*) from public.agent_messages where trace_id = '{trace}' and status = 'queued' and tenant = 'a'"
    );
    assert_eq!(hall.number(&sql).await, 1);
    let (_, done) = hall.core.post(&format!("/v1/traces/{trace}/cancel"), &me, &json!({})).await;
    assert_eq!(done["cancelled"], 1);
}
