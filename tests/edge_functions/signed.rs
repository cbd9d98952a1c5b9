//! Webhooks: no token, but a body that is signed.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::RequestBuilder;
use serde_json::json;
use sha2::Sha256;
use time::OffsetDateTime;

use crate::fixture::{Project, WEBHOOK_SECRET, refused, told};

fn signature(secret: &str, age_s: i64, body: &str) -> String {
    let time = OffsetDateTime::now_utc().unix_timestamp() - age_s;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    format!("t={time},v1={}", hex::encode(mac.finalize().into_bytes()))
}

fn webhook(on: &Project, signature: &str, body: &str) -> RequestBuilder {
    let request = on.http.post(format!("{}/intents", on.functions));
    let request = request.header("content-type", "application/json");
    request.header("x-cogo-signature", signature).body(body.to_owned())
}

const BODY: &str = r#"{"intent":"hello","tenant":"acme"}"#;

#[tokio::test]
async fn a_signed_request_is_taken_once() {
    let on = Project::start().await;
    let right = signature(WEBHOOK_SECRET, 0, BODY);
    let (status, first) = told(webhook(&on, &right, BODY)).await;
    assert_eq!((status, &first["attached"]), (202, &json!(false)), "{first}\n{}", on.log());
    let (status, code) = refused(webhook(&on, &right, BODY)).await;
    assert_eq!((status, code.as_str()), (409, "signature_replayed"));
    // However it is written down.
    let shouted = right.to_uppercase().replace("T=", "t=").replace("V1=", "v1=");
    assert_eq!(refused(webhook(&on, &shouted, BODY)).await.0, 409);
    // Neither does a header that nobody signed make it another request.
    let request = webhook(&on, &right, BODY).header("idempotency-key", "new");
    assert_eq!(refused(request).await.0, 400);
    let messages = on.value("select jsonb_agg(tenant) from public.agent_messages").await;
    assert_eq!(messages, json!(["acme"]));
}

#[tokio::test]
async fn a_signed_request_with_a_key_of_its_own_may_be_sent_again() {
    let on = Project::start().await;
    let body = r#"{"intent":"hello","idempotency_key":"delivery-7"}"#;
    let first = told(webhook(&on, &signature(WEBHOOK_SECRET, 0, body), body)).await.1;
    let (status, again) = told(webhook(&on, &signature(WEBHOOK_SECRET, 1, body), body)).await;
    assert_eq!((status, &again["attached"], &again["id"]), (202, &json!(true), &first["id"]));
}

#[tokio::test]
async fn what_is_signed_wrongly_too_early_or_too_late_is_refused() {
    let on = Project::start().await;
    let right = signature(WEBHOOK_SECRET, 0, BODY);
    for (what, signature, body) in [
        ("another secret", signature("another", 0, BODY), BODY),
        ("old", signature(WEBHOOK_SECRET, 310, BODY), BODY),
        ("of the future", signature(WEBHOOK_SECRET, -310, BODY), BODY),
        ("another body", right.clone(), r#"{"intent":"hello","tenant":"other"}"#),
        ("another time", right.replacen("t=", "t=1", 1), BODY),
        ("nothing", String::new(), BODY),
        ("nonsense", "hello".to_owned(), BODY),
    ] {
        assert_eq!(refused(webhook(&on, &signature, body)).await.0, 401, "{what}");
    }
    // A token does not make up for it.
    let request = webhook(&on, &signature("another", 0, BODY), BODY).bearer_auth(on.user("acme"));
    assert_eq!(refused(request).await.0, 401);
    assert_eq!(on.value("select count(*) from public.agent_messages").await, json!(0));
}

#[tokio::test]
async fn without_a_secret_nothing_counts_as_signed() {
    let on = Project::with(&[("COGO_INTENTS_SECRET", "")]).await;
    for secret in ["", WEBHOOK_SECRET] {
        assert_eq!(refused(webhook(&on, &signature(secret, 0, BODY), BODY)).await.0, 401);
    }
}
