//! How a rolling update moves pods from the old ReplicaSets to the newest.

use serde_json::Value;

use super::count;
use super::deployment::Rollout;
use super::scaling::resize;
use crate::store::Store;

/// How many pods may be missing, and how many may be there beyond what is wanted.
pub(super) fn limits(deployment: &Value) -> (i64, i64) {
    let strategy = &deployment["spec"]["strategy"];
    let replicas = count(deployment, "/spec/replicas");
    if strategy["type"] != "RollingUpdate" {
        return (0, 0);
    }
    let rolling = &strategy["rollingUpdate"];
    let surge = share(&rolling["maxSurge"], replicas, true);
    let unavailable = share(&rolling["maxUnavailable"], replicas, false);
    // With neither a rollout could not begin.
    if (unavailable, surge) == (0, 0) { (1, 0) } else { (unavailable.min(replicas), surge) }
}

/// A number, or a part of a whole: surges are rounded up, and what may be missing down.
fn share(value: &Value, whole: i64, up: bool) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    let percent = value.as_str().and_then(|text| text.strip_suffix('%'));
    let percent: i64 = percent.and_then(|text| text.parse().ok()).unwrap_or_default();
    let hundredths = percent * whole;
    if up { (hundredths + 99) / 100 } else { hundredths / 100 }
}

/// How large the newest ReplicaSet may be now.
pub(super) fn newest_replicas(rollout: &Rollout, held: i64) -> i64 {
    let wanted = rollout.replicas();
    if rollout.deployment["spec"]["strategy"]["type"] == "Recreate" {
        return wanted;
    }
    let (_, surge) = limits(&rollout.deployment);
    let room = wanted + surge - rollout.sum("/spec/replicas");
    if room <= 0 { held } else { held + room.min(wanted - held) }
}

pub(super) fn scale_up(store: &mut Store, rollout: &mut Rollout) -> bool {
    let Some(new) = rollout.new.clone() else { return false };
    let (held, wanted) = (count(&new, "/spec/replicas"), rollout.replicas());
    let next = match held {
        held if held == wanted => return false,
        held if held > wanted => wanted,
        held => newest_replicas(rollout, held),
    };
    rollout.new = Some(resize(store, rollout, &new, next));
    next != held
}

pub(super) fn scale_down(store: &mut Store, rollout: &mut Rollout) -> bool {
    let Some(new) = rollout.new.clone() else { return false };
    if rollout.old.iter().all(|old| count(old, "/spec/replicas") == 0) {
        return false;
    }
    let (unavailable, _) = limits(&rollout.deployment);
    let least = rollout.replicas() - unavailable;
    let missing = count(&new, "/spec/replicas") - count(&new, "/status/availableReplicas");
    let spare = rollout.sum("/spec/replicas") - least - missing;
    if spare <= 0 {
        return false;
    }
    let mut gone = 0;
    // What does not work goes first: it would otherwise hold the rollout up.
    for at in 0..rollout.old.len() {
        let old = rollout.old[at].clone();
        let size = count(&old, "/spec/replicas");
        let broken = size - count(&old, "/status/availableReplicas");
        let less = broken.min(spare - gone).max(0);
        if size > 0 && less > 0 {
            rollout.old[at] = resize(store, rollout, &old, size - less);
            gone += less;
        }
    }
    let mut spare = rollout.sum("/status/availableReplicas") - least;
    for at in 0..rollout.old.len() {
        let old = rollout.old[at].clone();
        let size = count(&old, "/spec/replicas");
        let less = size.min(spare).max(0);
        if less > 0 {
            rollout.old[at] = resize(store, rollout, &old, size - less);
            spare -= less;
            gone += less;
        }
    }
    gone > 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn surges_are_rounded_up_and_gaps_down() {
        for (surge, unavailable, replicas, expected) in [
            (json!("25%"), json!("25%"), 1, (0, 1)),
            (json!("25%"), json!("25%"), 4, (1, 1)),
            (json!("25%"), json!("25%"), 10, (2, 3)),
            (json!("100%"), json!(0), 3, (0, 3)),
            (json!(0), json!("10%"), 3, (1, 0)),
            (json!(0), json!(5), 3, (3, 0)),
        ] {
            let rolling = json!({ "maxSurge": surge, "maxUnavailable": unavailable });
            let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": rolling });
            let deployment = json!({ "spec": { "replicas": replicas, "strategy": strategy } });
            assert_eq!(limits(&deployment), expected, "{deployment}");
        }
    }
}
