use std::time::{Duration, Instant};

/// A worker of the release that is judged, as the bus last heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub release_id: String,
    pub pod_uid: String,
    /// Since when it says without a gap that it is ready to claim; `None`: it does not.
    pub ready: Option<Instant>,
    pub heard: Instant,
}

/// What is on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub id: String,
    pub digest: String,
    /// Of the Deployment, once it was changed.
    pub generation: i64,
    pub question: Question,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is this new release good?
    IsGood,
    /// Does this release, which was good before, serve again?
    IsBack,
}

/// The time, and what it means for this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    pub now: Instant,
    pub deadline: Instant,
    /// When nothing could be known for the last time.
    pub held: Option<Instant>,
    /// The workers of all agents that nobody changes have fallen silent as well.
    pub bus_is_out: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a release has to be well before it is called good.
    pub soak: Duration,
    /// How long a refused pull is given to be a mistake.
    pub pull: Duration,
    /// How long pods that are well may stay silent on the bus.
    pub silent: Duration,
    /// How old the last heartbeat of a worker may be.
    pub beat: Duration,
    /// How long a quota may be exceeded, by pods that are still going for instance.
    pub quota: Duration,
    /// How old what was seen of the cluster may be.
    pub stale: Duration,
    /// How much time there is left after nothing could be known.
    pub after_hold: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            soak: Duration::from_secs(5),
            pull: Duration::from_secs(2),
            silent: Duration::from_secs(20),
            beat: Duration::from_secs(25),
            quota: Duration::from_secs(10),
            stale: Duration::from_secs(25),
            after_hold: Duration::from_secs(15),
        }
    }
}
