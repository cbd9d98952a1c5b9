//! The controllers: what they own follows what is written, a little later.

mod conditions;
mod deployment;
mod events;
mod garbage;
mod replica_set;
mod rolling;
mod scaling;
mod status;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::cluster::Cluster;
use crate::kind::{DEPLOYMENT, Kind, NAMESPACE, POD, REPLICA_SET};
use crate::look;
use crate::managed::Writer;
use crate::refusal::Refusal;
use crate::store::{Change, Key, Store, What};
use crate::write::Part;

pub(crate) use events::record;

/// How long a controller takes to see what was written. Real ones take about as long: whoever
/// reads at once what they wrote sees the status of before.
const LAG: Duration = Duration::from_millis(25);

/// What must be looked at, and when; and what happened at which moment, more exactly than objects
/// tell, whose times are whole seconds.
pub(crate) struct Controllers {
    cluster: Arc<Cluster>,
    due: BTreeMap<Key, Instant>,
    seen: u64,
    /// Since when a pod is ready, by its uid.
    ready_since: HashMap<String, Instant>,
    /// When a Deployment last made progress, by its uid.
    progress_at: HashMap<String, Instant>,
    /// How often in a row no pod could be made, by the ReplicaSet's uid.
    refusals: HashMap<String, u32>,
}

pub(crate) async fn run(cluster: Arc<Cluster>) {
    let mut changed = cluster.changed.subscribe();
    let mut controllers = Controllers {
        cluster: cluster.clone(),
        due: BTreeMap::new(),
        seen: 0,
        ready_since: HashMap::new(),
        progress_at: HashMap::new(),
        refusals: HashMap::new(),
    };
    loop {
        changed.mark_unchanged();
        controllers.notice();
        let next = controllers.act();
        let in_a_day = Instant::now() + Duration::from_secs(86_400);
        tokio::select! {
            _ = changed.changed() => {}
            () = sleep_until(next.unwrap_or(in_a_day)) => {}
        }
    }
}

impl Controllers {
    fn notice(&mut self) {
        let seen = self.seen;
        let news = self.cluster.with(|store| {
            let news: Result<Vec<Change>, Refusal> =
                store.since(seen).map(|news| news.cloned().collect());
            (store.version(), news)
        });
        self.seen = news.0;
        match news.1 {
            Ok(news) => news.iter().for_each(|change| self.noticed(change)),
            Err(_) => self.look_at_everything(),
        }
    }

    fn look_at_everything(&mut self) {
        let cluster = self.cluster.clone();
        let keys: Vec<Key> = cluster.with(|store| {
            let kinds = [&DEPLOYMENT, &REPLICA_SET, &NAMESPACE];
            let of =
                |kind: &'static Kind| store.list(kind, None).map(move |one| Key::of(kind, one));
            kinds.into_iter().flat_map(of).collect()
        });
        keys.into_iter().for_each(|key| self.enqueue(key, LAG));
    }

    fn noticed(&mut self, change: &Change) {
        let object = &change.object;
        if *change.kind == POD {
            self.noticed_pod(change);
        }
        if *change.kind == DEPLOYMENT || *change.kind == REPLICA_SET || *change.kind == NAMESPACE {
            self.enqueue(Key::of(change.kind, object), LAG);
        }
        if let Some(owner) = look::controller(object) {
            let kind = Kind::of_object(
                owner["apiVersion"].as_str().unwrap_or_default(),
                owner["kind"].as_str().unwrap_or_default(),
            );
            if let Some(kind) = kind {
                let name = owner["name"].as_str().unwrap_or_default();
                self.enqueue(Key::new(kind, look::namespace(object), name), LAG);
            }
        }
        if change.what == What::Deleted {
            let cluster = self.cluster.clone();
            cluster.with(|store| garbage::collect(store, change));
            self.progress_at.remove(look::uid(object));
            self.refusals.remove(look::uid(object));
            let namespace = look::namespace(object);
            if !namespace.is_empty() {
                self.enqueue(Key::new(&NAMESPACE, "", namespace), LAG);
            }
        }
    }

    fn noticed_pod(&mut self, change: &Change) {
        let uid = look::uid(&change.object);
        if change.what == What::Deleted || !look::is_true(&change.object, "Ready") {
            self.ready_since.remove(uid);
        } else {
            self.ready_since.entry(uid.to_owned()).or_insert_with(Instant::now);
        }
    }

    fn enqueue(&mut self, key: Key, after: Duration) {
        let at = Instant::now() + self.cluster.paced(after);
        let due = self.due.entry(key).or_insert(at);
        *due = at.min(*due);
    }

    /// Looks at all that is due; says when something is due next.
    fn act(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let ready: Vec<Key> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in ready {
            self.due.remove(&key);
            let cluster = self.cluster.clone();
            let again = cluster.with(|store| match key.kind.kind {
                "Deployment" => self.sync_deployment(store, &key),
                "ReplicaSet" => self.sync_replica_set(store, &key),
                _ => {
                    garbage::sync_namespace(store, &key);
                    None
                }
            });
            if let Some(again) = again {
                let at = now + again;
                let due = self.due.entry(key).or_insert(at);
                *due = at.min(*due);
            }
        }
        self.due.values().min().copied()
    }
}

/// Writes as a controller; what has changed in between is written anew at the next look.
fn write(store: &mut Store, kind: &'static Kind, before: &Arc<Value>, after: Value) -> Arc<Value> {
    let writer = Writer::update("kube-controller-manager", "");
    store.update(kind, before, after, Part::Both, &writer, false).unwrap_or_else(|_| before.clone())
}

fn count(object: &Value, pointer: &str) -> i64 {
    look::number(object, pointer).unwrap_or_default()
}
