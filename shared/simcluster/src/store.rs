use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use crate::kind::Kind;
use crate::look;
use crate::refusal::Refusal;

/// Every object, and what became of them lately. Each change has the next number, as in etcd.
pub(crate) struct Store {
    version: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    /// What says it belongs to an object, by that object's uid.
    belongings: HashMap<String, BTreeSet<Key>>,
    log: VecDeque<Change>,
    /// How many changes are remembered for those who watch.
    remembers: usize,
    /// Whoever has seen less than this must list anew.
    compacted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: &'static Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Added,
    Modified,
    Deleted,
}

#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) kind: &'static Kind,
    pub(crate) what: What,
    /// As it is now; of what was deleted, as it last was.
    pub(crate) object: Arc<Value>,
    pub(crate) before: Option<Arc<Value>>,
}

/// A fresh server has made objects of its own before anybody asks, and forgotten how.
const BEGINNING: u64 = 100;

impl Key {
    pub(crate) fn new(kind: &'static Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn of(kind: &'static Kind, object: &Value) -> Self {
        Self::new(kind, look::namespace(object), look::name(object))
    }
}

impl Store {
    pub(crate) fn new(remembers: usize) -> Self {
        Self {
            version: BEGINNING,
            objects: BTreeMap::new(),
            belongings: HashMap::new(),
            log: VecDeque::new(),
            remembers,
            compacted: BEGINNING,
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(crate) fn get(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
    ) -> Option<&Arc<Value>> {
        self.objects.get(&Key::new(kind, namespace, name))
    }

    pub(crate) fn expect(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Value>, Refusal> {
        self.get(kind, namespace, name).cloned().ok_or_else(|| Refusal::not_found(kind, name))
    }

    /// All of a kind, in one namespace or, without one, in all.
    pub(crate) fn list<'a>(
        &'a self,
        kind: &'static Kind,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Value>> + use<'a> {
        let first = Key::new(kind, namespace.unwrap_or_default(), "");
        self.objects
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |(key, _)| {
                key.kind == kind && namespace.is_none_or(|one| key.namespace == one)
            })
            .map(|(_, object)| object)
    }

    /// What a controller owns, of one kind.
    pub(crate) fn owned<'a>(
        &'a self,
        kind: &'static Kind,
        uid: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Value>> + use<'a> {
        let keys = self.belongings.get(uid).into_iter().flatten();
        keys.filter(move |key| key.kind == kind)
            .filter_map(|key| self.objects.get(key))
            .filter(move |one| look::is_controlled_by(one, uid))
    }

    /// Everything in a namespace, of any kind.
    pub(crate) fn inside(&self, namespace: &str) -> Vec<Key> {
        self.objects.keys().filter(|key| key.namespace == namespace).cloned().collect()
    }

    /// Everything that says it belongs to this object.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Key> {
        self.belongings.get(uid).into_iter().flatten().cloned().collect()
    }

    pub(crate) fn put(&mut self, kind: &'static Kind, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(object);
        let key = Key::of(kind, &object);
        let before = self.objects.insert(key.clone(), object.clone());
        if let Some(before) = &before {
            self.disown(&key, before);
        }
        for uid in owners(&object) {
            self.belongings.entry(uid.to_owned()).or_default().insert(key.clone());
        }
        let what = if before.is_some() { What::Modified } else { What::Added };
        self.remember(Change { version: self.version, kind, what, object: object.clone(), before });
        object
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.disown(key, &before);
        self.version += 1;
        let mut last = Value::clone(&before);
        last["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(last);
        self.remember(Change {
            version: self.version,
            kind: key.kind,
            what: What::Deleted,
            object: object.clone(),
            before: Some(before),
        });
        Some(object)
    }

    fn disown(&mut self, key: &Key, object: &Value) {
        for uid in owners(object) {
            let Some(keys) = self.belongings.get_mut(uid) else { continue };
            keys.remove(key);
            if keys.is_empty() {
                self.belongings.remove(uid);
            }
        }
    }

    fn remember(&mut self, change: Change) {
        self.log.push_back(change);
        while self.log.len() > self.remembers {
            let forgotten = self.log.pop_front().expect("it is longer than nothing");
            self.compacted = forgotten.version;
        }
    }

    /// Forgets what has been, as etcd does every five minutes.
    pub(crate) fn compact(&mut self) {
        self.log.clear();
        self.compacted = self.version;
    }

    /// What became of things after a version, unless that is forgotten.
    pub(crate) fn since(&self, version: u64) -> Result<impl Iterator<Item = &Change>, Refusal> {
        if version < self.compacted {
            return Err(Refusal::gone(version, self.compacted));
        }
        let first = self.log.partition_point(|change| change.version <= version);
        Ok(self.log.range(first..))
    }
}

fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let all = look::list(object, "/metadata/ownerReferences").iter();
    all.map(|owner| look::text(owner, "/uid"))
}
