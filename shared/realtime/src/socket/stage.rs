use tokio::time::Instant;

/// How far a join has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    /// Joins at this moment, if there is a connection.
    Waiting {
        until: Instant,
    },
    Joining {
        join: u64,
        until: Instant,
        heard: Sources,
    },
    /// The join is answered; the sources are not up yet.
    Settling {
        join: u64,
        until: Instant,
        heard: Sources,
    },
    Ready {
        join: u64,
        since: Instant,
    },
}

impl Stage {
    /// The number of the join that counts.
    pub(crate) fn join(self) -> Option<u64> {
        match self {
            Self::Waiting { .. } => None,
            Self::Joining { join, .. } | Self::Settling { join, .. } | Self::Ready { join, .. } => {
                Some(join)
            }
        }
    }
}

/// Which sources said that they are up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) changes: bool,
    pub(crate) replication: bool,
}
