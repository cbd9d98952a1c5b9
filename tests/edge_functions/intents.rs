use serde_json::json;

use crate::fixture::{Project, TRACE, refused, told};

#[tokio::test]
async fn an_intent_becomes_one_message_however_often_it_is_sent_with_its_key() {
    let on = Project::start().await;
    let user = on.user("acme");
    let body = json!({ "intent": "hello", "payload": { "template": "rust", "n": 1.5 },
        "idempotency_key": "k1", "priority": 3 });
    let (status, first) = told(on.post("intents", &user, &body)).await;
    assert_eq!((status, &first["attached"]), (202, &json!(false)), "{first}\n{}", on.log());
    let (status, again) = told(on.post("intents", &user, &body)).await;
    assert_eq!((status, &again["attached"]), (202, &json!(true)));
    assert_eq!((&again["id"], &again["trace_id"]), (&first["id"], &first["trace_id"]));
    let as_header = json!({ "intent": "hello" });
    let request = on.post("intents", &user, &as_header).header("idempotency-key", "k1");
    assert_eq!(told(request).await.1["id"], first["id"]);

    let message = on.value("select jsonb_agg(to_jsonb(m)) from public.agent_messages as m").await;
    assert_eq!(message.as_array().unwrap().len(), 1);
    let message = &message[0];
    assert_eq!(
        json!([
            message["service"],
            message["role"],
            message["tenant"],
            message["priority"],
            message["trace_id"]
        ]),
        json!(["orchestrator", "intent", "acme", 3, first["trace_id"]])
    );
    assert_eq!(
        message["payload"],
        json!({ "intent": "hello", "payload": { "template": "rust", "n": 1.5 } })
    );
}

#[tokio::test]
async fn what_comes_with_a_trace_context_belongs_to_that_trace() {
    let on = Project::start().await;
    let body = json!({ "intent": "hello" });
    let context = format!("00-{TRACE}-0123456789abcdef-01");
    let request = on.post("intents", &on.user("acme"), &body).header("traceparent", &context);
    assert_eq!(told(request).await.1["trace_id"], json!(TRACE));
    // Somebody else's proxy wrote nonsense, which is no fault of the caller.
    for wrong in ["hello", &format!("00-{}-0123456789abcdef-01", "0".repeat(32))] {
        let request = on.post("intents", &on.user("acme"), &body).header("traceparent", wrong);
        let (status, accepted) = told(request).await;
        assert_eq!(status, 202, "{wrong}: {accepted}");
        assert_ne!(accepted["trace_id"], json!(TRACE));
    }
}

#[tokio::test]
async fn a_user_acts_for_one_tenant_and_a_server_for_any() {
    let on = Project::start().await;
    let ask = |token: &str, tenant: Option<&str>| {
        on.post("intents", token, &json!({ "intent": "hello", "tenant": tenant.unwrap_or("acme") }))
    };
    assert_eq!(told(ask(&on.user("acme"), None)).await.0, 202);
    let nested = json!({ "role": "authenticated", "app_metadata": { "tenant": "acme" } });
    assert_eq!(told(ask(&on.token(&nested), None)).await.0, 202);
    assert_eq!(told(ask(&on.server(), Some("other"))).await.0, 202);
    let (status, code) = refused(ask(&on.user("acme"), Some("other"))).await;
    assert_eq!((status, code.as_str()), (403, "tenant_forbidden"));
    let nobody = on.token(&json!({ "role": "authenticated" }));
    let (status, code) = refused(ask(&nobody, None)).await;
    assert_eq!((status, code.as_str()), (403, "tenant_missing"));
    let tenants = on.value("select jsonb_agg(tenant order by id) from public.agent_messages").await;
    assert_eq!(tenants, json!(["acme", "acme", "other"]));
}

