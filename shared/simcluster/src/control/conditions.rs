//! Conditions as controllers keep them: one of each type, with the time it last became what it is.

use serde_json::{Value, json};

use crate::managed::now;

pub(super) fn condition(kind: &str, status: bool, reason: &str, message: &str) -> Value {
    json!({
        "type": kind,
        "status": if status { "True" } else { "False" },
        "reason": reason,
        "message": message,
        "lastUpdateTime": now(),
        "lastTransitionTime": now(),
    })
}

pub(super) fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|one| one["type"] == kind)
}

/// Leaves a condition alone that already says the same for the same reason, even if its message
/// is about something else by now. That is a flaw of the real controller, and kept.
pub(super) fn set(status: &mut Value, mut condition: Value) {
    let kind = condition["type"].as_str().unwrap_or_default().to_owned();
    if let Some(held) = find(status, &kind) {
        if held["status"] == condition["status"] && held["reason"] == condition["reason"] {
            return;
        }
        if held["status"] == condition["status"] {
            condition["lastTransitionTime"] = held["lastTransitionTime"].clone();
        }
    }
    remove(status, &kind);
    match status["conditions"].as_array_mut() {
        Some(all) => all.push(condition),
        None => status["conditions"] = json!([condition]),
    }
}

pub(super) fn remove(status: &mut Value, kind: &str) {
    let Some(all) = status["conditions"].as_array_mut() else { return };
    all.retain(|one| one["type"] != kind);
    if all.is_empty() {
        status.as_object_mut().map(|fields| fields.remove("conditions"));
    }
}
