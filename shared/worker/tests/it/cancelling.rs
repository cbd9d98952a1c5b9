use std::sync::Arc;

use bus::Cancelled;
use messages::Probe;
use testkit::Way;
use tokio::sync::mpsc;
use worker::{Cx, Failure, Handlers, Received, Settle};

use crate::hall::{Hall, settings};

testkit::in_every_way!(
    a_cancellation_reaches_the_running_handler_and_the_message_ends_cancelled,
    only_the_cancelled_one_is_stopped,
    a_cancellation_is_heard_while_all_hands_are_full_and_while_asleep,
    a_worker_that_lost_a_lease_is_told_to_stop_and_what_it_says_then_is_refused,
    leases_are_renewed_as_long_as_their_handlers_run,
);

/// Leases so long that no renewal is due while the test runs; but where nobody calls a worker, it is
/// a renewal that tells.
async fn long_leases(hall: &Hall) {
    let lease = if hall.way.rings() { "1 day" } else { "3 s" };
    hall.run(&format!(
        "insert into public.bus_routes (service, role, lease) values ('cogo', 'probe', '{lease}')"
    ))
    .await;
}

async fn a_cancellation_reaches_the_running_handler_and_the_message_ends_cancelled(way: Way) {
    let hall = Hall::over(way).await;
    long_leases(&hall).await;
    let handlers = Handlers::new().on(async |probe: Received<Probe>, cx: Cx| {
        cx.stopped().await;
        assert!(cx.is_stopped());
        match probe.payload.text.as_str() {
            "error" => Err(Failure::retry("I was stopped")),
            "fatal" => Err(Failure::fatal("stopped", "I was stopped")),
            // Late, but done.
            "done" => Ok(Settle::done()),
            _ => Ok(Settle::cancelled()),
        }
    });
    let mut working = hall.start(handlers, settings("w1", 4));
    for (text, ends) in
        [("error", "cancelled"), ("fatal", "cancelled"), ("done", "done"), ("own", "cancelled")]
    {
        let id = hall.probe(text).await;
        hall.until_status(id, "claimed").await;
        let said = hall.bus.cancel(id.try_into().unwrap(), "enough").await.unwrap();
        assert_eq!(said, Cancelled::Asked);
        hall.until_status(id, ends).await;
    }
    working.stops().await;
}

async fn only_the_cancelled_one_is_stopped(way: Way) {
    let hall = Hall::over(way).await;
    long_leases(&hall).await;
    let handlers = Handlers::new().on(async |_: Received<Probe>, cx: Cx| {
        cx.stopped().await;
        Ok(Settle::cancelled())
    });
    let mut settings = settings("w1", 4);
    settings.worker_grace = std::time::Duration::from_millis(10);
    let mut working = hall.start(handlers, settings);
    let (one, other) = (hall.probe("a").await, hall.probe("b").await);
    hall.until("select count(*) = 2 from cogo.leases").await;
    hall.bus.cancel(other.try_into().unwrap(), "x").await.unwrap();
    hall.until_status(other, "cancelled").await;
    hall.until_status(one, "claimed").await;
    working.stops().await;
    hall.until_status(one, "queued").await;
}

async fn a_cancellation_is_heard_while_all_hands_are_full_and_while_asleep(way: Way) {
    let hall = Hall::over(way).await;
    long_leases(&hall).await;
    let handlers = Handlers::new().on(async |_: Received<Probe>, cx: Cx| {
        cx.stopped().await;
        Ok(Settle::cancelled())
    });
    for slots in [1, 2] {
        let mut working = hall.start(handlers.clone(), settings(&format!("w{slots}"), slots));
        let id = hall.probe("x").await;
        hall.until_status(id, "claimed").await;
        if slots == 2 && !matches!(way, Way::Pooled | Way::Poll) {
            hall.until("select exists (select from cogo.parked where worker = 'w2')").await;
        }
        hall.bus.cancel(id.try_into().unwrap(), "x").await.unwrap();
        hall.until_status(id, "cancelled").await;
        working.stops().await;
    }
}

async fn a_worker_that_lost_a_lease_is_told_to_stop_and_what_it_says_then_is_refused(way: Way) {
    let hall = Hall::over(way).await;
    hall.run(
        "insert into public.bus_routes (service, role, lease) values ('cogo', 'probe', '3 s')",
    )
    .await;
    let (stopped, mut was_stopped) = mpsc::channel(1);
    let stopped = Arc::new(stopped);
    let handlers = Handlers::new().on(move |_: Received<Probe>, cx: Cx| {
        let stopped = Arc::clone(&stopped);
        async move {
            cx.stopped().await;
            stopped.send(()).await.unwrap();
            Ok(Settle::done().result("too late").publish(&Probe { text: "next".into() })?)
        }
    });
    let mut working = hall.start(handlers, settings("w1", 1));
    let id = hall.probe("x").await;
    hall.until_status(id, "claimed").await;
    // The keeper gives it to another, as if this worker had been silent for too long.
    hall.run(
        "begin;
        update cogo.leases set lease_until = now() - interval '1 s';
        select public.bus_sweep('keeper');
        create table theirs as select * from public.bus_claim('w2', array['cogo/probe/0']);
        commit",
    )
    .await;
    was_stopped.recv().await.unwrap();
    working.stops().await;
    let state = "select status || ' ' || attempts || ' ' || claimed_by from public.agent_messages";
    assert_eq!(hall.text(state).await.unwrap(), "claimed 2 w2", "nothing of it was written");
    hall.run("select public.bus_done('w2', array_agg(id), array_agg(lease)) from theirs").await;
    let ends = "select status || ' ' || attempts || coalesce(result_snippet, '') from public.agent_messages";
    assert_eq!(hall.text(ends).await.unwrap(), "done 2");
}

async fn leases_are_renewed_as_long_as_their_handlers_run(way: Way) {
    let hall = Hall::over(way).await;
    hall.run(
        "insert into public.bus_routes (service, role, lease) values ('cogo', 'probe', '2 s')",
    )
    .await;
    let handlers = Handlers::new().on(async |_: Received<Probe>, cx: Cx| {
        cx.stopped().await;
        Ok(Settle::cancelled())
    });
    let mut working = hall.start(handlers, settings("w1", 3));
    for _ in 0..3 {
        hall.probe("x").await;
    }
    hall.until("select count(*) = 3 from cogo.leases").await;
    hall.run("create table first as select id, lease_until from cogo.leases").await;
    let renewed = "select count(*) = 3 from cogo.leases join first using (id)
        where leases.lease_until > first.lease_until + interval '3 s'";
    hall.until(renewed).await;
    hall.run("select public.bus_sweep('keeper'); select public.bus_cancel(id) from cogo.leases")
        .await;
    hall.until(
        "select count(*) = 3 from cogo.receipts where status = 'cancelled' and attempts = 1",
    )
    .await;
    working.stops().await;
}
