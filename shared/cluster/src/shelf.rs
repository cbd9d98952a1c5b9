use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use crate::Trouble;
use crate::read::Kind;

/// What is known of one kind in one namespace.
pub(crate) struct Shelf<T>(Mutex<Known<T>>);

pub(crate) struct Known<T> {
    /// By name.
    items: HashMap<String, T>,
    /// When it was last known to be true; `None` until all was read once.
    pub(crate) seen: Option<Instant>,
    /// Since when there was no gap.
    pub(crate) since: Option<Instant>,
    /// Why it cannot be looked at any more.
    pub(crate) trouble: Option<Trouble>,
}

impl<T: Kind> Shelf<T> {
    pub(crate) fn new() -> Self {
        let known = Known { items: HashMap::new(), seen: None, since: None, trouble: None };
        Self(Mutex::new(known))
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known<T>> {
        self.0.lock().expect("whoever holds it only copies")
    }

    /// All of it, read just now.
    pub(crate) fn replace(&self, objects: Vec<(String, T)>, now: Instant) {
        let mut known = self.known();
        let mut before = std::mem::take(&mut known.items);
        let remembered = objects.into_iter().map(|(name, mut item)| {
            if let Some(before) = before.remove(&name) {
                item.remember(&before);
            }
            (name, item)
        });
        known.items = remembered.collect();
        known.heard(now);
    }

    pub(crate) fn put(&self, name: String, mut item: T, now: Instant) {
        let mut known = self.known();
        if let Some(before) = known.items.get(&name) {
            item.remember(before);
        }
        known.items.insert(name, item);
        known.heard(now);
    }

    pub(crate) fn remove(&self, name: &str, now: Instant) {
        let mut known = self.known();
        known.items.remove(name);
        known.heard(now);
    }

    /// The watch is alive, though nothing changed.
    pub(crate) fn alive(&self, now: Instant) {
        self.known().heard(now);
    }

    pub(crate) fn failed(&self, trouble: Trouble) {
        let mut known = self.known();
        known.trouble = Some(trouble);
        known.since = None;
    }
}

impl<T> Known<T> {
    fn heard(&mut self, now: Instant) {
        self.seen = Some(now);
        self.since.get_or_insert(now);
        self.trouble = None;
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.items.get(name)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.items.values()
    }
}
