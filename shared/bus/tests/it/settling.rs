use serde_json::{Value, json};

use bus::{Answer, NewMessage, Outcome, Settle};
use messages::{EventType, Probe};
use testkit::Way;

use crate::fixture::{Fixture, message, refusal, settle, settling};

testkit::on_every_wire!(
    a_stale_lease_beside_the_current_one_of_the_same_message_is_refused,
    the_crate_settles_every_kind_and_answers_each,
    a_refused_settle_of_the_crate_says_why_and_keeps_the_lease,
);

#[tokio::test]
async fn done_leaves_a_receipt_with_the_result() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    let claim = on.claim_one().await;
    let more = json!({ "result_snippet": "3 files", "result_url": "s3://a/b" });
    assert_eq!(on.end(&claim, "done", more).await, "done");
    let row = on
        .row(
            "select status, attempts, claimed_by, result_snippet, result_url, error, done_at is not null, lease_until
            from public.agent_messages where id = $1",
            &[&id],
        )
        .await;
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("done", 1, "w1"));
    assert_eq!((row.get(3), row.get(4)), ("3 files", "s3://a/b"));
    assert_eq!(row.get::<_, Option<&str>>(5), None);
    assert!(row.get::<_, bool>(6));
    assert!(on.claimed_ids(10).await.is_empty());
    on.is_whole().await;
}

#[tokio::test]
async fn retry_waits_as_long_as_it_says_and_spends_an_attempt() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    let claim = on.claim_one().await;
    let more = json!({ "retry_in_ms": 40_000, "error": "not yet" });
    assert_eq!(on.end(&claim, "retry", more).await, "queued");
    let row = on
        .row(
            "select status, attempts, error, retry_at - now() between '35 s' and '40 s', last_error_at is not null
            from public.agent_messages where id = $1",
            &[&id],
        )
        .await;
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("queued", 1, "not yet"));
    assert!(row.get::<_, bool>(3) && row.get::<_, bool>(4));
    assert!(on.claimed_ids(10).await.is_empty());
    on.advance(41).await;
    let claim = on.claim_one().await;
    assert_eq!((claim.id, claim.attempt), (id, 2));
    on.is_whole().await;
}

#[tokio::test]
async fn the_last_retry_fails_for_good() {
    let on = Fixture::new().await;
    let id = on.send(json!({ "max_attempts": 2 })).await;
    let claim = on.claim_one().await;
    on.end(&claim, "retry", json!({ "retry_in_ms": 0, "error": "first" })).await;
    let claim = on.claim_one().await;
    assert_eq!(on.end(&claim, "retry", json!({ "error": "second" })).await, "failed");
    let letter = on
        .row(
            "select attempts, reason, error from public.agent_messages_dlq where orig_id = $1",
            &[&id],
        )
        .await;
    assert_eq!((letter.get(0), letter.get(1), letter.get(2)), (2, "attempts_exhausted", "second"));
    assert_eq!(on.events(id).await, ["retried", "dead_lettered"]);
    on.is_whole().await;
}

#[tokio::test]
async fn the_routes_backoff_doubles_up_to_its_cap_and_varies_by_a_quarter() {
    let on = Fixture::new().await;
    on.run(
        "insert into public.bus_routes (service, role, backoff_base, backoff_cap, max_attempts)
        values ('codegen', 'generate', '10 s', '100 s', 50)",
    )
    .await;
    on.run("insert into public.agent_messages (service, role) select 'codegen', 'generate' from generate_series(1, 40)")
        .await;
    for due in [10.0, 20.0, 40.0, 80.0, 100.0, 100.0] {
        let claims = on.claim(&["codegen/generate/0"], 100).await;
        assert_eq!(claims.len(), 40);
        let outcomes: Vec<Value> =
            claims.iter().map(|claim| settling(claim, "retry", &json!({}))).collect();
        on.run("begin").await;
        on.settle(Value::from(outcomes)).await;
        let row = on
            .row(
                "select min(wait), max(wait), count(distinct wait) from (
                    select extract(epoch from due_at - now())::float8 as wait from cogo.later) as waits",
                &[],
            )
            .await;
        on.run("commit").await;
        let (shortest, longest): (f64, f64) = (row.get(0), row.get(1));
        assert!(shortest >= due * 0.75 && longest <= due * 1.25, "{due}: {shortest} to {longest}");
        assert!(row.get::<_, i64>(2) > 30, "they must not all come back at once");
        on.advance(130).await;
    }
    on.is_whole().await;
}

