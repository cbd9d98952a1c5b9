//! What the crate's calls do and say is the same over a connection and over Supabase.

use std::time::Duration;

use bus::{
    Answer, Follow, InOrder, LetterFilter, NewMessage, Outcome, Retention, Settle, Station, Status,
};
use messages::Probe;
use model::MessageId;
use testkit::Way;

use crate::fixture::{Fixture, until};

testkit::on_every_wire!(
    what_is_published_under_a_key_attaches_to_it_in_one_transaction_too,
    a_station_claims_renews_hears_of_a_cancellation_and_settles,
    a_dead_letter_is_listed_read_and_replayed_once,
    whoever_follows_misses_nothing_and_sees_nothing_twice,
    a_keeper_gives_back_what_was_lost_and_deletes_what_is_old,
    a_paused_stage_gives_nothing_until_it_is_resumed,
    thousands_in_one_call_are_all_answered,
);

/// More than a Supabase project answers with.
const MANY: usize = 2_500;

fn probe(text: &str) -> NewMessage {
    NewMessage::of(&Probe { text: text.to_owned() }).unwrap()
}

fn station(on: &Fixture) -> Station {
    Station::new(&on.bus, "w1", &["cogo/probe/*".parse().unwrap()])
}

async fn what_is_published_under_a_key_attaches_to_it_in_one_transaction_too(way: Way) {
    let on = Fixture::over(way).await;
    let first = on.bus.publish(probe("x").idempotency_key("k")).await.unwrap();
    let together = [probe("y"), probe("x").idempotency_key("k"), probe("z")];
    let published = on.bus.publish_all(&together).await.unwrap();
    let attached: Vec<bool> = published.iter().map(|published| published.attached).collect();
    assert_eq!(attached, [false, true, false]);
    assert_eq!((published[1].id, published[1].trace), (first.id, first.trace));
    let one_is_bad = [probe("y"), probe("x").max_attempts(0)];
    assert!(on.bus.publish_all(&one_is_bad).await.is_err());
    assert_eq!(on.number("select count(*) from cogo.agent_messages").await, 3, "all or none");
    on.is_whole().await;
}

