use std::time::Duration;

use bus::{Explained, MessageFacts, Place, Status};
use model::MessageId;
use serde_json::{Value, json};
use testkit::Way;

use crate::fixture::{Fixture, message};

testkit::on_every_wire!(
    what_is_ready_is_told_with_all_that_could_hold_it,
    what_waits_for_a_time_or_a_turn_says_so,
    every_attempt_leaves_what_one_needs_to_tell_of_it,
    how_it_ended_and_what_followed_is_told,
    an_event_and_what_a_worker_holds_are_found_by_their_names,
    activity_counts_what_stands_comes_and_ends,
    what_stands_on_a_route_is_listed_by_kind,
);

fn id(number: i64) -> MessageId {
    MessageId::try_from(number).unwrap()
}

async fn explain(on: &Fixture, message: i64) -> Explained {
    on.bus.explain(id(message)).await.unwrap().expect("there is such a message")
}

async fn facts(on: &Fixture, message: i64) -> MessageFacts {
    explain(on, message).await.facts
}

async fn beat(on: &Fixture, id: &str, more: Value) {
    let mut worker = json!({ "id": id, "agent_name": "tester", "service": "codegen",
        "role": "generate", "state": "ready", "slots": 4, "busy": 1 });
    worker.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    on.row("select public.bus_beat($1)", &[&worker]).await;
}

async fn what_is_ready_is_told_with_all_that_could_hold_it(way: Way) {
    let on = Fixture::over(way).await;
    assert!(on.bus.explain(id(1)).await.unwrap().is_none());
    let first = on.send(json!({})).await;
    let second = on.send(json!({})).await;
    let found = facts(&on, second).await;
    assert_eq!((found.place, found.ahead, found.workers.len()), (Place::Ready, Some(1), 0));
    assert_eq!((found.settings.paused, found.settings.max_attempts), (false, 3));
    assert_eq!((found.settings.lease_s, found.tokens, found.keeper_silent_s), (30.0, None, None));

    on.run(
        "insert into public.bus_routes (service, role, paused, max_in_flight, rate, max_attempts)
         values ('codegen', 'generate', false, 1, 0.001, 7)",
    )
    .await;
    assert!(facts(&on, second).await.tokens.unwrap() >= 1.0);
    assert_eq!(on.claim_one().await.id, first);
    on.run("update public.bus_routes set paused = true").await;
    beat(&on, "w1", json!({})).await;
    beat(&on, "w2", json!({ "shards": [3] })).await;
    beat(&on, "w3", json!({ "tenant": "acme" })).await;
    beat(&on, "w4", json!({ "role": "other" })).await;
    beat(&on, "w5", json!({ "state": "gone" })).await;
    beat(&on, "w6", json!({ "service": null, "role": null })).await;
    on.sweep().await;
    let found = facts(&on, second).await;
    assert_eq!((found.settings.paused, found.settings.max_attempts), (true, 7));
    assert!(found.paused_since.is_some() && found.keeper_silent_s.is_some());
    assert_eq!((found.in_flight, found.in_flight_tenant, found.ahead), (Some(1), Some(1), Some(0)));
    assert!(found.tokens.unwrap() < 1.0, "{:?}", found.tokens);
    let serving: Vec<_> = found.workers.iter().map(|one| (one.id.as_str(), one.several)).collect();
    assert_eq!(serving, [("w1", false), ("w6", true)], "only who may take it");

    let held = explain(&on, first).await;
    let lease = held.facts.lease.unwrap();
    assert_eq!((held.facts.place, held.message.status), (Place::Claimed, Status::Claimed));
    assert_eq!((lease.worker.as_str(), lease.cancel_requested), ("w1", false));
    assert!(lease.left_s > 0.0 && lease.left_s <= 30.0, "{lease:?}");
    assert_eq!(held.facts.holder.unwrap().id, "w1");
    assert_eq!(on.cancel(first).await, "claimed");
    on.advance(31).await;
    let lease = facts(&on, first).await.lease.unwrap();
    assert!(lease.left_s < 0.0 && lease.cancel_requested, "{lease:?}");
}