#[tokio::test]
async fn whose_token_is_not_ours_gets_nothing_whoever_checks_it() {
    // Checked in the function, and by PostgREST, which is asked where the function has no secret.
    for settings in [&[][..], &[("SUPABASE_JWT_SECRET", "")][..]] {
        let on = Project::with(settings).await;
        let user = on.user("acme");
        let (header, rest) = user.split_once('.').unwrap();
        let (body, signature) = rest.split_once('.').unwrap();
        let server = on.server();
        let (_, other) = server.split_once('.').unwrap();
        let (other, _) = other.split_once('.').unwrap();
        let none = "eyJhbGciOiJub25lIn0"; // {"alg":"none"}
        for (what, token) in [
            ("expired", on.token(&json!({ "role": "authenticated", "tenant": "acme", "exp": 1 }))),
            ("anonymous", on.token(&json!({ "role": "anon" }))),
            ("without a role", on.token(&json!({ "tenant": "acme" }))),
            ("another body", format!("{header}.{other}.{signature}")),
            ("no signature", format!("{header}.{body}.")),
            ("no algorithm", format!("{none}.{body}.")),
            ("no token", "sb_secret_guessed".to_owned()),
        ] {
            let request = on.post("intents", &token, &json!({ "intent": "hello" }));
            let told = refused(request).await;
            assert_eq!(told, (401, "unauthenticated".into()), "{what}");
        }
        let without = on.http.post(format!("{}/intents", on.functions));
        assert_eq!(refused(without.json(&json!({ "intent": "hello" }))).await.0, 401);
        assert_eq!(on.value("select count(*) from public.agent_messages").await, json!(0));
        let right = on.post("intents", &user, &json!({ "intent": "hello" }));
        assert_eq!(told(right).await.0, 202, "{}", on.log());
    }
}

#[tokio::test]
async fn what_is_not_an_intent_is_refused_and_says_why() {
    let on = Project::start().await;
    let user = on.user("acme");
    for (body, status, said) in [
        (json!({ "intent": "hello", "payloda": {} }), 400, "did you mean `payload`?"),
        (json!({ "payload": {} }), 400, "`intent`"),
        (json!({ "intent": "" }), 400, "`intent`"),
        (json!({ "intent": "a\nb" }), 400, "`intent`"),
        (json!({ "intent": "x", "payload": [] }), 400, "`payload`"),
        (json!({ "intent": "x", "priority": 40_000 }), 400, "`priority`"),
        (json!({ "intent": "x", "project_id": "7" }), 400, "`project_id`"),
        (json!({ "intent": "x", "tenant": "no spaces" }), 400, "`tenant`"),
        (json!({ "intent": "x", "idempotency_key": "k".repeat(256) }), 400, "`idempotency_key`"),
        (json!({ "intent": "x", "payload": { "a": "\u{0}" } }), 400, "Unicode"),
        (json!({ "intent": "x", "payload": { "a": "x".repeat(1024 * 1024) } }), 413, "1048576"),
    ] {
        let (got, answer) = told(on.post("intents", &user, &body)).await;
        let text = answer.to_string();
        assert_eq!(got, status, "{text}");
        assert!(text.contains(said), "{text}");
    }
    let both = json!({ "intent": "x", "idempotency_key": "a" });
    let request = on.post("intents", &user, &both).header("idempotency-key", "b");
    assert_eq!(refused(request).await.0, 400);
    for (body, kind, status) in [("{", "application/json", 400), ("{}", "text/plain", 415)] {
        let request = on.http.post(format!("{}/intents", on.functions)).bearer_auth(&user);
        let request = request.header("content-type", kind).body(body);
        assert_eq!(refused(request).await.0, status, "{body}");
    }
    assert_eq!(refused(on.get("intents", &user)).await.0, 405);
    assert_eq!(on.value("select count(*) from public.agent_messages").await, json!(0));
}

#[tokio::test]
async fn a_tenant_that_asks_for_more_than_is_decided_has_to_wait() {
    let on = Project::with(&[("COGO_MAX_UNDECIDED_INTENTS", "2")]).await;
    let ask = |tenant: &str| on.post("intents", &on.user(tenant), &json!({ "intent": "hello" }));
    for _ in 0..2 {
        assert_eq!(told(ask("a")).await.0, 202);
    }
    let answer = ask("a").send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(told(ask("b")).await.0, 202, "it is not the others' fault");
}

#[tokio::test]
async fn without_a_database_the_answer_says_so_at_once() {
    let mut on = Project::start().await;
    let user = on.user("acme");
    on.rest = None;
    let body = json!({ "intent": "hello" });
    let (status, code) = refused(on.post("intents", &user, &body)).await;
    assert_eq!((status, code.as_str()), (503, "database_failed"));
}
