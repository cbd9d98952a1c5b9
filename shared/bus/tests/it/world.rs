//! What should be: a model of the bus small enough to be seen to be right.

use std::collections::BTreeMap;

use proptest::sample::Index;
use uuid::Uuid;

/// Moments of the model, in seconds. Time only passes by steps of [`STEP`], and nothing ends at a
/// multiple of it, so the moments that the real clock adds meanwhile change nothing.
pub(crate) type Seconds = u64;
pub(crate) const STEP: Seconds = 60;
pub(crate) const LEASE: Seconds = 100;
pub(crate) const WAIT: Seconds = 45;
pub(crate) const TTL: Seconds = 130;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Retry,
    Fail,
    Release,
    Cancel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Ready,
    Later {
        due: Seconds,
    },
    /// For its turn.
    Waiting {
        due: Option<Seconds>,
    },
    Leased {
        lease: Uuid,
        until: Seconds,
        cancelled: bool,
    },
    Ended(&'static str),
}

#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) place: Place,
    pub(crate) tenant: u8,
    pub(crate) priority: i16,
    pub(crate) key: Option<u8>,
    pub(crate) attempts: i32,
    pub(crate) max_attempts: i32,
    pub(crate) expires: Option<Seconds>,
}

impl Known {
    pub(crate) fn stream(&self) -> Option<(u8, u8)> {
        self.key.map(|key| (self.tenant, key))
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.place, Place::Ended(_))
    }
}

/// What should be.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) now: Seconds,
    pub(crate) paused: bool,
    pub(crate) messages: BTreeMap<i64, Known>,
    /// Every lease ever given.
    pub(crate) leases: Vec<(i64, Uuid)>,
}

impl World {
    pub(crate) fn arrive(&mut self, id: i64, mut known: Known, due: Option<Seconds>) {
        let taken = known.stream().is_some_and(|stream| {
            self.messages.values().any(|other| {
                other.stream() == Some(stream)
                    && !other.is_ended()
                    && !matches!(other.place, Place::Waiting { .. })
            })
        });
        known.place = match due {
            due if taken => Place::Waiting { due },
            Some(due) => Place::Later { due },
            None => Place::Ready,
        };
        self.messages.insert(id, known);
    }

    pub(crate) fn end(&mut self, id: i64, how: &'static str) {
        let message = self.messages.get_mut(&id).unwrap();
        let had_its_turn = !matches!(message.place, Place::Waiting { .. });
        message.place = Place::Ended(how);
        let stream = message.stream();
        if had_its_turn {
            self.next_of(stream);
        }
    }

    pub(crate) fn next_of(&mut self, stream: Option<(u8, u8)>) {
        let now = self.now;
        let next = self.messages.values_mut().find(|other| {
            stream.is_some()
                && other.stream() == stream
                && matches!(other.place, Place::Waiting { .. })
        });
        if let Some(next) = next {
            next.place = match next.place {
                Place::Waiting { due: Some(due) } if due > now => Place::Later { due },
                _ => Place::Ready,
            };
        }
    }

    /// The current lease of a message, if that is it.
    pub(crate) fn holds(&self, id: i64, lease: Uuid) -> bool {
        let place = self.messages.get(&id).map(|message| message.place);
        matches!(place, Some(Place::Leased { lease: current, .. }) if current == lease)
    }

    pub(crate) fn settle(&mut self, id: i64, outcome: Outcome) {
        let now = self.now;
        let message = self.messages.get_mut(&id).unwrap();
        let Place::Leased { cancelled, .. } = message.place else { unreachable!() };
        let asked = cancelled && matches!(outcome, Outcome::Retry | Outcome::Release);
        if outcome == Outcome::Release && !asked {
            message.place = Place::Ready;
            return;
        }
        message.attempts += 1;
        match outcome {
            Outcome::Done => self.end(id, "done"),
            Outcome::Cancel => self.end(id, "cancelled"),
            _ if asked => self.end(id, "cancelled"),
            Outcome::Retry if message.attempts < message.max_attempts => {
                message.place = Place::Later { due: now + WAIT };
            }
            _ => self.end(id, "failed"),
        }
    }

    pub(crate) fn promote(&mut self) {
        for message in self.messages.values_mut() {
            if matches!(message.place, Place::Later { due } if due <= self.now) {
                message.place = Place::Ready;
            }
        }
    }

    pub(crate) fn those(&self, which: impl Fn(&Known) -> bool) -> Vec<i64> {
        self.messages.iter().filter(|(_, message)| which(message)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn sweep(&mut self) {
        let now = self.now;
        let lost = self
            .those(|message| matches!(message.place, Place::Leased { until, .. } if until < now));
        for id in lost {
            let message = self.messages.get_mut(&id).unwrap();
            message.attempts += 1;
            match message.place {
                Place::Leased { cancelled: true, .. } => self.end(id, "cancelled"),
                _ if message.attempts < message.max_attempts => message.place = Place::Ready,
                _ => self.end(id, "failed"),
            }
        }
        let late = |message: &Known| message.expires.is_some_and(|expires| expires <= now);
        let expired = self.those(|message| {
            late(message) && matches!(message.place, Place::Ready | Place::Later { .. })
        });
        for id in expired {
            self.end(id, "failed");
        }
        let expired =
            self.those(|message| late(message) && matches!(message.place, Place::Waiting { .. }));
        for id in expired {
            self.end(id, "failed");
        }
        self.promote();
    }

    /// What a claim may give.
    pub(crate) fn claimable(&self, tenant: Option<u8>) -> Vec<i64> {
        if self.paused {
            return Vec::new();
        }
        self.those(|message| {
            message.place == Place::Ready
                && tenant.is_none_or(|tenant| message.tenant == tenant)
                && message.expires.is_none_or(|expires| expires > self.now)
        })
    }

    pub(crate) fn any(&self, index: Index) -> Option<i64> {
        let ids: Vec<i64> = self.messages.keys().copied().collect();
        if ids.is_empty() { None } else { Some(*index.get(&ids)) }
    }

    pub(crate) fn lease(&self, index: Index) -> Option<(i64, Uuid)> {
        if self.leases.is_empty() { None } else { Some(*index.get(&self.leases)) }
    }

    /// As [`there`] reads it: id, place, attempts, whether it has a cancellation.
    pub(crate) fn told(&self) -> Vec<(i64, String, i32, bool)> {
        let told = self.messages.iter().map(|(id, message)| {
            let (place, running, cancelled) = match message.place {
                Place::Ready => ("ready", 0, false),
                Place::Later { .. } => ("later", 0, false),
                Place::Waiting { .. } => ("waiting", 0, false),
                Place::Leased { cancelled, .. } => ("claimed", 1, cancelled),
                Place::Ended(how) => (how, 0, false),
            };
            (*id, place.to_owned(), message.attempts + running, cancelled)
        });
        told.collect()
    }
}