#[tokio::test]
async fn without_a_route_the_backoff_is_five_seconds_up_to_a_minute() {
    let on = Fixture::new().await;
    let sql = "select cogo.jittered(null, $1) between $2::float8 * interval '0.75 s' and $2::float8 * interval '1.25 s'";
    for (attempts, due) in [(1, 5.0), (2, 10.0), (3, 20.0), (4, 40.0), (5, 60.0), (1000, 60.0)] {
        assert!(on.row(sql, &[&attempts, &due]).await.get::<_, bool>(0), "{attempts}");
    }
}

#[tokio::test]
async fn fail_goes_to_the_dead_letters_with_its_reason_and_an_event() {
    let on = Fixture::new().await;
    let id = on.send(json!({ "tenant": "acme", "payload": { "n": 1 } })).await;
    let claim = on.claim_one().await;
    let more = json!({ "reason": "payload_invalid", "error": "no name" });
    assert_eq!(on.end(&claim, "fail", more).await, "failed");
    let letter = on
        .row(
            "select service, role, shard, tenant, attempts, reason, error, payload, replayed_as
            from public.agent_messages_dlq where orig_id = $1",
            &[&id],
        )
        .await;
    assert_eq!(
        (letter.get(0), letter.get(1), letter.get(2), letter.get(3)),
        ("codegen", "generate", 0, "acme")
    );
    assert_eq!((letter.get(4), letter.get(5), letter.get(6)), (1, "payload_invalid", "no name"));
    assert_eq!(letter.get::<_, Value>(7), json!({ "n": 1 }));
    let event = on
        .row(
            "select event_type, reason, tenant, event.trace_id = message.trace_id from public.bus_events as event
            join public.agent_messages as message using (tenant) where message_id = $1",
            &[&id],
        )
        .await;
    assert_eq!(
        (event.get(0), event.get(1), event.get(2)),
        ("dead_lettered", "payload_invalid", "acme")
    );
    assert!(event.get::<_, bool>(3));
    on.is_whole().await;
}

#[tokio::test]
async fn release_spends_no_attempt() {
    let on = Fixture::new().await;
    let id = on.send(json!({ "max_attempts": 1 })).await;
    for _ in 0..5 {
        let claim = on.claim_one().await;
        assert_eq!((claim.id, claim.attempt), (id, 1));
        assert_eq!(on.end(&claim, "release", json!({})).await, "queued");
        assert_eq!(on.attempts(id).await, 0);
    }
    on.is_whole().await;
}

#[tokio::test]
async fn a_release_may_wait_and_still_spends_no_attempt() {
    let on = Fixture::new().await;
    let id = on.send(json!({ "max_attempts": 1, "ttl_ms": 90_000 })).await;
    for _ in 0..3 {
        let claim = on.claim_one().await;
        assert_eq!((claim.id, claim.attempt), (id, 1));
        assert_eq!(on.end(&claim, "release", json!({ "retry_in_ms": 20_000 })).await, "queued");
        assert!(on.claimed_ids(1).await.is_empty(), "it waits");
        on.advance(20).await;
    }
    assert_eq!(on.attempts(id).await, 0);
    on.is_whole().await;
}

#[tokio::test]
async fn cancel_ends_a_message_as_cancelled() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    let claim = on.claim_one().await;
    assert_eq!(on.end(&claim, "cancel", json!({})).await, "cancelled");
    assert_eq!(on.status(id).await, "cancelled");
    assert_eq!(on.events(id).await, ["cancelled"]);
    assert_eq!(on.number("select count(*) from public.agent_messages_dlq").await, 0);
    on.is_whole().await;
}

