//! What `kubectl get` shows.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::kind::Kind;
use crate::look::{self, list, number, text};

pub(crate) fn of<'a>(kind: &Kind, objects: impl Iterator<Item = &'a Value>, head: &Value) -> Value {
    let names: &[&str] = match kind.kind {
        "Deployment" => &["Name", "Ready", "Up-to-date", "Available", "Age"],
        "ReplicaSet" => &["Name", "Desired", "Current", "Ready", "Age"],
        "Pod" => &["Name", "Ready", "Status", "Restarts", "Age"],
        "Event" => &["Last Seen", "Type", "Reason", "Object", "Message"],
        "Secret" => &["Name", "Type", "Data", "Age"],
        "Namespace" => &["Name", "Status", "Age"],
        "Lease" => &["Name", "Holder", "Age"],
        _ => &["Name", "Age"],
    };
    let columns: Vec<Value> = names
        .iter()
        .map(|name| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({ "name": name, "type": "string", "format": format, "description": "", "priority": 0 })
        })
        .collect();
    let rows: Vec<Value> = objects
        .map(|object| json!({ "cells": cells(kind, object), "object": super::list::metadata_of(object) }))
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": head["metadata"],
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn cells(kind: &Kind, object: &Value) -> Vec<Value> {
    let name = json!(look::name(object));
    let age = json!(age(text(object, "/metadata/creationTimestamp")));
    let count = |pointer: &str| json!(number(object, pointer).unwrap_or_default());
    match kind.kind {
        "Deployment" => {
            let ready = format!("{}/{}", count("/status/readyReplicas"), count("/spec/replicas"));
            let available = count("/status/availableReplicas");
            vec![name, json!(ready), count("/status/updatedReplicas"), available, age]
        }
        "ReplicaSet" => {
            let current = count("/status/replicas");
            vec![name, count("/spec/replicas"), current, count("/status/readyReplicas"), age]
        }
        "Pod" => {
            let states = list(object, "/status/containerStatuses");
            let ready = states.iter().filter(|one| one["ready"] == true).count();
            let all = list(object, "/spec/containers").len();
            let restarts: i64 = states.iter().filter_map(|one| one["restartCount"].as_i64()).sum();
            let ready = json!(format!("{ready}/{all}"));
            vec![name, ready, json!(state_of(object)), json!(restarts.to_string()), age]
        }
        "Event" => {
            let about = format!(
                "{}/{}",
                text(object, "/involvedObject/kind").to_lowercase(),
                text(object, "/involvedObject/name")
            );
            let of = |pointer: &str| json!(text(object, pointer));
            vec![age, of("/type"), of("/reason"), json!(about), of("/message")]
        }
        "Secret" => {
            let keys = look::entries(object, "/data").count();
            vec![name, object["type"].clone(), json!(keys), age]
        }
        "Namespace" => vec![name, object["status"]["phase"].clone(), age],
        "Lease" => vec![name, object["spec"]["holderIdentity"].clone(), age],
        _ => vec![name, age],
    }
}

fn state_of(pod: &Value) -> String {
    if look::is_leaving(pod) {
        return "Terminating".to_owned();
    }
    let states = list(pod, "/status/containerStatuses").iter();
    let mut told = states.filter_map(|one| {
        let state = &one["state"];
        let reason = |of: &str| state[of]["reason"].as_str().map(str::to_owned);
        reason("waiting").or_else(|| reason("terminated"))
    });
    told.next_back().unwrap_or_else(|| text(pod, "/status/phase").to_owned())
}

fn age(since: &str) -> String {
    let Ok(since) = OffsetDateTime::parse(since, &Rfc3339) else { return "<unknown>".to_owned() };
    match (OffsetDateTime::now_utc() - since).whole_seconds().max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}