async fn what_waits_for_a_time_or_a_turn_says_so(way: Way) {
    let on = Fixture::over(way).await;
    let late = on.send(json!({ "delay_ms": 60_000 })).await;
    let found = facts(&on, late).await;
    let wait = (found.due_at.unwrap() - found.read_at).as_seconds_f64();
    assert_eq!(found.place, Place::Later);
    assert!((50.0..=60.0).contains(&wait), "{wait}");

    let keyed = message(&json!({ "ordering_key": "one" }));
    let ids = on.publish(json!([keyed, keyed, keyed])).await;
    let found = facts(&on, ids[2]).await;
    assert_eq!((found.place, found.ahead), (Place::Behind, Some(2)));
    let first = found.first.unwrap();
    assert_eq!((first.id, first.status.as_str()), (id(ids[0]), "queued"));
    assert_eq!(first.route, "codegen/generate/0/default");
    assert_eq!(facts(&on, ids[0]).await.place, Place::Ready);
}

async fn every_attempt_leaves_what_one_needs_to_tell_of_it(way: Way) {
    let on = Fixture::over(way).await;
    let message = on.send(json!({ "max_attempts": 4 })).await;
    let claim = on.claim_one().await;
    let long = "x".repeat(600);
    on.end(&claim, "retry", json!({ "error": long, "retry_in_ms": 0 })).await;
    // To give it back is no attempt, also for a later time.
    let claim = on.claim_one().await;
    on.end(&claim, "release", json!({ "retry_in_ms": 0 })).await;
    on.claim_one().await;
    on.advance(31).await;
    on.sweep().await;

    let found = explain(&on, message).await;
    assert_eq!((found.message.attempts, found.facts.place), (2, Place::Ready));
    let kinds: Vec<_> = found.facts.events.iter().map(|one| one.event_type.as_str()).collect();
    assert_eq!(kinds, ["retried", "reclaimed"]);
    let retried = &found.facts.events[0].payload;
    assert_eq!((&retried["attempts"], &retried["worker"]), (&json!(1), &json!("w1")));
    assert_eq!(retried["error"].as_str().unwrap().len(), 500, "an event is no place for a log");
    for moment in ["claimed_at", "retry_at"] {
        assert!(retried[moment].is_string(), "{retried}");
    }
    let lost = &found.facts.events[1];
    assert_eq!(
        (lost.reason.as_deref(), &lost.payload["worker"]),
        (Some("lease_lost"), &json!("w1"))
    );

    // The last one is told by the receipt alone.
    for _ in 0..2 {
        let claim = on.claim_one().await;
        on.end(&claim, "retry", json!({ "error": "boom", "retry_in_ms": 0 })).await;
    }
    let found = facts(&on, message).await;
    let receipt = found.receipt.unwrap();
    assert_eq!((receipt.status.as_str(), receipt.attempts), ("failed", 4));
    assert_eq!(receipt.reason.as_deref(), Some("attempts_exhausted"));
    assert!(receipt.claimed_at.is_some());
    let kinds: Vec<_> = found.events.iter().map(|one| one.event_type.as_str()).collect();
    assert_eq!(kinds, ["retried", "reclaimed", "retried", "dead_lettered"]);
}

async fn how_it_ended_and_what_followed_is_told(way: Way) {
    let on = Fixture::over(way).await;
    let root = on.send(json!({})).await;
    let claim = on.claim_one().await;
    let next = json!([{ "service": "code", "role": "build-test", "payload": {} }]);
    on.end(&claim, "done", json!({ "result_snippet": "3 files", "publish": next })).await;
    let found = facts(&on, root).await;
    let child = found.follow_ups[0].id.get();
    assert_eq!(found.follow_ups.len(), 1);
    assert_eq!(found.receipt.unwrap().result_snippet.as_deref(), Some("3 files"));
    let found = facts(&on, child).await;
    assert_eq!((found.parents.len(), found.parents[0].id), (1, id(root)));

    let claim = on.claim(&["code/build-test/0"], 1).await.remove(0);
    on.end(&claim, "fail", json!({ "reason": "tests_failed", "error": "2 of 7" })).await;
    let letter = facts(&on, child).await.letter.unwrap();
    assert_eq!((letter.reason.as_str(), letter.replayed_as), ("tests_failed", None));
    let again = on.bus.replay(id(child)).await.unwrap();
    let found = facts(&on, child).await;
    assert_eq!(found.letter.unwrap().replayed_as, Some(again));
    assert_eq!(found.replays[0].id, again);
    assert_eq!(explain(&on, again.get()).await.message.replay_of, Some(id(child)));
}

