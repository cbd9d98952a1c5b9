//! What happens when somebody changes how many replicas there are to be.

use std::sync::Arc;

use serde_json::Value;

use super::deployment::{DESIRED, MAXIMUM, Rollout, escaped};
use super::rolling::limits;
use super::{count, record, write};
use crate::kind::REPLICA_SET;
use crate::look::{self, text};
use crate::store::Store;

/// Whether a ReplicaSet still goes by another number of replicas than the Deployment.
pub(super) fn is_due(rollout: &Rollout) -> bool {
    let pointer = format!("/metadata/annotations/{}", escaped(DESIRED));
    let active = rollout.all().filter(|one| count(one, "/spec/replicas") > 0);
    active
        .filter_map(|one| text(one, &pointer).parse::<i64>().ok())
        .any(|desired| desired != rollout.replicas())
}

/// Spreads the difference over all ReplicaSets that have pods, by their sizes.
pub(super) fn scale(store: &mut Store, rollout: &mut Rollout) {
    let wanted = rollout.replicas();
    let active: Vec<Arc<Value>> =
        rollout.all().filter(|one| count(one, "/spec/replicas") > 0).cloned().collect();
    if active.len() <= 1 {
        let newest = rollout.new.clone().or_else(|| rollout.old.last().cloned());
        if let Some(one) = active.first().cloned().or(newest) {
            replace(store, rollout, &one, wanted);
        }
        return;
    }
    if rollout.new.as_ref().is_some_and(|new| is_saturated(rollout, new)) {
        for old in rollout.old.clone() {
            replace(store, rollout, &old, 0);
        }
        return;
    }
    let (_, surge) = limits(&rollout.deployment);
    let allowed = if wanted > 0 { wanted + surge } else { 0 };
    let total: i64 = active.iter().map(|one| count(one, "/spec/replicas")).sum();
    let all_to_add = allowed - total;
    let mut by_size = active;
    by_size.sort_by_key(|one| std::cmp::Reverse(count(one, "/spec/replicas")));
    let mut sizes: Vec<i64> = Vec::new();
    let mut added = 0;
    for one in &by_size {
        let size = count(one, "/spec/replicas");
        let left = all_to_add - added;
        let share = fraction(one, wanted, wanted + surge, total) - size;
        let part = if all_to_add > 0 { share.min(left) } else { share.max(left) };
        let part = if all_to_add == 0 { 0 } else { part };
        sizes.push(size + part);
        added += part;
    }
    if let Some(largest) = sizes.first_mut() {
        *largest = (*largest + all_to_add - added).max(0);
    }
    for (one, size) in by_size.iter().zip(sizes) {
        replace(store, rollout, one, size);
    }
}

/// How large a ReplicaSet would be if all had grown alike.
fn fraction(set: &Value, wanted: i64, allowed: i64, total: i64) -> i64 {
    if wanted == 0 {
        return 0;
    }
    let pointer = format!("/metadata/annotations/{}", escaped(MAXIMUM));
    let held = text(set, &pointer).parse::<i64>().unwrap_or(total).max(1);
    (count(set, "/spec/replicas") * allowed * 2 + held) / (held * 2)
}

fn is_saturated(rollout: &Rollout, new: &Value) -> bool {
    let wanted = rollout.replicas();
    let pointer = format!("/metadata/annotations/{}", escaped(DESIRED));
    count(new, "/spec/replicas") == wanted
        && text(new, &pointer).parse() == Ok(wanted)
        && count(new, "/status/availableReplicas") == wanted
}

fn replace(store: &mut Store, rollout: &mut Rollout, set: &Arc<Value>, size: i64) {
    let resized = resize(store, rollout, set, size);
    let name = look::name(set);
    for one in rollout.old.iter_mut().chain(&mut rollout.new) {
        if look::name(one) == name {
            *one = resized.clone();
        }
    }
}

/// Gives a ReplicaSet another size, and says so in an event.
pub(super) fn resize(
    store: &mut Store,
    rollout: &Rollout,
    set: &Arc<Value>,
    size: i64,
) -> Arc<Value> {
    let held = count(set, "/spec/replicas");
    let (_, surge) = limits(&rollout.deployment);
    let wanted = rollout.replicas();
    let mut after = Value::clone(set);
    after["spec"]["replicas"] = size.into();
    let annotations = look::map_at(&mut after["metadata"], "annotations");
    annotations.insert(DESIRED.to_owned(), wanted.to_string().into());
    annotations.insert(MAXIMUM.to_owned(), (wanted + surge).to_string().into());
    let after = write(store, &REPLICA_SET, set, after);
    if size != held {
        let way = if size > held { "up" } else { "down" };
        let name = look::name(set);
        let message = format!("Scaled {way} replica set {name} from {held} to {size}");
        record(store, &rollout.deployment, "Normal", "ScalingReplicaSet", &message);
    }
    after
}
