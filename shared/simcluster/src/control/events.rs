use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::kind::EVENT;
use crate::look::{self, text};
use crate::managed::now;
use crate::store::Store;

/// Names of events only have to differ.
static NEXT: AtomicU64 = AtomicU64::new(0x17a0_0000_0000_0000);

/// Says what happened to an object. The same said again is counted.
pub(crate) fn record(store: &mut Store, about: &Value, kind: &str, reason: &str, message: &str) {
    let namespace = look::namespace(about).to_owned();
    // Only warnings are said again and again, so only they are looked for.
    let said_before = store
        .list(&EVENT, Some(&namespace))
        .take_while(|_| kind == "Warning")
        .find(|event| {
            text(event, "/involvedObject/uid") == look::uid(about)
                && text(event, "/reason") == reason
                && text(event, "/message") == message
        })
        .cloned();
    if let Some(event) = said_before {
        let mut again = Value::clone(&event);
        again["count"] = (look::number(&event, "/count").unwrap_or(1) + 1).into();
        again["lastTimestamp"] = now().into();
        store.put(&EVENT, again);
        return;
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let component = match text(about, "/kind") {
        "Deployment" => "deployment-controller",
        "ReplicaSet" => "replicaset-controller",
        _ => "kubelet",
    };
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{}.{number:x}", look::name(about)),
            "namespace": namespace,
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": now(),
        },
        "involvedObject": {
            "kind": about["kind"],
            "apiVersion": about["apiVersion"],
            "namespace": look::namespace(about),
            "name": look::name(about),
            "uid": look::uid(about),
            "resourceVersion": about["metadata"]["resourceVersion"],
        },
        "reason": reason,
        "message": message,
        "type": kind,
        "count": 1,
        "firstTimestamp": now(),
        "lastTimestamp": now(),
        "eventTime": null,
        "source": { "component": component },
        "reportingComponent": component,
        "reportingInstance": "",
    });
    store.put(&EVENT, event);
}
