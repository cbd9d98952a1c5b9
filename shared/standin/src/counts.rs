use std::sync::atomic::{AtomicU64, Ordering};

/// What happened so far, for tests and for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sockets that are open.
    pub sockets: u64,
    pub joined: u64,
    pub refused: u64,
    /// Broadcasts that arrived, from wherever.
    pub broadcasts: u64,
    /// Copies of broadcasts and of changes on their way to clients.
    pub delivered: u64,
    /// Thrown away because of the rate.
    pub dropped: u64,
    /// Sockets closed because their client read too slowly.
    pub slow: u64,
    /// How often the write-ahead log was looked at.
    pub polls: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sockets: AtomicU64,
    pub(crate) joined: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) broadcasts: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) slow: AtomicU64,
    pub(crate) polls: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn now(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            sockets: read(&self.sockets),
            joined: read(&self.joined),
            refused: read(&self.refused),
            broadcasts: read(&self.broadcasts),
            delivered: read(&self.delivered),
            dropped: read(&self.dropped),
            slow: read(&self.slow),
            polls: read(&self.polls),
        }
    }
}
