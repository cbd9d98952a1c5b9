use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus::{Answer, NewEvent, NewMessage};
use messages::{EventType, Probe};
use model::Route;
use serde_json::json;
use testkit::Way;
use worker::{Failure, Handlers, Received, ServeError, Settle, serve};

use crate::hall::{Hall, settings};

testkit::in_every_way!(
    a_handler_runs_and_everything_it_returns_is_committed_together,
    a_thousand_messages_are_each_handled_once,
    a_payload_that_cannot_be_read_fails_at_once_with_the_reason,
    a_panic_is_a_failed_attempt_and_the_worker_goes_on,
    failures_are_tried_again_until_the_attempts_are_exhausted,
    a_retry_that_succeeds_is_done_with_all_its_attempts_counted,
    an_outcome_that_cannot_be_is_a_failed_attempt_and_harms_no_other,
    a_worker_serves_its_shards_and_its_tenant_only,
);

/// Does what the probe's text says.
fn obedient() -> Handlers {
    Handlers::new().on(async |probe: Received<Probe>, _| match probe.payload.text.as_str() {
        "panic" => panic!("this went wrong"),
        "retry" => Err(Failure::retry("not today")),
        "fatal" => Err(Failure::fatal("no_way", "never")),
        "error" => Err("x".parse::<i32>().unwrap_err())?,
        "large" => {
            let large = NewMessage::of(&Probe { text: "x".repeat(2_000_000) })?;
            Ok(Settle::done().follow_up(large))
        }
        _ => Ok(Settle::done()),
    })
}

async fn quick_retries(hall: &Hall) {
    hall.run("insert into public.bus_routes (service, role, backoff_base) values ('cogo', 'probe', '0 s')").await;
}

async fn a_handler_runs_and_everything_it_returns_is_committed_together(way: Way) {
    let hall = Hall::over(way).await;
    let handlers = Handlers::new().on(async |probe: Received<Probe>, _| {
        assert_eq!((probe.attempt, probe.tenant().as_str()), (1, "default"));
        let route: Route = "next/stage/3".parse().unwrap();
        Ok(Settle::done()
            .result(format!("heard {}", probe.payload.text))
            .publish_to(&route, &json!({ "said": probe.payload.text }))?
            .note(NewEvent::new(EventType::PROBE_DONE)))
    });
    let mut working = hall.start(handlers, settings("w1", 4));
    let id = hall.probe("hello").await;
    hall.until_status(id, "done").await;
    assert_eq!(hall.text("select result_snippet from cogo.receipts").await.unwrap(), "heard hello");
    let next = "select payload ->> 'said' || ' ' || parent_id from public.agent_messages where service = 'next'";
    assert_eq!(hall.text(next).await.unwrap(), format!("hello {id}"));
    assert_eq!(hall.text("select event_type from public.bus_events").await.unwrap(), "probe_done");
    working.stops().await;
}

async fn a_thousand_messages_are_each_handled_once(way: Way) {
    let hall = Hall::over(way).await;
    let handled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&handled);
    let handlers = Handlers::new().on(move |_: Received<Probe>, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok(Settle::done()) }
    });
    let mut one = hall.start(handlers.clone(), settings("w1", 16));
    let mut other = hall.start(handlers, settings("w2", 5));
    hall.run(
        "insert into public.agent_messages (service, role, payload)
        select 'cogo', 'probe', '{\"text\": \"x\"}' from generate_series(1, 1000)",
    )
    .await;
    hall.until("select count(*) = 1000 from cogo.receipts where status = 'done' and attempts = 1")
        .await;
    assert_eq!(handled.load(Ordering::Relaxed), 1000);
    one.stops().await;
    other.stops().await;
}

