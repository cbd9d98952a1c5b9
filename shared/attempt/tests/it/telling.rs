use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use attempt::{Attempt, Said, Words, cut};
use bus::{InvalidPayload, NewEvent};
use messages::{Assignment, BuildtestProgress, BuildtestStarted, EventType, Probe};
use serde::ser::Error;
use serde::{Serialize, Serializer};
use tokio::sync::Notify;
use worker::{Cx, Handlers, Received, Settle};

use crate::hall::Hall;

const OFTEN: Duration = Duration::from_millis(1);

fn progress(said: Said) -> Result<NewEvent, InvalidPayload> {
    let Said { text, left_out } = said;
    NewEvent::of(&BuildtestProgress { text, left_out })
}

fn end() -> NewEvent {
    NewEvent::new(EventType::PROBE_DONE)
}

/// What a test and a handler tell each other.
#[derive(Clone, Default)]
struct Between {
    go_on: Arc<Notify>,
    worked: Arc<AtomicBool>,
    returned: Arc<AtomicBool>,
}

#[tokio::test]
async fn words_are_told_while_the_work_runs_and_the_last_of_them_before_its_end() {
    let between = Between::default();
    let of_handler = between.clone();
    let handlers = Handlers::new().on(move |asked: Received<Probe>, cx: Cx| {
        let between = of_handler.clone();
        async move {
            let assignment =
                Assignment { agent_id: Some("a1".to_owned()), ..Assignment::default() };
            let attempt = Attempt::begin(&asked, &assignment, &cx);
            let words = Words::new(cut);
            let started = BuildtestStarted { sandbox: "none".to_owned(), attempt: asked.attempt };
            attempt.tell("the start", attempt.event(&started)).await;
            words.push("the first");
            let work = async {
                between.go_on.notified().await;
                words.push("the last");
                5
            };
            assert_eq!(words.tell_while(&attempt, OFTEN, progress, work).await, 5);
            Ok(words.note_last(Settle::done(), progress)?.note(end()))
        }
    });
    let hall = Hall::new(handlers).await;
    // The work ends only afterwards, so this is told while it runs.
    hall.until("select count(*) = 2 from public.bus_events where message_id is not null").await;
    between.go_on.notify_one();
    let told = hall.told().await;
    assert_eq!(
        told,
        [
            ["buildtest_started", "", "a1"],
            ["buildtest_progress", "the first", ""],
            ["buildtest_progress", "the last", ""],
            ["probe_done", "", ""],
        ]
    );
}

#[tokio::test]
async fn what_is_being_told_when_the_work_ends_is_waited_for() {
    let between = Between::default();
    let of_handler = between.clone();
    let handlers = Handlers::new().on(move |asked: Received<Probe>, cx: Cx| {
        let between = of_handler.clone();
        async move {
            between.go_on.notified().await;
            let assignment = Assignment::default();
            let attempt = Attempt::begin(&asked, &assignment, &cx);
            let words = Words::new(cut);
            words.push("on its way");
            let work = async {
                between.go_on.notified().await;
                between.worked.store(true, Ordering::SeqCst);
            };
            words.tell_while(&attempt, OFTEN, progress, work).await;
            between.returned.store(true, Ordering::SeqCst);
            Ok(words.note_last(Settle::done(), progress)?.note(end()))
        }
    });
    let hall = Hall::new(handlers).await;
    let lock = "begin; lock table public.bus_events in exclusive mode";
    hall.other.batch_execute(lock).await.unwrap();
    between.go_on.notify_one();
    let waits = "select exists (select from pg_locks join pg_database on pg_database.oid = database
        where datname = current_database() and not granted)";
    hall.until(waits).await;
    between.go_on.notify_one();
    while !between.worked.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    // One thread runs all of it, so whoever does not wait has returned in the poll that worked.
    assert!(!between.returned.load(Ordering::SeqCst), "it did not wait for what it tells");
    hall.other.batch_execute("rollback").await.unwrap();
    let told = hall.told().await;
    assert_eq!(told, [["buildtest_progress", "on its way", ""], ["probe_done", "", ""]]);
}

#[tokio::test]
async fn what_cannot_be_told_stops_no_work() {
    let between = Between::default();
    let of_handler = between.clone();
    let handlers = Handlers::new().on(move |asked: Received<Probe>, cx: Cx| {
        let between = of_handler.clone();
        async move {
            let assignment = Assignment::default();
            let attempt = Attempt::begin(&asked, &assignment, &cx);
            attempt.tell("the start", unspeakable()).await;
            // Written down it is, but Postgres keeps no such letter.
            let refused = Said { text: "\0".to_owned(), left_out: 0 };
            attempt.tell("the start", progress(refused)).await;
            let words = Words::new(cut);
            words.push("a word");
            let tried = |_| {
                between.go_on.notify_one();
                unspeakable()
            };
            words.tell_while(&attempt, OFTEN, tried, between.go_on.notified()).await;
            Ok(Settle::done().note(end()))
        }
    });
    let hall = Hall::new(handlers).await;
    assert_eq!(hall.told().await, [["probe_done", "", ""]]);
}

fn unspeakable() -> Result<NewEvent, InvalidPayload> {
    struct Unspeakable;
    impl Serialize for Unspeakable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("there are no words for it"))
        }
    }
    end().payload(&Unspeakable)
}
