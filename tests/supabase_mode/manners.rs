use std::time::{Duration, Instant};

use bus::{Bus, BusSettings, Doorbell, NewMessage};
use messages::Probe;
use testkit::Awkward;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::crew::{Crew, POOL};

const CLAIM: &str = "bus_claim_or_park";
/// Everything that a worker waits for comes over its websocket: no poll hides what is missing.
const PATIENT: BusSettings = BusSettings { bus_poll_ms: 3_600_000, bus_doorbell: Doorbell::Auto };

/// As many as its pool has, and for a moment as many again: a connection is free a moment after its
/// last answer has been read, and whoever comes before that begins to open another.
const MOST: usize = 2 * POOL;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_claims_once_for_each_ring_and_keeps_one_websocket() {
    let mut crew = Crew::new(Awkward::default()).await;
    crew.start("w1", 4, &PATIENT);
    // Its route, and where it is called.
    while crew.supabase.realtime.counts().joined < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    one_after_another(&crew, 1).await;
    let (before, rung) = (crew.proxy.passed(), crew.supabase.realtime.counts().delivered);
    one_after_another(&crew, 30).await;
    let (passed, rings) = (crew.proxy.passed(), crew.supabase.realtime.counts().delivered - rung);
    let claims = passed.calls(CLAIM) - before.calls(CLAIM);
    assert_eq!(rings, 30, "one for each message");
    assert!(claims <= 30, "{claims} claims");
    assert_eq!(passed.most_websockets, 1);
    assert!(passed.most_connections <= MOST, "{} connections", passed.most_connections);
    assert_eq!(passed.calls("bus_park") + passed.calls("bus_claim"), 0, "both are one call");
    crew.stops().await;
}

/// Each when the one before it is done and the worker sleeps again.
async fn one_after_another(crew: &Crew, messages: usize) {
    for _ in 0..messages {
        crew.insert().await;
        crew.until(
            "select not exists (select from cogo.leases) and not exists (select from cogo.ready)
                and exists (select from cogo.parked where rung_at is null)",
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_rings_claims_once_for_each_turn_of_the_poll() {
    let mut crew = Crew::new(Awkward::default()).await;
    crew.start("w1", 4, &BusSettings { bus_poll_ms: 100, ..BusSettings::default() });
    while crew.supabase.realtime.counts().joined < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    one_after_another(&crew, 1).await;
    let (started, before) = (Instant::now(), crew.proxy.passed().calls(CLAIM));
    let mut claims = 0;
    while claims < 20 {
        sleep(Duration::from_millis(5)).await;
        claims = crew.proxy.passed().calls(CLAIM) - before;
    }
    // Nobody sleeps less than it was told to, so this holds on any machine.
    let turns = started.elapsed().as_millis() / 100 + 1;
    assert!(u128::try_from(claims).unwrap() <= turns, "{claims} claims in {turns} turns");
    crew.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_publishers_of_a_process_share_its_few_connections() {
    let crew = Crew::new(Awkward::default()).await;
    let bus = Bus::connect(&crew.settings(), &PATIENT).unwrap();
    let mut publishing = JoinSet::new();
    for n in 0..20 {
        let bus = bus.clone();
        publishing.spawn(async move {
            for turn in 0..20 {
                let probe = NewMessage::of(&Probe { text: format!("{n} {turn}") }).unwrap();
                bus.publish_all(&[probe]).await.unwrap();
            }
        });
    }
    publishing.join_all().await;
    let passed = crew.proxy.passed();
    assert_eq!(passed.calls("bus_publish_all"), 400);
    assert!(passed.most_connections <= MOST, "{} connections", passed.most_connections);
    assert_eq!(passed.most_websockets, 0, "who only publishes does not listen");
}
