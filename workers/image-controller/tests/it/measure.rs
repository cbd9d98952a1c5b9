//! How long it takes, in real time on simulated nodes: from the tag that is recorded to the image
//! that is active, or until what ran before serves again. Prints a table; run one of them by
//! `cargo nextest run -p image-controller --run-ignored=only --no-capture measure::ten`.

use std::collections::HashMap;
use std::time::Duration;

use model::AgentName;
use registry::{Phase, Release};
use simcluster::Fate;
use tokio::time::{Instant, sleep};

use crate::bed::{Bed, Speed};

const SECOND: Duration = Duration::from_secs(1);

fn fates() -> Vec<(&'static str, Fate)> {
    vec![
        ("good", Fate::Ready),
        ("missing image", Fate::MissingImage),
        ("refused pull", Fate::PullRefused),
        ("crash at start", Fate::CrashAtStart),
        ("crash after ready", Fate::CrashAfterReady(3 * SECOND)),
        ("out of memory", Fate::OutOfMemory),
        ("never ready", Fate::NeverReady),
        ("ready, then not", Fate::ReadyThenNot(3 * SECOND)),
        ("flapping", Fate::Flapping(2 * SECOND)),
        ("wrong config", Fate::WrongConfig),
        ("bad command", Fate::BadEntrypoint),
        ("other digest", Fate::OtherDigest),
        ("silent on the bus", Fate::Silent),
        ("admission refused", Fate::Refused),
        ("over quota", Fate::OverQuota),
        // The last: what follows would have to go back to it.
        ("slow, 20 s", Fate::Slow(20 * SECOND)),
    ]
}

/// Rolls all agents at once, once for each fate; kills the controller so many seconds after the
/// tags were recorded, and starts another one.
async fn measure(agents: usize, kills: &[u64]) {
    let bed = Bed::at(Speed::Real).await;
    let mut names = Vec::new();
    for number in 0..agents {
        names.push(bed.agent(&format!("n{number}")).await);
    }
    let mut controller = bed.controller();
    let first = record(&bed, &names, "v1.0.0").await;
    ended(&bed, &first, Instant::now()).await;
    println!("\n{agents} agents at once, controller killed after {kills:?} s\n");
    println!("| fate | ended | code | p50 s | p99 s | longest s |");
    println!("|---|---|---|---|---|---|");
    let mut worst = 0.0_f64;
    for (number, (name, fate)) in fates().into_iter().enumerate() {
        let tag = format!("v1.{}.0", number + 1);
        bed.fate(&tag, fate).await;
        let started = Instant::now();
        let ids = record(&bed, &names, &tag).await;
        for kill in kills {
            let at = started + Duration::from_secs(*kill);
            tokio::time::sleep_until(at).await;
            controller.kill().await;
            controller = bed.controller();
        }
        let releases = ended(&bed, &ids, started).await;
        let mut took: Vec<f64> = releases.iter().map(seconds).collect();
        took.sort_by(f64::total_cmp);
        let at = |part: usize| took[(took.len() * part).div_ceil(100).max(1) - 1];
        let (ends, codes) = (told(&releases, |one| one.phase.to_string()), told(&releases, code));
        let longest = took[took.len() - 1];
        println!("| {name} | {ends} | {codes} | {:.1} | {:.1} | {longest:.1} |", at(50), at(99));
        worst = worst.max(at(99));
        bed.server.let_in().await;
        for agent in &names {
            bed.registry.resume(agent).await.unwrap();
        }
    }
    controller.stop().await;
    assert!(worst < 60.0, "the promise is a minute");
}

async fn record(bed: &Bed, agents: &[AgentName], tag: &str) -> Vec<uuid::Uuid> {
    let mut ids = Vec::new();
    for agent in agents {
        ids.push(bed.record(agent, tag).await);
    }
    ids
}

/// All of them, once each has come to an end.
async fn ended(bed: &Bed, ids: &[uuid::Uuid], started: Instant) -> Vec<Release> {
    let most = i32::try_from(ids.len()).unwrap();
    loop {
        let newest = bed.registry.releases(None, most).await.unwrap();
        let ours: Vec<Release> = newest.into_iter().filter(|one| ids.contains(&one.id)).collect();
        if ours.len() == ids.len() && ours.iter().all(|one| one.phase.is_over()) {
            return ours;
        }
        if started.elapsed() > 180 * SECOND {
            let left = ours.iter().filter(|one| !one.phase.is_over());
            let left: Vec<_> =
                left.map(|one| (&one.agent_name, one.phase, &one.failure_code)).collect();
            panic!("not over after three minutes: {left:?}");
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn seconds(release: &Release) -> f64 {
    Duration::from_millis(u64::try_from(release.took_ms).unwrap()).as_secs_f64()
}

fn code(release: &Release) -> String {
    match release.phase {
        Phase::Active => "–".to_owned(),
        _ => release.failure_code.clone().unwrap_or_default(),
    }
}

/// The values there are, and how often.
fn told(releases: &[Release], of: impl Fn(&Release) -> String) -> String {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for release in releases {
        *counts.entry(of(release)).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), value.clone()));
    let one = |(value, count): (String, usize)| match count {
        count if count == releases.len() => value,
        count => format!("{value} ({count})"),
    };
    counts.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes, and measures"]
async fn one() {
    measure(1, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes, and measures"]
async fn ten() {
    measure(10, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes, and measures"]
async fn hundred() {
    measure(100, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes fifteen minutes, and measures"]
async fn ten_under_a_controller_that_is_killed_again_and_again() {
    measure(10, &[1, 4, 9, 14]).await;
}