async fn an_event_and_what_a_worker_holds_are_found_by_their_names(way: Way) {
    let on = Fixture::over(way).await;
    on.run("select public.bus_pause('codegen', 'generate')").await;
    let newest = on.number("select max(id) from public.bus_events").await;
    let event = on.bus.event(newest).await.unwrap().unwrap();
    assert_eq!((event.id, event.event_type.as_str()), (newest, "route_paused"));
    assert!(on.bus.event(newest + 1).await.unwrap().is_none());
    on.run("select public.bus_pause('codegen', 'generate', false)").await;

    let ids = [on.send(json!({})).await, on.send(json!({})).await];
    on.claim(&["codegen/generate/*"], 2).await;
    let held = on.bus.held("w1", 10).await.unwrap();
    assert_eq!(held.iter().map(|message| message.id.get()).collect::<Vec<_>>(), ids);
    assert_eq!(on.bus.held("w1", 1).await.unwrap().len(), 1);
    assert!(on.bus.held("w2", 10).await.unwrap().is_empty());
}

const WINDOW: Duration = Duration::from_secs(10);

async fn activity_counts_what_stands_comes_and_ends(way: Way) {
    let on = Fixture::over(way).await;
    assert_eq!(on.bus.activity(WINDOW).await.unwrap().routes, []);
    on.send(json!({})).await;
    on.advance(60).await;
    let keyed = message(&json!({ "ordering_key": "one", "tenant": "acme" }));
    on.publish(json!([
        keyed,
        keyed,
        message(&json!({ "delay_ms": 60_000 })),
        message(&json!({ "tenant": "acme" })),
        message(&json!({ "role": "other" })),
        message(&json!({ "role": "other" })),
        message(&json!({ "role": "other" })),
    ]))
    .await;
    let claims = on.claim(&["codegen/other/0"], 3).await;
    on.done(&claims[0]).await;
    on.end(&claims[1], "fail", json!({ "reason": "no", "error": "no" })).await;

    let found = on.bus.activity(WINDOW).await.unwrap();
    assert_eq!((found.published_s, found.ended_s), (10.0, 10.0));
    assert_eq!(found.routes.len(), 2, "tenants are counted together");
    let [route, other] = [&found.routes[0], &found.routes[1]];
    assert_eq!(route.route().to_string(), "codegen/generate/0");
    assert_eq!((route.ready, route.later, route.behind, route.claimed), (3, 1, 1, 0));
    assert_eq!((route.published, route.done, route.at_least), (4, 0, false), "one is too old");
    assert!(route.oldest_s.unwrap() >= 60.0, "{:?}", route.oldest_s);
    assert_eq!((other.ready, other.claimed, other.oldest_s), (0, 1, None));
    assert_eq!((other.published, other.done, other.failed, other.letters), (3, 1, 1, 1));
    assert!(!other.paused);

    on.run("select public.bus_pause('codegen', 'other')").await;
    on.bus.replay(id(claims[1].id)).await.unwrap();
    let found = on.bus.activity(WINDOW).await.unwrap();
    assert_eq!((found.routes[1].paused, found.routes[1].letters), (true, 0));

    // Where more happens than is looked at, the rate is of the time that was looked at.
    on.run("insert into public.agent_messages (service, role) select 'codegen', 'generate' from generate_series(1, 12000)").await;
    let found = on.bus.activity(WINDOW).await.unwrap();
    assert!(found.routes[0].at_least && found.published_s < 10.0, "{:?}", found.published_s);
    assert_eq!(found.routes[0].ready, 10_000 + 2, "each lane up to so many");
}

async fn what_stands_on_a_route_is_listed_by_kind(way: Way) {
    let on = Fixture::over(way).await;
    let keyed = message(&json!({ "ordering_key": "one", "max_attempts": 1 }));
    let ids = on
        .publish(json!([
            message(&json!({ "delay_ms": 60_000 })),
            message(&json!({ "tenant": "acme" })),
            keyed,
            keyed,
            message(&json!({ "role": "other" })),
        ]))
        .await;
    let claim = on.claim(&["codegen/generate/0/acme"], 1).await.remove(0);
    let failed = on.send(json!({})).await;
    let claims = on.claim(&["codegen/generate/0"], 10).await;
    let of = |id: i64| claims.iter().find(|claim| claim.id == id).unwrap();
    on.end(of(failed), "fail", json!({ "reason": "no", "error": "no" })).await;
    on.end(of(ids[2]), "release", json!({})).await;

    let route = "codegen/generate/0".parse().unwrap();
    let found = on.bus.standing(&route, 10).await.unwrap();
    let told: Vec<_> = found.iter().map(|one| (one.id.get(), one.status.as_str())).collect();
    let (late, ready, behind) = (ids[0], ids[2], ids[3]);
    assert_eq!(
        told,
        [
            (claim.id, "claimed"),
            (ready, "queued"),
            (behind, "queued"),
            (late, "queued"),
            (failed, "failed")
        ]
    );
}