async fn a_payload_that_cannot_be_read_fails_at_once_with_the_reason(way: Way) {
    let hall = Hall::over(way).await;
    let mut working = hall.start(obedient(), settings("w1", 4));
    hall.run("insert into public.agent_messages (service, role, payload) values ('cogo', 'probe', '{\"txt\": 1}')").await;
    hall.until("select count(*) = 1 from public.agent_messages_dlq").await;
    let letter =
        "select reason || ', ' || attempts || ', ' || error from public.agent_messages_dlq";
    let said = hall.text(letter).await.unwrap();
    assert!(
        said.starts_with(
            "payload_invalid, 1, the payload is not a cogo/probe: missing field `text`"
        ),
        "{said}"
    );
    let id = hall.probe("fine").await;
    hall.until_status(id, "done").await;
    working.stops().await;
}

async fn a_panic_is_a_failed_attempt_and_the_worker_goes_on(way: Way) {
    let hall = Hall::over(way).await;
    quick_retries(&hall).await;
    let mut working = hall.start(obedient(), settings("w1", 1));
    let bad = hall.probe("panic").await;
    hall.until_status(bad, "failed").await;
    let letter =
        "select reason || ', ' || attempts || ', ' || error from public.agent_messages_dlq";
    let said = hall.text(letter).await.unwrap();
    assert_eq!(said, "attempts_exhausted, 3, the handler panicked: this went wrong");
    let good = hall.probe("fine").await;
    hall.until_status(good, "done").await;
    assert!(working.is_working());
    working.stops().await;
}

async fn failures_are_tried_again_until_the_attempts_are_exhausted(way: Way) {
    let hall = Hall::over(way).await;
    quick_retries(&hall).await;
    let mut working = hall.start(obedient(), settings("w1", 4));
    for (text, said) in [
        ("retry", "attempts_exhausted, 3, not today"),
        ("error", "attempts_exhausted, 3, invalid digit found in string"),
        ("fatal", "no_way, 1, never"),
    ] {
        let id = hall.probe(text).await;
        hall.until_status(id, "failed").await;
        let letter = format!(
            "select reason || ', ' || attempts || ', ' || error from public.agent_messages_dlq where orig_id = {id}"
        );
        assert_eq!(hall.text(&letter).await.unwrap(), said);
    }
    working.stops().await;
}

async fn a_retry_that_succeeds_is_done_with_all_its_attempts_counted(way: Way) {
    let hall = Hall::over(way).await;
    quick_retries(&hall).await;
    let handlers = Handlers::new().on(async |probe: Received<Probe>, _| {
        if probe.is_last_attempt() { Ok(Settle::done()) } else { Err(Failure::retry("again")) }
    });
    let mut working = hall.start(handlers, settings("w1", 4));
    let id = hall.probe("x").await;
    hall.until_status(id, "done").await;
    assert_eq!(hall.text("select attempts from cogo.receipts").await.unwrap(), "3");
    working.stops().await;
}

async fn an_outcome_that_cannot_be_is_a_failed_attempt_and_harms_no_other(way: Way) {
    let hall = Hall::over(way).await;
    quick_retries(&hall).await;
    let mut working = hall.start(obedient(), settings("w1", 8));
    let mut good = Vec::new();
    let bad = hall.probe("large").await;
    for _ in 0..10 {
        good.push(hall.probe("fine").await);
    }
    hall.until_status(bad, "failed").await;
    for id in good {
        hall.until_status(id, "done").await;
    }
    let letter =
        "select reason || ', ' || attempts || ', ' || error from public.agent_messages_dlq";
    let said = hall.text(letter).await.unwrap();
    assert!(
        said.starts_with("attempts_exhausted, 3, its outcome was refused: payload is too large"),
        "{said}"
    );
    working.stops().await;
}

