use std::time::{Duration, Instant};

use bus::{Bus, BusError, Doorbell, RealtimeNeed};
use realtime::{Channel, Endpoint, Happening, JoinOptions, Realtime, RealtimeOptions};
use tokio::time::timeout;

use super::check::{Check, advice, broken, failed, fine, wrong};
use crate::human::duration;

const CHECK: &str = "realtime";
/// Ours it joins at once; a refusal comes after 5 s.
const JOINING: Duration = Duration::from_secs(12);
/// A ring that takes longer than this is as good as lost.
const LONGEST_RING: Duration = Duration::from_secs(5);
const RING_IS_SLOW: Duration = Duration::from_secs(1);
const ATTACH: &str = "select cogo.attach_realtime()";

/// What Realtime needs of the database, and whether a ring arrives.
pub(super) async fn examine(bus: &Bus, endpoint: &Endpoint) -> Vec<Check> {
    let mut checks = match bus.realtime_needs().await {
        Ok(needs) => told(&needs, bus.doorbell()),
        Err(error) => vec![failed("realtime setup", &error)],
    };
    checks.push(ring(bus, endpoint).await);
    checks
}

fn told(needs: &[RealtimeNeed], doorbell: Doorbell) -> Vec<Check> {
    let check = "realtime setup";
    let missing: Vec<Check> = needs
        .iter()
        .filter(|need| !need.fine)
        .map(|RealtimeNeed { name, .. }| {
            // Only those who are told by postgres_changes miss it.
            let matters = !name.contains("publication") || doorbell == Doorbell::PostgresChanges;
            let tell = if matters { wrong } else { advice };
            tell(check, format!("missing: {name}"), ATTACH)
        })
        .collect();
    if missing.is_empty() {
        let names: Vec<&str> = needs.iter().map(|need| need.name.as_str()).collect();
        return vec![fine(check, format!("there are {}", names.join(", ")))];
    }
    missing
}

/// Joins a private topic of our own and rings it, as the database rings a worker.
async fn ring(bus: &Bus, endpoint: &Endpoint) -> Check {
    // A canary would only cost messages.
    let options = RealtimeOptions { canary: None, ..RealtimeOptions::default() };
    let realtime = Realtime::new(endpoint, &options);
    let topic = format!("cogo:doctor:{}", uuid::Uuid::new_v4().simple());
    let join = JoinOptions { private: true, replication_ready: true, ..JoinOptions::default() };
    let mut channel = realtime.join(&topic, join).expect("the topic is short and new");
    let check = match timeout(JOINING, ready(&mut channel)).await {
        Ok(Ok(())) => rung(bus, &mut channel, &topic).await,
        Ok(Err(why)) => why,
        Err(_) => wrong(
            CHECK,
            format!(
                "did not let us join within {}; the connection is {}",
                duration(JOINING),
                realtime.status().borrow().link.told()
            ),
            "check that Realtime runs for this project; its log says more",
        ),
    };
    drop(channel);
    realtime.close().await;
    check
}

/// The first reason counts: it would be tried again for ever.
async fn ready(channel: &mut Channel) -> Result<(), Check> {
    while let Some(happening) = channel.next().await {
        match happening {
            Happening::Ready => return Ok(()),
            Happening::Down { why } => return Err(broken(CHECK, &*why)),
            Happening::Broadcast(_) | Happening::Change(_) | Happening::Missed(_) => {}
        }
    }
    unreachable!("nobody else closes the connection")
}

async fn rung(bus: &Bus, channel: &mut Channel, topic: &str) -> Check {
    let mut best = None;
    // The first one may pay for opening a connection.
    for _ in 0..3 {
        let rung_at = Instant::now();
        match timeout(LONGEST_RING, one(bus, channel, topic)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return failed(CHECK, &error),
            Err(_) => {
                return wrong(
                    CHECK,
                    "we rang ourselves and heard nothing for 5 s".to_owned(),
                    "see whether realtime.messages has a partition for today, whether the rate \
                     limit is passed, and Realtime's log",
                );
            }
        }
        let took = rung_at.elapsed();
        best = Some(best.map_or(took, |best: Duration| best.min(took)));
    }
    let took = best.expect("it rang");
    let found = format!("a ring comes back over it in {}", duration(took));
    if took > RING_IS_SLOW {
        return advice(CHECK, found, "it is far away or overloaded; workers hear as late");
    }
    fine(CHECK, found)
}

async fn one(bus: &Bus, channel: &mut Channel, topic: &str) -> Result<(), BusError> {
    bus.ring_topic(topic).await?;
    while let Some(happening) = channel.next().await {
        if let Happening::Broadcast(_) = happening {
            break;
        }
    }
    Ok(())
}
