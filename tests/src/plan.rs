use std::time::Duration;

use model::{Shard, Tenant};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::act::Part;

/// One message, and all that is out of the ordinary about it.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub n: i64,
    pub part: Part,
    pub takes: Duration,
    pub tenant: Tenant,
    pub shard: Shard,
    pub priority: i16,
    pub ordering_key: Option<String>,
    pub delay: Option<Duration>,
    pub ttl: Option<Duration>,
    pub max_attempts: Option<i32>,
    pub cancel_after: Option<Duration>,
}

/// Messages that go out together.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub how: How,
    pub messages: Vec<Planned>,
    /// Which publisher sends it. All messages of one ordering key go through one, one after another,
    /// so that there is an order to be kept.
    pub lane: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// With an idempotency key, again and again until it is acknowledged.
    Keyed,
    /// The same, by two callers at the same time.
    Twice,
    /// The same, several in one transaction.
    Together,
    /// A plain SQL insert, tried once.
    Inserted,
    /// A plain SQL insert whose transaction is rolled back.
    RolledBack,
}

pub(crate) const LANES: usize = 8;
const KEYS: usize = 24;
const TENANTS: usize = 3;

pub(crate) fn plan(rng: &mut StdRng, messages: usize) -> Vec<Sending> {
    let mut sendings = Vec::new();
    let mut n = 0;
    let total = i64::try_from(messages).expect("far fewer messages");
    while n < total {
        let key = rng.random_bool(0.15).then(|| rng.random_range(0..KEYS));
        let how = match rng.random_range(0..100) {
            0..10 => How::Twice,
            10..20 => How::Together,
            20..35 if key.is_none() => How::Inserted,
            35..40 if key.is_none() => How::RolledBack,
            _ => How::Keyed,
        };
        let count = if how == How::Together { rng.random_range(2..=12) } else { 1 };
        let count = count.min(total - n);
        let messages = (n..n + count).map(|n| planned(rng, n, key)).collect();
        let lane = key.unwrap_or_else(|| rng.random_range(0..LANES)) % LANES;
        sendings.push(Sending { how, messages, lane });
        n += count;
    }
    sendings
}

fn planned(rng: &mut StdRng, n: i64, key: Option<usize>) -> Planned {
    let part = match rng.random_range(0..200) {
        0..50 => Part::Event,
        50..80 => Part::Follow,
        80..100 => Part::Flaky,
        100..104 => Part::Fails,
        104..108 => Part::Panics,
        108..112 => Part::Refuses,
        112..114 => Part::Garbled,
        // One that keeps its key's successors waiting for seconds is enough for another day.
        114..121 if key.is_none() => Part::Slow,
        _ => Part::Row,
    };
    let takes = match part {
        Part::Slow => rng.random_range(2_500..4_500),
        _ if key.is_some() => rng.random_range(0..30),
        _ => rng.random_range(0..250),
    };
    let sometimes = |rng: &mut StdRng, chance, from, to| {
        rng.random_bool(chance).then(|| Duration::from_millis(rng.random_range(from..to)))
    };
    let delay = sometimes(rng, 0.08, 20, 3_000);
    let ttl = sometimes(rng, 0.05, 20, 3_000);
    let cancel_after = sometimes(rng, 0.05, 0, 500);
    let max_attempts = match part {
        Part::Fails | Part::Panics => Some(rng.random_range(1..=4)),
        _ => rng.random_bool(0.04).then(|| rng.random_range(1..=3)),
    };
    let priority = if rng.random_bool(0.1) { rng.random_range(-2..=2) } else { 0 };
    let tenant = key.unwrap_or_else(|| rng.random_range(0..TENANTS)) % TENANTS;
    let shard = key.map_or_else(|| rng.random_range(0..2), |key| i32::from(key % 2 == 1));
    Planned {
        n,
        part,
        takes: Duration::from_millis(takes),
        tenant: format!("tenant-{tenant}").parse().expect("it is a tenant"),
        shard: shard.try_into().expect("0 and 1 are shards"),
        priority,
        ordering_key: key.map(|key| format!("key-{key}")),
        delay,
        ttl,
        max_attempts,
        cancel_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_seed_decides_the_plan() {
        let plan_of = |seed| format!("{:?}", plan(&mut StdRng::seed_from_u64(seed), 500));
        assert_eq!(plan_of(1), plan_of(1));
        assert_ne!(plan_of(1), plan_of(2));
    }

    #[test]
    fn the_plan_has_every_message_once_and_each_key_in_one_lane() {
        let sendings = plan(&mut StdRng::seed_from_u64(3), 2_000);
        let numbers: Vec<i64> =
            sendings.iter().flat_map(|sending| &sending.messages).map(|one| one.n).collect();
        assert_eq!(numbers, (0..2_000).collect::<Vec<_>>());
        let mut lanes = std::collections::BTreeMap::new();
        for sending in &sendings {
            for key in sending.messages.iter().filter_map(|one| one.ordering_key.clone()) {
                assert_eq!(*lanes.entry(key).or_insert(sending.lane), sending.lane);
            }
        }
        assert_eq!(lanes.len(), KEYS);
    }
}
