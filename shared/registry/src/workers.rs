use std::time::Duration;

use db::{Statement, Type};
use serde::Deserialize;
use uuid::Uuid;

use crate::statement::statement;
use crate::{Registry, RegistryError};

/// What a worker of a release last said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Heartbeat {
    pub release_id: String,
    pub worker_id: String,
    pub pod_uid: Option<String>,
    pub digest: Option<String>,
    /// starting, ready or draining.
    pub state: String,
    pub silent_ms: i64,
}

/// How many other workers there are, and how many of them have fallen silent: if all have, it is
/// the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    pub workers: i64,
    pub silent: i64,
}

/// What became of the messages that the workers of a release had lately.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Outcomes {
    pub release_id: String,
    pub done: i64,
    pub failed: i64,
    pub work_p50_ms: Option<f64>,
    pub work_p90_ms: Option<f64>,
}

pub(crate) static HEARTBEATS: Statement = statement(
    "registry.heartbeats",
    "select public.rollout_heartbeats(p_releases => $1)",
    &[Type::TEXT_ARRAY],
);
pub(crate) static PULSE: Statement = statement(
    "registry.pulse",
    "select workers, silent from public.rollout_pulse(p_except => $1, p_recent_ms => $2,
        p_silent_ms => $3)",
    &[Type::TEXT_ARRAY, Type::INT8, Type::INT8],
);
pub(crate) static OUTCOMES: Statement = statement(
    "registry.outcomes",
    "select public.rollout_outcomes(p_releases => $1, p_since_ms => $2)",
    &[Type::TEXT_ARRAY, Type::INT8],
);

impl Registry {
    pub async fn heartbeats(&self, releases: &[Uuid]) -> Result<Vec<Heartbeat>, RegistryError> {
        self.read(&HEARTBEATS, &[&texts(releases)]).await
    }

    /// Of the workers of all other releases that were heard of within `recent`.
    pub async fn pulse(
        &self,
        except: &[Uuid],
        recent: Duration,
        silent: Duration,
    ) -> Result<Pulse, RegistryError> {
        let parameters: [&dyn db::Parameter; 3] = [&texts(except), &ms(recent), &ms(silent)];
        let row = self.db().query_one(&PULSE, &parameters).await?;
        Ok(Pulse { workers: row.get(0), silent: row.get(1) })
    }

    pub async fn outcomes(
        &self,
        releases: &[Uuid],
        since: Duration,
    ) -> Result<Vec<Outcomes>, RegistryError> {
        self.read(&OUTCOMES, &[&texts(releases), &ms(since)]).await
    }
}

fn texts(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(Uuid::to_string).collect()
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