#[tokio::test]
async fn what_follows_carries_trace_tenant_project_and_parent_unless_it_says_otherwise() {
    let on = Fixture::new().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let project = "7f1c5e0a-1111-4222-8333-123456789abc";
    let context = format!("00-{trace}-00f067aa0ba902b7-01");
    let id =
        on.send(json!({ "tenant": "acme", "project_id": project, "traceparent": context })).await;
    let claim = on.claim_one().await;
    let other = "a".repeat(32);
    on.end(
        &claim,
        "done",
        json!({
            "publish": [
                { "service": "code", "role": "build-test", "payload": { "n": 1 } },
                { "service": "code", "role": "audit", "tenant": "other", "trace_id": other },
            ],
            "events": [{ "event_type": "codegen_done", "payload": { "files": 3 } }],
        }),
    )
    .await;
    let follows = "select tenant, project_id::text, trace_id, traceparent, parent_id, payload
        from public.agent_messages where role = $1";
    let row = on.row(follows, &[&"build-test"]).await;
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("acme", project, trace));
    assert_eq!((row.get(3), row.get(4)), (Some(context.as_str()), id));
    assert_eq!(row.get::<_, Value>(5), json!({ "n": 1 }));
    let row = on.row(follows, &[&"audit"]).await;
    assert_eq!((row.get(0), row.get(2), row.get(4)), ("other", other.as_str(), id));
    assert_eq!(row.get::<_, Option<&str>>(3), None);
    let event = on
        .row(
            "select message_id, trace_id, tenant, service, role, payload from public.bus_events",
            &[],
        )
        .await;
    assert_eq!((event.get(0), event.get(1), event.get(2)), (id, trace, "acme"));
    assert_eq!((event.get(3), event.get(4)), ("codegen", "generate"));
    assert_eq!(event.get::<_, Value>(5), json!({ "files": 3 }));
    on.is_whole().await;
}

#[tokio::test]
async fn an_invalid_follow_up_refuses_the_whole_call_and_writes_nothing() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({ "ordering_key": "o" })); 2])).await;
    on.send(json!({})).await;
    let claims = on.claim(&["codegen/generate/0"], 10).await;
    let rows = "select (select count(*) from cogo.agent_messages) + (select count(*) from cogo.receipts) * 100
        + (select count(*) from public.bus_events) * 10000 + (select count(*) from cogo.leases) * 1000000
        + (select count(*) from cogo.ready) * 100000000";
    let before = on.number(rows).await;
    for (what, named) in [
        (json!({ "publish": [{ "service": "Code", "role": "x" }] }), "service must be"),
        (json!({ "publish": [{ "service": "code" }] }), "role must be"),
        (json!({ "publish": [{ "service": "code", "role": "x", "delay_ms": -1 }] }), "delay_ms"),
        (json!({ "publish": [{ "service": "code", "role": "x", "what": 1 }] }), "`what`"),
        (json!({ "publish": ["code/x/0"] }), "must be an object"),
        (json!({ "publish": { "service": "code", "role": "x" } }), "publish"),
        (json!({ "publish": "code/x/0" }), "publish"),
        (json!({ "events": [{ "event_type": "Not Snake" }] }), "event_type"),
        (json!({ "events": [{ "event_type": "ok", "what": 1 }] }), "`what`"),
        (json!({ "events": [{}] }), "event_type"),
        (json!({ "events": ["codegen_done"] }), "event"),
        (json!({ "events": { "event_type": "ok" } }), "events"),
    ] {
        let good = settling(&claims[0], "done", &json!({ "publish": [message(&json!({}))] }));
        let bad = settling(&claims[1], "done", &what);
        for outcomes in [json!([good, bad]), json!([bad, good])] {
            let said = refusal(settle(&on.sql, "w1", &outcomes).await);
            assert!(said.contains(named), "{what}: {said}");
        }
        assert_eq!(on.number(rows).await, before, "{what}");
    }
    on.is_whole().await;
    let good: Vec<Value> = claims.iter().map(|claim| settling(claim, "done", &json!({}))).collect();
    assert!(on.settle(Value::from(good)).await.iter().all(|answer| answer.1));
    on.is_whole().await;
}

