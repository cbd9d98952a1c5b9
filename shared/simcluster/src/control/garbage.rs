//! What goes when something else has gone.

use std::sync::Arc;

use serde_json::{Value, json};

use super::write;
use crate::kind::{DEPLOYMENT, Kind, NAMESPACE, REPLICA_SET, SERVICE_ACCOUNT};
use crate::look;
use crate::managed::Writer;
use crate::store::{Change, Key, Store};
use crate::write::{Deletion, FOREGROUND, ORPHAN};

/// Deletes what belonged to an object that is gone.
pub(super) fn collect(store: &mut Store, gone: &Change) {
    if *gone.kind != DEPLOYMENT && *gone.kind != REPLICA_SET {
        return;
    }
    for key in store.dependents(look::uid(&gone.object)) {
        let _ = store.delete(&key, &Deletion::default(), false);
    }
}

/// An object that waits for its dependents, or for their being let go.
pub(super) fn sync_leaving(store: &mut Store, kind: &'static Kind, object: &Arc<Value>) {
    let has = |finalizer: &str| {
        look::list(object, "/metadata/finalizers").iter().any(|one| one == finalizer)
    };
    let dependents = store.dependents(look::uid(object));
    if has(ORPHAN) {
        for key in dependents {
            let Some(held) = store.get(key.kind, &key.namespace, &key.name).cloned() else {
                continue;
            };
            let mut free = Value::clone(&held);
            let mut owners = look::list(&held, "/metadata/ownerReferences").to_vec();
            owners.retain(|one| one["uid"] != *look::uid(object));
            let metadata = look::map_at(&mut free, "metadata");
            match owners.is_empty() {
                true => metadata.remove("ownerReferences"),
                false => metadata.insert("ownerReferences".to_owned(), owners.into()),
            };
            write(store, key.kind, &held, free);
        }
        without(store, kind, object, ORPHAN);
    } else if has(FOREGROUND) {
        if dependents.is_empty() {
            without(store, kind, object, FOREGROUND);
        }
        let first = Deletion { policy: Some("Foreground".to_owned()), ..Deletion::default() };
        for key in dependents {
            let policy = if key.kind.kind == "Pod" { Deletion::default() } else { first.clone() };
            let _ = store.delete(&key, &policy, false);
        }
    }
}

fn without(store: &mut Store, kind: &'static Kind, object: &Arc<Value>, finalizer: &str) {
    let mut after = Value::clone(object);
    let all = after["metadata"]["finalizers"].as_array_mut();
    all.into_iter().for_each(|all| all.retain(|one| one != finalizer));
    write(store, kind, object, after);
}

/// A new namespace gets its ServiceAccount; one that leaves is emptied first.
pub(super) fn sync_namespace(store: &mut Store, key: &Key) {
    let Some(namespace) = store.get(&NAMESPACE, "", &key.name).cloned() else { return };
    if look::is_leaving(&namespace) {
        let inside = store.inside(&key.name);
        if inside.is_empty() {
            store.remove(key);
        }
        for key in inside {
            let _ = store.delete(&key, &Deletion::default(), false);
        }
    } else if store.get(&SERVICE_ACCOUNT, &key.name, "default").is_none() {
        let account = json!({ "metadata": { "name": "default" } });
        let writer = Writer::update("kube-controller-manager", "");
        let _ = store.create(&SERVICE_ACCOUNT, &key.name, account, &writer, false);
    }
}