/// A transaction of the handler's own needs a connection.
#[tokio::test]
async fn an_effect_in_this_database_and_the_end_of_its_message_are_one() {
    let hall = Hall::over(Way::Direct).await;
    quick_retries(&hall).await;
    hall.run("create table effects (text text)").await;
    static EFFECT: db::Statement = db::Statement {
        name: "test.effect",
        sql: "insert into effects values ($1)",
        types: &[db::Type::TEXT],
    };
    let handlers = Handlers::new().on(async |probe: Received<Probe>, cx: worker::Cx| {
        let mut client = cx.bus().db().client().await?;
        let transaction = client.transaction().await?;
        transaction.execute(&EFFECT, &[&probe.payload.text]).await?;
        let answer = cx.settle_in(&transaction, Settle::done().result("in one")).await?;
        assert_eq!(answer, Answer::Accepted);
        if probe.attempt == 1 {
            // Neither the effect nor the end has happened.
            drop(transaction);
            return Err(Failure::retry("dropped"));
        }
        transaction.commit().await?;
        Ok(Settle::done())
    });
    let mut working = hall.start(handlers, settings("w1", 4));
    // The first attempt believes to be settled, so its lease has to run out.
    hall.run("update public.bus_routes set lease = '1 s'").await;
    let id = hall.probe("x").await;
    hall.until(
        "select public.bus_sweep('keeper') is not null and exists (select from cogo.receipts)",
    )
    .await;
    hall.until_status(id, "done").await;
    assert_eq!(hall.text("select count(*) || ' ' || min(text) from effects").await.unwrap(), "1 x");
    assert_eq!(
        hall.text("select attempts || ' ' || result_snippet from cogo.receipts").await.unwrap(),
        "2 in one"
    );
    working.stops().await;
}

#[tokio::test]
async fn without_a_doorbell_polling_alone_is_enough() {
    let hall = Hall::over(Way::Direct).await;
    let polling = bus::BusSettings { bus_doorbell: bus::Doorbell::Poll, ..Default::default() };
    let pooled =
        db::DbSettings { db_session: db::SessionSetting::Transaction, ..hall.test.settings() };
    for (name, bus) in [
        ("poll", bus::Bus::connect(&hall.test.settings(), &polling).unwrap()),
        // Behind a pooler it is found out, and no statement has a name.
        ("auto", bus::Bus::connect(&pooled, &bus::BusSettings::default()).unwrap()),
    ] {
        assert_eq!(bus.doorbell(), bus::Doorbell::Poll, "{name}");
        let mut working = crate::hall::start(bus, obedient(), settings(name, 4));
        let first = hall.probe("x").await;
        hall.until_status(first, "done").await;
        let second = hall.probe("fatal").await;
        hall.until_status(second, "failed").await;
        assert_eq!(hall.text("select count(*) from cogo.parked").await.unwrap(), "0");
        working.stops().await;
    }
}

async fn a_worker_serves_its_shards_and_its_tenant_only(way: Way) {
    let hall = Hall::over(way).await;
    let mut narrow = settings("w1", 4);
    narrow.agent_shard = "1,3".parse().unwrap();
    narrow.agent_tenant = Some("acme".parse().unwrap());
    let mut working = hall.start(obedient(), narrow);
    hall.run(
        "insert into public.agent_messages (service, role, shard, tenant, payload)
        select 'cogo', 'probe', shard, tenant, '{\"text\": \"x\"}'
        from generate_series(0, 4) as shard, unnest(array['acme', 'default']) as tenant",
    )
    .await;
    hall.until("select count(*) = 2 from cogo.receipts").await;
    working.stops().await;
    let left = "select string_agg(shard || tenant, ' ' order by shard, tenant) from public.agent_messages where status = 'done'";
    assert_eq!(hall.text(left).await.unwrap(), "1acme 3acme");
}

#[tokio::test]
async fn a_worker_that_could_never_work_does_not_start() {
    let hall = Hall::over(Way::Direct).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let nothing =
        serve(hall.bus.clone(), "x", Handlers::new(), &settings("w1", 1), stop.clone()).await;
    assert!(matches!(nothing, Err(ServeError::NoHandlers)));
    let mut other = settings("w1", 1);
    other.agent_role = Some("review".parse().unwrap());
    let wrong = serve(hall.bus.clone(), "x", obedient(), &other, stop).await;
    let said = wrong.unwrap_err().to_string();
    assert_eq!(said, "this worker serves cogo/probe, and not cogo/review");
    assert_eq!(hall.text("select count(*) from public.workers").await.unwrap(), "0");
}
