use std::time::{Duration, Instant};

use bus::{Bus, BusSettings, EventRow, Follow};

const EMIT: &str = "select public.bus_emit(jsonb_build_object(
    'event_type', $1::text, 'trace_id', '4bf92f3577b34da6a3ce929d0e0e4736'))";

fn types(events: &[EventRow]) -> Vec<&str> {
    events.iter().map(|event| event.event_type.as_str()).collect()
}

#[tokio::test]
async fn an_event_that_commits_late_is_seen_although_younger_ones_were_first() {
    let db = testkit::database().await;
    let bus = Bus::connect(&db.settings(), &BusSettings::default()).unwrap();
    let mut follow = Follow::new();
    assert!(bus.events_since(&mut follow).await.unwrap().is_empty());

    let (slow, quick) = (db.client().await, db.client().await);
    // Written in a subtransaction, as a PL/pgSQL exception block does.
    slow.batch_execute("begin; savepoint inner_one").await.unwrap();
    slow.query(EMIT, &[&"slow"]).await.unwrap();
    slow.batch_execute("release inner_one").await.unwrap();
    quick.query(EMIT, &[&"quick"]).await.unwrap();
    assert_eq!(types(&bus.events_since(&mut follow).await.unwrap()), ["quick"]);

    // Long enough for whoever gives up on gaps by the clock alone.
    let held_until = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < held_until {
        assert!(bus.events_since(&mut follow).await.unwrap().is_empty());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    slow.batch_execute("commit").await.unwrap();
    assert_eq!(types(&bus.events_since(&mut follow).await.unwrap()), ["slow"]);
    assert!(bus.events_since(&mut follow).await.unwrap().is_empty(), "each is seen once");
}

#[tokio::test]
async fn what_was_written_before_we_came_and_commits_after_is_seen() {
    let db = testkit::database().await;
    let bus = Bus::connect(&db.settings(), &BusSettings::default()).unwrap();
    let (slow, quick) = (db.client().await, db.client().await);
    slow.batch_execute("begin").await.unwrap();
    slow.query(EMIT, &[&"slow"]).await.unwrap();
    quick.query(EMIT, &[&"quick"]).await.unwrap();

    let mut follow = Follow::new();
    assert_eq!(types(&bus.events_since(&mut follow).await.unwrap()), ["quick"]);
    slow.batch_execute("commit").await.unwrap();
    assert_eq!(types(&bus.events_since(&mut follow).await.unwrap()), ["slow"]);
}

#[tokio::test]
async fn no_event_of_many_writers_is_lost_or_seen_twice() {
    let db = testkit::database().await;
    let bus = Bus::connect(&db.settings(), &BusSettings::default()).unwrap();
    let mut follow = Follow::new();
    bus.events_since(&mut follow).await.unwrap();

    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6 {
        let client = db.client().await;
        writers.spawn(async move {
            for round in 0..40 {
                client.batch_execute("begin").await.unwrap();
                client.query(EMIT, &[&format!("w{writer}_{round}")]).await.unwrap();
                // Some are slow, and every seventh is taken back.
                tokio::time::sleep(Duration::from_millis((writer * 7 + round) % 11)).await;
                let end = if round % 7 == 0 { "rollback" } else { "commit" };
                client.batch_execute(end).await.unwrap();
            }
        });
    }
    let mut seen = Vec::new();
    while !writers.is_empty() {
        seen.extend(bus.events_since(&mut follow).await.unwrap());
        while writers.try_join_next().is_some_and(|ended| ended.is_ok()) {}
    }
    seen.extend(bus.events_since(&mut follow).await.unwrap());
    let mut numbers: Vec<i64> = seen.iter().map(|event| event.id).collect();
    numbers.sort_unstable();
    let written = db.client().await.query("select id from bus_events order by id", &[]).await;
    let written: Vec<i64> = written.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!((written.len(), numbers), (6 * 34, written));
}

#[tokio::test]
async fn messages_are_followed_the_same_way() {
    let db = testkit::database().await;
    let bus = Bus::connect(&db.settings(), &BusSettings::default()).unwrap();
    let (slow, quick) = (db.client().await, db.client().await);
    let insert = "insert into agent_messages (service, role, payload) values ('a', 'b', '{}')";
    // The first message of a lane makes others on it wait for its commit.
    quick.batch_execute(insert).await.unwrap();
    let mut follow = Follow::new();
    assert_eq!(bus.messages_since(&mut follow).await.unwrap().len(), 1);
    slow.batch_execute(&format!("begin; {insert}")).await.unwrap();
    quick.batch_execute(insert).await.unwrap();
    assert_eq!(bus.messages_since(&mut follow).await.unwrap()[0].id.get(), 3);
    slow.batch_execute("commit").await.unwrap();
    assert_eq!(bus.messages_since(&mut follow).await.unwrap()[0].id.get(), 2);
    assert!(bus.messages_since(&mut follow).await.unwrap().is_empty());
}
