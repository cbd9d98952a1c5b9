use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How many different rings are remembered until somebody asks. A ring is a route, and a process
/// listens for few; beyond this it is cheaper to look everywhere.
const RINGS_REMEMBERED: usize = 1024;

/// What rang since somebody last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Each different ring once, however often it rang; in the order of their first.
    pub rang: Vec<Rang>,
    /// There was more than could be remembered, or some of it was missed: take it that everything
    /// rang.
    pub more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rang {
    /// Of NOTIFY, or a topic of Realtime.
    pub channel: String,
    pub payload: String,
}

/// Rings since somebody last asked, each different one once. A map instead of a channel, because a
/// thousand rings for one route mean what one means; and no ring may wait for a slow reader.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<Rung>,
    pub(crate) notify: Notify,
}

#[derive(Debug, Default)]
struct Rung {
    /// Each with how many had rung before it.
    rang: BTreeMap<Rang, usize>,
    more: bool,
}

impl Bell {
    pub(crate) fn ring(&self, rang: Rang) {
        let mut rung = self.rung();
        let before = rung.rang.len();
        if before < RINGS_REMEMBERED {
            rung.rang.entry(rang).or_insert(before);
        } else {
            // Which one is forgotten, that something rang is not.
            rung.more |= !rung.rang.contains_key(&rang);
        }
        drop(rung);
        self.notify.notify_one();
    }

    /// Something may have rung that was not heard.
    pub(crate) fn ring_everything(&self) {
        self.rung().more = true;
        self.notify.notify_one();
    }

    pub(crate) fn take(&self) -> Option<Heard> {
        let Rung { rang, more } = take(&mut *self.rung());
        let mut rang: Vec<(Rang, usize)> = rang.into_iter().collect();
        rang.sort_unstable_by_key(|(_, before)| *before);
        let rang: Vec<Rang> = rang.into_iter().map(|(rang, _)| rang).collect();
        if rang.is_empty() && !more { None } else { Some(Heard { rang, more }) }
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        // A map is whole whenever the lock is free.
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