#[tokio::test]
async fn a_lease_that_is_not_current_is_refused_and_changes_nothing() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    let stale = on.claim_one().await;
    on.advance(31).await;
    on.sweep().await;
    let events = on.events(id).await;
    for outcome in ["done", "retry", "fail", "release", "cancel"] {
        let more =
            json!({ "publish": [message(&json!({}))], "events": [{ "event_type": "late" }] });
        let answers = on.settle(json!([settling(&stale, outcome, &more)])).await;
        assert_eq!(answers, [(id, false, None)], "{outcome}, while it is queued");
    }
    let current = on.claim_one().await;
    assert_ne!(current.lease, stale.lease);
    for outcome in ["done", "retry", "fail", "release", "cancel"] {
        let answers = on.settle(json!([settling(&stale, outcome, &json!({}))])).await;
        assert_eq!(answers, [(id, false, None)], "{outcome}, while another has it");
    }
    let done = "select public.bus_done('w1', array[$1::bigint], array[$2::uuid], array['late'])";
    assert!(on.row(done, &[&id, &stale.lease]).await.get::<_, Vec<i64>>(0).is_empty());
    assert_eq!((on.status(id).await.as_str(), on.attempts(id).await), ("claimed", 2));
    on.done(&current).await;
    let answers = on.settle(json!([settling(&current, "fail", &json!({}))])).await;
    assert_eq!(answers, [(id, false, None)], "it has ended");
    assert_eq!((on.status(id).await.as_str(), on.events(id).await), ("done", events));
    assert_eq!(on.number("select count(*) from cogo.agent_messages").await, 1);
    on.is_whole().await;
}

#[tokio::test]
async fn a_batch_is_answered_message_by_message_in_its_order() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({ "max_attempts": 1 })); 6])).await;
    let claims = on.claim(&["codegen/generate/0"], 10).await;
    on.done(&claims[2]).await;
    let answers = on
        .settle(json!([
            settling(&claims[5], "cancel", &json!({})),
            settling(&claims[2], "fail", &json!({})),
            settling(&claims[0], "done", &json!({})),
            settling(&claims[1], "retry", &json!({})),
            { "id": 999_999, "lease": claims[0].lease, "outcome": "done" },
            settling(&claims[3], "release", &json!({})),
            settling(&claims[4], "fail", &json!({})),
        ]))
        .await;
    let said: Vec<(i64, bool, Option<&str>)> =
        answers.iter().map(|(id, ok, state)| (*id, *ok, state.as_deref())).collect();
    assert_eq!(
        said,
        [
            (claims[5].id, true, Some("cancelled")),
            (claims[2].id, false, None),
            (claims[0].id, true, Some("done")),
            (claims[1].id, true, Some("failed")),
            (999_999, false, None),
            (claims[3].id, true, Some("queued")),
            (claims[4].id, true, Some("failed")),
        ]
    );
    on.is_whole().await;
}

#[tokio::test]
async fn one_lease_twice_in_a_batch_counts_once() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    let claim = on.claim_one().await;
    let publish = json!({ "publish": [{ "service": "code", "role": "x" }], "events": [{ "event_type": "once" }] });
    let answers = on
        .settle(json!([
            settling(&claim, "done", &publish),
            settling(&claim, "done", &publish),
            settling(&claim, "fail", &publish),
        ]))
        .await;
    assert_eq!(answers.iter().filter(|answer| answer.1).count(), 1, "{answers:?}");
    assert_eq!(on.number("select count(*) from public.agent_messages where role = 'x'").await, 1);
    assert_eq!(
        on.number("select count(*) from public.bus_events where event_type = 'once'").await,
        1
    );
    assert!(on.status(id).await == "done" || on.status(id).await == "failed");
    on.is_whole().await;
}

async fn a_stale_lease_beside_the_current_one_of_the_same_message_is_refused(way: Way) {
    let on = Fixture::over(way).await;
    let id = on.send(json!({})).await;
    let stale = on.claim_one().await;
    on.advance(31).await;
    on.sweep().await;
    let current = on.claim_one().await;
    let done = |lease, event: &'static str| Outcome {
        id: id.try_into().unwrap(),
        lease,
        settle: Settle::done().note(bus::NewEvent::new(event.parse().unwrap())),
    };
    let outcomes = [done(stale.lease, "stale"), done(current.lease, "current")];
    let answers = on.bus.settle("w1", &outcomes).await.unwrap();
    assert_eq!(answers, [Answer::Lost, Answer::Accepted]);
    assert_eq!(on.events(id).await, ["reclaimed", "current"]);
    on.is_whole().await;
}

