use std::collections::BTreeSet;
use std::num::NonZeroU32;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fixture::{Core, Hall, OTHER_KEY, SECRET_KEY, is_error, told, user};

/// So many posts at once, spread over the servers: each one's status and answer.
async fn at_once(
    servers: &[&Core],
    count: usize,
    key: Option<&str>,
    token: &str,
) -> Vec<(u16, Value)> {
    let mut posts = JoinSet::new();
    for number in 0..count {
        let core = servers[number % servers.len()];
        let mut request = core.http.post(core.url("/v1/intents")).bearer_auth(token);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.json(&json!({ "intent": "hello", "payload": {} }));
        posts.spawn(async move { told(request.send().await.unwrap()).await });
    }
    posts.join_all().await
}

#[tokio::test]
async fn a_hundred_posts_with_one_key_make_one_message() {
    let hall = Hall::undecided(|_| {}).await;
    let other = hall.replica(|_| {}).await;
    let answers = at_once(&[&hall.core, &other], 100, Some("one key"), SECRET_KEY).await;
    assert!(answers.iter().all(|(status, _)| *status == 202), "{answers:?}");
    let ids: BTreeSet<i64> = answers.iter().map(|one| one.1["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|one| one.1["attached"] == false).count(), 1);
    assert_eq!(hall.number("select count(*) from cogo.agent_messages").await, 1);
}

#[tokio::test]
async fn a_tenant_has_no_more_undecided_intents_than_it_may_however_they_come() {
    // Below and above the size from which callers take turns.
    for limit in [7, 130] {
        let hall = Hall::undecided(|settings| settings.http.max_undecided_intents = limit).await;
        let other = hall.replica(|settings| settings.http.max_undecided_intents = limit).await;
        let count = usize::try_from(limit).unwrap() + 60;
        let answers = at_once(&[&hall.core, &other], count, None, &user("a")).await;
        let made = answers.iter().filter(|(status, _)| *status == 202).count();
        assert_eq!(made, usize::try_from(limit).unwrap());
        for (status, body) in answers.iter().filter(|(status, _)| *status != 202) {
            assert_eq!(
                (*status, body["error"]["code"].as_str()),
                (429, Some("too_many_undecided"))
            );
        }
        let sql = "select count(*) from cogo.agent_messages where tenant = 'a'";
        assert_eq!(hall.number(sql).await, i64::from(limit));

        // Other tenants have room of their own, and what is decided makes room again.
        assert_eq!(at_once(&[&hall.core], 1, None, &user("b")).await[0].0, 202);
        hall.run("select public.bus_cancel((select min(id) from cogo.agent_messages where tenant = 'a'))").await;
        let answers = at_once(&[&hall.core, &other], 5, None, &user("a")).await;
        assert_eq!(answers.iter().filter(|(status, _)| *status == 202).count(), 1);
    }
}

#[tokio::test]
async fn whoever_repeats_a_call_is_answered_although_the_limit_is_reached() {
    let hall = Hall::undecided(|settings| settings.http.max_undecided_intents = 1).await;
    let first = at_once(&[&hall.core], 1, Some("mine"), SECRET_KEY).await;
    assert_eq!(first[0].0, 202);
    let again = at_once(&[&hall.core], 3, Some("mine"), SECRET_KEY).await;
    for (status, body) in again {
        assert_eq!(
            (status, &body["id"], &body["attached"]),
            (202, &first[0].1["id"], &json!(true))
        );
    }
    let request = hall.core.http.post(hall.core.url("/v1/intents")).bearer_auth(SECRET_KEY);
    let request = request.header("idempotency-key", "other").json(&json!({ "intent": "hello" }));
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);

    // The other doors to the same stage are as narrow.
    let body =
        json!({ "service": "orchestrator", "role": "intent", "payload": { "intent": "hello" } });
    assert_eq!(hall.core.post("/v1/messages", SECRET_KEY, &body).await.0, 429);
    let id = &first[0].1["id"];
    hall.run(&format!("select public.bus_cancel({id})")).await;
    assert_eq!(hall.core.post("/v1/messages", SECRET_KEY, &body).await.0, 202);
    let replay = format!("/v1/messages/{id}/replay");
    assert_eq!(hall.core.post(&replay, SECRET_KEY, &json!({})).await.0, 429);
}

#[tokio::test]
async fn a_caller_that_asks_too_often_is_told_when_to_come_back_and_others_are_served() {
    let hall = Hall::with(|settings| {
        settings.http.rate_per_caller = NonZeroU32::new(1).unwrap();
        settings.http.burst_per_caller = NonZeroU32::new(3).unwrap();
    })
    .await;
    for caller in [SECRET_KEY, OTHER_KEY, &user("a"), &user("b")] {
        let mut refused = None;
        for _ in 0..200 {
            let answer = hall.core.send(Method::GET, "/v1/messages/1", Some(caller), None).await;
            if answer.status() == 429 {
                refused = Some(answer);
                break;
            }
            assert_eq!(answer.status(), 404);
        }
        let refused = refused.expect("it was never refused");
        assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
        let (_, body) = told(refused).await;
        assert_eq!(body["error"]["code"], "rate_exceeded");
    }
    assert_eq!(hall.core.get("/healthz", "nobody").await.0, 200);
}

#[tokio::test]
async fn a_body_has_a_largest_size() {
    let hall = Hall::undecided(|settings| settings.http.http_max_body = 2048).await;
    let body =
        |length: usize| json!({ "intent": "hello", "payload": { "text": "x".repeat(length) } });
    assert_eq!(hall.core.post("/v1/intents", SECRET_KEY, &body(1000)).await.0, 202);
    let (status, refused) = hall.core.post("/v1/intents", SECRET_KEY, &body(2048)).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (413, Some("body_too_large")));
    assert!(is_error(&refused));
    // The stage's own limit is told just as clearly.
    let hall = Hall::undecided(|_| {}).await;
    hall.run("insert into public.bus_routes (service, role, max_payload) values ('small', 'stage', 1024)").await;
    let body =
        json!({ "service": "small", "role": "stage", "payload": { "text": "x".repeat(3000) } });
    let (status, refused) = hall.core.post("/v1/messages", SECRET_KEY, &body).await;
    assert_eq!(status, 400);
    assert!(refused["error"]["message"].as_str().unwrap().contains("too large"), "{refused}");
}

#[tokio::test]
async fn only_so_many_streams_are_served() {
    let hall = Hall::with(|settings| settings.http.max_event_streams = 2.try_into().unwrap()).await;
    let open = || hall.core.send(Method::GET, "/v1/events", Some(SECRET_KEY), None);
    let (one, two) = (open().await, open().await);
    assert_eq!((one.status(), two.status()), (200.try_into().unwrap(), 200.try_into().unwrap()));
    let refused = open().await;
    assert!(refused.headers().contains_key("retry-after"));
    let (status, body) = told(refused).await;
    assert_eq!((status, body["error"]["code"].as_str()), (503, Some("too_many_streams")));
    drop((one, two));
    loop {
        // The server notices with its next word.
        hall.run("select public.bus_emit('{\"event_type\": \"noise\", \"trace_id\": \"4bf92f3577b34da6a3ce929d0e0e4736\"}')").await;
        if open().await.status() == 200 {
            break;
        }
    }
}
