use std::sync::Arc;
use std::time::Duration;

use messages::Probe;
use testkit::Way;
use tokio::sync::Semaphore;
use worker::{Cx, Handlers, Received, Settle};

use crate::hall::{Hall, settings};

testkit::in_every_way!(
    a_stop_lets_running_handlers_finish_and_takes_nothing_new,
    what_does_not_finish_within_the_grace_goes_back_without_spending_an_attempt,
    an_operators_drain_ends_the_worker_as_a_stop_does,
);

/// Each handler waits for a permit.
fn gated(gate: &Arc<Semaphore>) -> Handlers {
    let gate = Arc::clone(gate);
    Handlers::new().on(move |_: Received<Probe>, _: Cx| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await?.forget();
            Ok(Settle::done())
        }
    })
}

async fn a_stop_lets_running_handlers_finish_and_takes_nothing_new(way: Way) {
    let hall = Hall::over(way).await;
    let gate = Arc::new(Semaphore::new(0));
    let mut working = hall.start(gated(&gate), settings("w1", 2));
    for _ in 0..5 {
        hall.probe("x").await;
    }
    hall.until("select count(*) = 2 from cogo.leases").await;
    working.stop.cancel();
    hall.until("select exists (select from public.workers where state = 'draining')").await;
    gate.add_permits(5);
    working.ends().await;
    let states =
        "select string_agg(status || attempts, ' ' order by id) from public.agent_messages";
    assert_eq!(hall.text(states).await.unwrap(), "done1 done1 queued0 queued0 queued0");
    assert_eq!(hall.text("select count(*) from cogo.parked").await.unwrap(), "0");
}

async fn what_does_not_finish_within_the_grace_goes_back_without_spending_an_attempt(way: Way) {
    let hall = Hall::over(way).await;
    let gate = Arc::new(Semaphore::new(0));
    let mut hasty = settings("w1", 3);
    hasty.worker_grace = Duration::from_millis(50);
    let mut working = hall.start(gated(&gate), hasty);
    for _ in 0..3 {
        hall.probe("x").await;
    }
    hall.until("select count(*) = 3 from cogo.leases").await;
    gate.add_permits(1);
    hall.until("select count(*) = 1 from cogo.receipts").await;
    working.stops().await;
    let states =
        "select string_agg(status || attempts, ' ' order by status, id) from public.agent_messages";
    assert_eq!(hall.text(states).await.unwrap(), "done1 queued0 queued0");
    // Another takes them at once.
    let mut next = hall.start(gated(&gate), settings("w2", 3));
    gate.add_permits(2);
    hall.until("select count(*) = 3 from cogo.receipts where status = 'done' and attempts = 1")
        .await;
    next.stops().await;
}

async fn an_operators_drain_ends_the_worker_as_a_stop_does(way: Way) {
    let hall = Hall::over(way).await;
    let gate = Arc::new(Semaphore::new(0));
    let mut working = hall.start(gated(&gate), settings("w1", 2));
    hall.probe("x").await;
    hall.until("select count(*) = 1 from cogo.leases").await;
    hall.until("select exists (select from public.workers where state = 'ready')").await;
    assert!(hall.bus.drain("w1").await.unwrap());
    hall.until("select state = 'draining' from public.workers").await;
    let late = hall.probe("y").await;
    assert!(working.is_working());
    gate.add_permits(2);
    working.ends().await;
    assert!(!working.stop.is_cancelled(), "what else runs in the process goes on");
    hall.until_status(late, "queued").await;
    assert_eq!(hall.text("select state from public.workers").await.unwrap(), "gone");
    assert!(!hall.bus.drain("w1").await.unwrap());

    // A new process of that name is not drained.
    let mut again = hall.start(gated(&gate), settings("w1", 2));
    hall.until_status(late, "done").await;
    assert!(again.is_working());
    again.stops().await;
}