async fn the_crate_settles_every_kind_and_answers_each(way: Way) {
    let on = Fixture::over(way).await;
    on.publish(json!(vec![message(&json!({})); 7])).await;
    let claims = on.claim(&["codegen/generate/0"], 10).await;
    let probe = Probe { text: "next".into() };
    let settles = [
        Settle::done(),
        Settle::done().note(bus::NewEvent::new(EventType::CODEGEN_DONE)),
        Settle::done().result("fine").publish(&probe).unwrap(),
        Settle::retry("again").after(std::time::Duration::from_secs(9)),
        Settle::fail("bad", "never"),
        Settle::release(),
        Settle::cancelled(),
    ];
    let mut outcomes: Vec<Outcome> = claims
        .iter()
        .zip(settles)
        .map(|(claim, settle)| Outcome {
            id: claim.id.try_into().unwrap(),
            lease: claim.lease,
            settle,
        })
        .collect();
    let mut stale = outcomes[0].clone();
    stale.lease = outcomes[1].lease;
    outcomes.push(stale);
    let answers = on.bus.settle("w1", &outcomes).await.unwrap();
    assert_eq!(answers[..7], [Answer::Accepted; 7]);
    assert_eq!(answers[7], Answer::Lost);
    let mut states = Vec::new();
    for claim in &claims {
        states.push(on.status(claim.id).await);
    }
    assert_eq!(states, ["done", "done", "done", "queued", "failed", "queued", "cancelled"]);
    assert_eq!(on.events(claims[1].id).await, ["codegen_done"]);
    assert_eq!(
        on.number("select count(*) from public.agent_messages where service = 'cogo'").await,
        1
    );
    on.is_whole().await;
}

/// Such a transaction needs a connection.
#[tokio::test]
async fn a_settle_within_a_transaction_of_the_handlers_own_ends_with_it() {
    let on = Fixture::new().await;
    let id = on.send(json!({})).await;
    let claim = on.claim_one().await;
    on.run("create table effects (id bigint)").await;
    let outcome =
        Outcome { id: id.try_into().unwrap(), lease: claim.lease, settle: Settle::done() };
    let mut client = on.bus.db().client().await.unwrap();
    for commits in [false, true] {
        let transaction = client.transaction().await.unwrap();
        let answer = on.bus.settle_in(&transaction, "w1", &outcome).await.unwrap();
        assert_eq!(answer, Answer::Accepted);
        if commits {
            transaction.commit().await.unwrap();
        } else {
            drop(transaction);
        }
        let state = if commits { "done" } else { "claimed" };
        crate::fixture::until(
            &on.sql,
            &format!("select status = '{state}' from public.agent_messages where id = {id}"),
        )
        .await;
    }
    let transaction = client.transaction().await.unwrap();
    assert_eq!(on.bus.settle_in(&transaction, "w1", &outcome).await.unwrap(), Answer::Lost);
    on.is_whole().await;
}

async fn a_refused_settle_of_the_crate_says_why_and_keeps_the_lease(way: Way) {
    let on = Fixture::over(way).await;
    on.run(
        "insert into public.bus_routes (service, role, max_payload) values ('cogo', 'probe', 1024)",
    )
    .await;
    let id = on.send(json!({})).await;
    let claim = on.claim_one().await;
    let large = NewMessage::of(&Probe { text: "x".repeat(2000) }).unwrap();
    let settle = Settle::done().follow_up(large);
    let outcome = Outcome { id: id.try_into().unwrap(), lease: claim.lease, settle };
    let error = on.bus.settle("w1", &[outcome]).await.unwrap_err();
    assert!(error.to_string().contains("payload is too large"), "{error}");
    assert_eq!(on.status(id).await, "claimed");
    on.done(&claim).await;
}
