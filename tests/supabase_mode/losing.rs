use std::fmt;
use std::time::Duration;

use bus::BusSettings;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use testkit::{Awkward, Rate};
use tokio::time::sleep;

use crate::crew::Crew;

const POLL_MS: u64 = 3_000;
const WORKERS: usize = 2;

/// What is done to the doorbell while messages come in.
#[derive(Clone, Copy, Debug, Default)]
struct Storm {
    messages: usize,
    /// Up to this long between two messages.
    pause_ms: u64,
    /// Most rings are thrown away, and nobody is told.
    limited: bool,
    /// Realtime says 1012 and is away for a while, again and again.
    restarts: bool,
    /// Connections are cut, each with this chance, again and again.
    cuts: f64,
}

struct Weathered {
    dropped: u64,
    restarts: usize,
    cuts: usize,
    /// Milliseconds between insert and claim of what was claimed once: half of them waited no longer
    /// than the first, and none longer than the second.
    late_ms: [i32; 2],
}

impl fmt::Display for Weathered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dropped, restarts, cuts, late_ms: [half, all] } = self;
        write!(
            out,
            "{dropped} rings dropped, {restarts} restarts, {cuts} cuts; messages waited {half} ms \
             (median), {all} ms at most"
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_whatever_becomes_of_the_doorbell() {
    let storm = Storm { messages: 300, pause_ms: 40, limited: true, restarts: true, cuts: 0.3 };
    let weathered = weather(storm).await;
    println!("{weathered}");
    let Weathered { dropped, restarts, cuts, .. } = weathered;
    assert!(dropped > 0 && restarts > 0 && cuts > 0, "there was no storm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: how late a message is when its ring is lost"]
async fn the_lateness_of_lost_rings() {
    let calm = Storm { messages: 60, pause_ms: 1_000, ..Storm::default() };
    println!("a poll of {POLL_MS} ms, {WORKERS} workers, up to a second between messages");
    for (name, storm) in [
        ("every ring arrives", calm),
        ("rings are dropped above a rate", Storm { limited: true, ..calm }),
        ("Realtime restarts", Storm { restarts: true, ..calm }),
        ("connections are cut", Storm { cuts: 0.3, ..calm }),
        ("all of it", Storm { limited: true, restarts: true, cuts: 0.3, ..calm }),
    ] {
        println!("{name}: {}", weather(storm).await);
    }
}

/// Goes through a storm, and finds every message done exactly once.
async fn weather(storm: Storm) -> Weathered {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let rate = Rate { per_second: 1, over: Duration::from_secs(4) };
    let rate = storm.limited.then_some(rate);
    let mut crew = Crew::new(Awkward { rate, ..Awkward::default() }).await;
    let poll = BusSettings { bus_poll_ms: POLL_MS, ..BusSettings::default() };
    for worker in 0..WORKERS {
        crew.start(&format!("w{worker}"), 2, &poll);
    }
    crew.keep();
    crew.until("select count(*) > 0 from cogo.parked").await;

    let pauses: Vec<u64> =
        (0..storm.messages).map(|_| rng.random_range(0..=storm.pause_ms)).collect();
    let inserting = async {
        for pause in pauses {
            crew.insert().await;
            sleep(Duration::from_millis(pause)).await;
        }
    };
    let (mut restarts, mut cuts) = (0, 0);
    let storming = async {
        loop {
            sleep(Duration::from_millis(rng.random_range(100..800))).await;
            let away = Duration::from_millis(rng.random_range(0..400));
            if storm.restarts && rng.random_bool(0.5) {
                crew.supabase.realtime.restart(away).await;
                restarts += 1;
            }
            cuts += crew.proxy.cut(&mut rng, storm.cuts);
        }
    };
    tokio::select! {
        () = inserting => {}
        () = storming => {}
    }
    let messages = storm.messages;
    crew.until(&format!("select count(*) = {messages} from cogo.receipts")).await;
    let dropped = crew.supabase.realtime.counts().dropped;
    crew.stops().await;

    let states = "select string_agg(distinct status, ', ') from public.agent_messages";
    assert_eq!(crew.text(states).await, "done");
    let once = "select string_agg(distinct times::text, ', ') from (
        select count(event.id) as times from public.agent_messages as message
        left join public.bus_events as event
            on event.message_id = message.id and event.event_type = 'probe_done'
        group by message.id) as counted";
    assert_eq!(crew.text(once).await, "1", "how often messages were done");
    let late_ms = "select (percentile_disc(array[0.5, 1]) within group (
            order by round(1000 * extract(epoch from claimed_at - created_at))))::int[]
        from public.agent_messages where attempts = 1";
    let late_ms: Vec<i32> = crew.sql.query_one(late_ms, &[]).await.unwrap().get(0);
    Weathered { dropped, restarts, cuts, late_ms: late_ms.try_into().unwrap() }
}