async fn a_station_claims_renews_hears_of_a_cancellation_and_settles(way: Way) {
    let on = Fixture::over(way).await;
    let ids: Vec<MessageId> =
        on.bus.publish_all(&[probe("a"), probe("b")]).await.unwrap().iter().map(|p| p.id).collect();
    let mut station = station(&on);
    let leases = station.claim(10).await.unwrap();
    assert_eq!(leases.iter().map(|lease| lease.message.id).collect::<Vec<_>>(), ids);
    let message = &leases[0].message;
    assert_eq!((message.attempt, message.max_attempts), (1, 3));
    assert_eq!(message.route.to_string(), "cogo/probe/0/default");
    assert_eq!(message.payload.get(), r#"{"text": "a"}"#);
    assert!(station.claim(10).await.unwrap().is_empty());

    on.bus.cancel(ids[1], "enough").await.unwrap();
    let held: Vec<_> = leases.iter().map(|lease| (lease.message.id, lease.token)).collect();
    let stale = (ids[0], uuid::Uuid::nil());
    let mut renewed = on.bus.renew("w1", &[held[0], held[1], stale]).await.unwrap();
    renewed.sort_by_key(|renewed| renewed.id);
    let said: Vec<_> = renewed.iter().map(|lease| (lease.id, lease.cancel_requested)).collect();
    assert_eq!(said, [(ids[0], false), (ids[1], true)]);
    assert!(renewed[0].until > leases[0].until);

    let outcome =
        |place: usize, settle| Outcome { id: held[place].0, lease: held[place].1, settle };
    let outcomes = [outcome(0, Settle::done().result("ok")), outcome(1, Settle::cancelled())];
    let answers = on.bus.settle("w1", &outcomes).await.unwrap();
    assert_eq!(answers, [Answer::Accepted; 2]);
    let again = on.bus.settle("w1", &outcomes).await.unwrap();
    assert_eq!(again, [Answer::Lost; 2]);
    on.is_whole().await;
}

async fn a_dead_letter_is_listed_read_and_replayed_once(way: Way) {
    let on = Fixture::over(way).await;
    on.bus.publish(probe("x").max_attempts(1)).await.unwrap();
    let lease = station(&on).claim(1).await.unwrap().remove(0);
    let settle = Settle::retry("größer als gedacht");
    let outcome = Outcome { id: lease.message.id, lease: lease.token, settle };
    on.bus.settle("w1", &[outcome]).await.unwrap();
    let mut filter =
        LetterFilter { stage: None, reason: None, tenant: None, open_only: true, limit: 10 };
    let letters = on.bus.dead_letters(&filter).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter = on.bus.dead_letter(lease.message.id).await.unwrap().unwrap();
    assert_eq!((letter.message_id, letter.attempts), (letters[0].message_id, 1));
    assert_eq!(letter.reason, "attempts_exhausted");
    assert_eq!(letter.error.as_deref(), Some("größer als gedacht"));
    assert_eq!(letter.payload.unwrap().get(), r#"{"text": "x"}"#);

    let replayed = on.bus.replay(lease.message.id).await.unwrap();
    assert!(on.bus.dead_letters(&filter).await.unwrap().is_empty());
    filter.open_only = false;
    assert_eq!(on.bus.dead_letters(&filter).await.unwrap()[0].replayed_as, Some(replayed));
    let state = on.bus.message(replayed).await.unwrap().unwrap();
    assert_eq!((state.status, state.replay_of), (Status::Queued, Some(lease.message.id)));
    on.is_whole().await;
}

async fn whoever_follows_misses_nothing_and_sees_nothing_twice(way: Way) {
    let on = Fixture::over(way).await;
    let other = on.test.client().await;
    let (mut follow, mut in_order) = (Follow::new(), InOrder::after(0));
    let trace = model::TraceId::mint();
    let emit =
        format!("select public.bus_emit('{{\"event_type\": \"x\", \"trace_id\": \"{trace}\"}}')");
    let (mut seen, mut ordered) = (Vec::new(), Vec::new());
    // A slow writer takes its number first and commits last.
    other.batch_execute(&format!("begin; {emit}")).await.unwrap();
    for _ in 0..3 {
        on.run(&emit).await;
    }
    for round in 0..2 {
        seen.extend(on.bus.events_since(&mut follow).await.unwrap().iter().map(|event| event.id));
        let more = on.bus.events_in_order(&mut in_order).await.unwrap();
        ordered.extend(more.iter().map(|event| event.id));
        if round == 0 {
            assert_eq!((seen.len(), ordered.len()), (3, 0), "{seen:?} {ordered:?}");
            other.batch_execute("commit").await.unwrap();
        }
    }
    assert_eq!(ordered.len(), 4);
    assert!(ordered.is_sorted(), "{ordered:?}");
    seen.sort_unstable();
    assert_eq!(seen, ordered);
    assert_eq!(on.bus.trace(trace).await.unwrap().unwrap().events.len(), 4);
}

async fn a_keeper_gives_back_what_was_lost_and_deletes_what_is_old(way: Way) {
    let on = Fixture::over(way).await;
    on.bus.publish_all(&[probe("a"), probe("b").ttl(Duration::from_secs(5))]).await.unwrap();
    let lease = station(&on).claim(1).await.unwrap().remove(0);
    on.advance(31).await;
    let swept = on.bus.sweep("keeper", 100).await.unwrap().unwrap();
    assert_eq!((swept.reclaimed, swept.expired, swept.more), (1, 1, false));
    let outcome = Outcome { id: lease.message.id, lease: lease.token, settle: Settle::done() };
    assert_eq!(on.bus.settle("w1", &[outcome]).await.unwrap(), [Answer::Lost]);
    assert!(on.bus.sweep("another", 100).await.unwrap().is_none(), "one leads");
    assert_eq!(on.bus.keeper().await.unwrap().worker, "keeper");

    let again = station(&on).claim(1).await.unwrap().remove(0);
    let outcome = Outcome { id: again.message.id, lease: again.token, settle: Settle::done() };
    assert_eq!(on.bus.settle("w1", &[outcome]).await.unwrap(), [Answer::Accepted]);
    let short = Duration::from_secs(3600);
    let kept = Retention {
        messages: short,
        events: short,
        workers: short,
        dead_letters: short,
        quiet: short,
    };
    on.advance(2 * 3600).await;
    on.run("update cogo.keeper set kept_at = now()").await;
    let retained = on.bus.retain("keeper", None, 100, &kept).await.unwrap().unwrap();
    assert_eq!((retained.messages, retained.dead_letters), (2, 1));
    let rest = on.bus.retain("keeper", retained.from.as_ref(), 100, &kept).await.unwrap().unwrap();
    assert_eq!((rest.messages, rest.from), (0, None));
}

async fn a_paused_stage_gives_nothing_until_it_is_resumed(way: Way) {
    let on = Fixture::over(way).await;
    let (stage, mut station) = ("cogo/probe".parse().unwrap(), station(&on));
    on.bus.publish(probe("x")).await.unwrap();
    on.bus.pause(&stage).await.unwrap();
    assert!(station.claim(1).await.unwrap().is_empty());
    on.bus.resume(&stage).await.unwrap();
    assert_eq!(station.claim(1).await.unwrap().len(), 1);
}

async fn thousands_in_one_call_are_all_answered(way: Way) {
    let on = Fixture::over(way).await;
    let published = on.bus.publish_all(&vec![probe("x"); MANY]).await.unwrap();
    assert_eq!(published.len(), MANY);
    let ids: Vec<MessageId> = published.iter().map(|published| published.id).collect();
    assert_eq!(on.bus.states(&ids).await.unwrap().len(), MANY);
    let (mut station, mut held) = (station(&on), Vec::new());
    while held.len() < MANY {
        let leases = station.claim(MANY).await.unwrap();
        assert!(!leases.is_empty(), "only {} of them can be claimed", held.len());
        held.extend(leases.iter().map(|lease| (lease.message.id, lease.token)));
    }
    assert_eq!(on.bus.renew("w1", &held).await.unwrap().len(), MANY);
    let outcomes: Vec<Outcome> = held
        .iter()
        .map(|(id, lease)| Outcome { id: *id, lease: *lease, settle: Settle::done().result("x") })
        .collect();
    assert_eq!(on.bus.settle("w1", &outcomes).await.unwrap(), vec![Answer::Accepted; MANY]);
    until(&on.sql, &format!("select count(*) = {MANY} from cogo.receipts where status = 'done'"))
        .await;
    on.is_whole().await;
}
