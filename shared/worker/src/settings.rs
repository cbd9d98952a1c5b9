use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use model::{Shard, Tenant, Word, duration};

/// What a worker serves, how much at a time, and how it stops.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Worker")]
pub struct WorkerSettings {
    /// First word of the stage this worker serves; a check, since its handlers know their stages.
    #[arg(long, env)]
    pub agent_service: Option<Word>,

    /// Second word of the stage this worker serves; a check, since its handlers know their stages.
    #[arg(long, env)]
    pub agent_role: Option<Word>,

    /// Which shards it serves: `0`, `0,2`, `0-3`, or `*` for every shard.
    #[arg(long, env, default_value = "0")]
    pub agent_shard: Shards,

    /// The one tenant it serves; every tenant unless set.
    #[arg(long, env)]
    pub agent_tenant: Option<Tenant>,

    /// The name its leases carry, unique among living workers; made from the host's unless set.
    #[arg(long, env)]
    pub holder_id: Option<String>,

    /// Messages handled at the same time.
    ///
    /// More uses idle waits better, but a claimed message waits in this process while others might
    /// be free.
    #[arg(long, env, default_value = "16")]
    pub worker_slots: NonZeroUsize,

    /// How long a shutdown waits for running handlers.
    ///
    /// Whatever is not finished then goes back to the queue without spending an attempt. Keep
    /// terminationGracePeriodSeconds some seconds longer.
    #[arg(long, env, default_value = "30s", value_parser = duration)]
    pub worker_grace: Duration,

    /// Time between two heartbeats. Leases are looked after separately, at a third of their length.
    #[arg(long, env, default_value = "10s", value_parser = duration)]
    pub worker_beat: Duration,

    /// The pod this process is, as Kubernetes' downward API knows it.
    #[arg(long, env)]
    pub pod_uid: Option<String>,

    /// The container image this process runs from.
    #[arg(long, env = "COGO_IMAGE")]
    pub cogo_image: Option<String>,

    /// Its digest.
    #[arg(long, env)]
    pub cogo_image_digest: Option<String>,

    /// The release it was rolled out for.
    #[arg(long, env = "COGO_RELEASE_ID")]
    pub cogo_release_id: Option<String>,
}

/// Some shards of a stage, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shards {
    Every,
    These(Vec<Shard>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name shards; write `0`, `0,2`, `0-3` or `*`")]
pub struct InvalidShards(String);

/// As many as one worker may name one by one; beyond that, `*` is meant.
const MOST_SHARDS: i32 = 1024;

impl FromStr for Shards {
    type Err = InvalidShards;

    fn from_str(text: &str) -> Result<Self, InvalidShards> {
        if text == "*" {
            return Ok(Self::Every);
        }
        let invalid = || InvalidShards(text.to_owned());
        let number = |text: &str| text.parse::<Shard>().map(Shard::get).map_err(|_| invalid());
        let mut shards = Vec::new();
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if last < first || last - first >= MOST_SHARDS {
                return Err(invalid());
            }
            shards.extend(first..=last);
        }
        shards.sort_unstable();
        shards.dedup();
        let shards = shards.into_iter().map(|shard| shard.try_into().expect("parsed above"));
        Ok(Self::These(shards.collect()))
    }
}

impl fmt::Display for Shards {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => out.write_str("*"),
            Self::These(shards) => {
                let shards: Vec<String> = shards.iter().map(ToString::to_string).collect();
                out.write_str(&shards.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read_as_people_write_them() {
        for (text, means) in
            [("0", "0"), ("0,2", "0,2"), ("0-3", "0,1,2,3"), ("5,0-1,1", "0,1,5"), ("*", "*")]
        {
            assert_eq!(text.parse::<Shards>().unwrap().to_string(), means);
        }
        for text in ["", "a", "-1", "3-1", "0-", "0,,1", "0-4000000", "1.5", "**"] {
            assert!(text.parse::<Shards>().is_err(), "{text}");
        }
    }
}
