//! How a pod's status says what its containers do.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::look::{self, list, text};
use crate::managed::now;

/// What the containers of a pod do; all do the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Doing {
    Waiting { reason: &'static str, message: String },
    Running { ready: bool },
    Exited { code: i32, reason: &'static str },
}

/// Everything a status is made of.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) doing: Doing,
    pub(crate) restarts: u32,
    /// How the containers last ended, and when.
    pub(crate) last: Option<(i32, &'static str, String)>,
    pub(crate) started_at: String,
    /// Where an image was pulled, its digest is known.
    pub(crate) digest: Option<String>,
}

pub(crate) fn status(pod: &Value, shown: &Shown) -> Value {
    let ready = shown.doing == Doing::Running { ready: true };
    // A pod that ran once is running, whether or not its containers wait to run again.
    let ran =
        shown.restarts > 0 || shown.last.is_some() || !matches!(shown.doing, Doing::Waiting { .. });
    let containers: Vec<Value> =
        list(pod, "/spec/containers").iter().map(|one| container(pod, one, shown)).collect();
    let names: Vec<&str> =
        list(pod, "/spec/containers").iter().map(|one| text(one, "/name")).collect();
    let unready = format!("containers with unready status: [{}]", names.join(" "));
    let ready_condition = |kind: &str| {
        let mut told = held_or_new(pod, kind, ready);
        if !ready {
            told["reason"] = "ContainersNotReady".into();
            told["message"] = unready.as_str().into();
        }
        told
    };
    json!({
        "phase": if ran { "Running" } else { "Pending" },
        "conditions": [
            held_or_new(pod, "Initialized", true),
            ready_condition("Ready"),
            ready_condition("ContainersReady"),
            held_or_new(pod, "PodScheduled", true),
        ],
        "hostIP": "127.0.0.1",
        "podIP": address(look::uid(pod)),
        "podIPs": [{ "ip": address(look::uid(pod)) }],
        "startTime": shown.started_at,
        "containerStatuses": containers,
    })
}

/// With the time it became what it is, if it was that already.
fn held_or_new(pod: &Value, kind: &str, is: bool) -> Value {
    let status = if is { "True" } else { "False" };
    let held = look::condition(pod, kind).filter(|one| one["status"] == status);
    let since = held.map_or_else(now, |one| text(one, "/lastTransitionTime").to_owned());
    json!({ "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since })
}

fn container(pod: &Value, container: &Value, shown: &Shown) -> Value {
    let image = text(container, "/image");
    let name = text(container, "/name");
    let pulled = !matches!(shown.doing, Doing::Waiting { .. }) || shown.last.is_some();
    let id =
        format!("containerd://{}", hex(&format!("{}/{name}/{}", look::uid(pod), shown.restarts)));
    let state = match &shown.doing {
        Doing::Waiting { reason, message } if message.is_empty() => {
            json!({ "waiting": { "reason": reason } })
        }
        Doing::Waiting { reason, message } => {
            json!({ "waiting": { "reason": reason, "message": message } })
        }
        Doing::Running { .. } => json!({ "running": { "startedAt": now() } }),
        Doing::Exited { code, reason } => {
            json!({ "terminated": ended(*code, reason, &now(), &id) })
        }
    };
    let last = match &shown.last {
        Some((code, reason, at)) => json!({ "terminated": ended(*code, reason, at, &id) }),
        None => json!({}),
    };
    let mut told = json!({
        "name": name,
        "image": image.split_once('@').map_or(image, |(tagged, _)| tagged),
        "imageID": "",
        "ready": shown.doing == Doing::Running { ready: true },
        "started": matches!(shown.doing, Doing::Running { .. }),
        "restartCount": shown.restarts,
        "state": state,
        "lastState": last,
    });
    if pulled {
        let digest = shown.digest.clone().unwrap_or_else(|| digest_of(image));
        told["imageID"] = format!("{}@{digest}", repository(image)).into();
        told["containerID"] = id.into();
    }
    told
}

fn ended(code: i32, reason: &str, at: &str, id: &str) -> Value {
    json!({
        "exitCode": code,
        "reason": reason,
        "startedAt": at,
        "finishedAt": at,
        "containerID": id,
    })
}

/// The digest an image is asked for by, or one that its name stands for.
pub(crate) fn digest_of(image: &str) -> String {
    match image.split_once('@') {
        Some((_, digest)) => digest.to_owned(),
        None => format!("sha256:{}", hex(image)),
    }
}

pub(crate) fn repository(image: &str) -> &str {
    let tagged = image.split_once('@').map_or(image, |(tagged, _)| tagged);
    match tagged.rsplit_once(':') {
        // A colon before a slash belongs to a port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => tagged,
    }
}

pub(crate) fn hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An address that no other pod is likely to have.
pub(crate) fn address(uid: &str) -> String {
    let digest = Sha256::digest(uid);
    format!("10.{}.{}.{}", digest[0], digest[1], digest[2].max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_an_image_without_tag_and_digest() {
        for (image, expected) in [
            ("127.0.0.1:5000/a/b:v1@sha256:00", "127.0.0.1:5000/a/b"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
            ("a:v1", "a"),
        ] {
            assert_eq!(repository(image), expected);
        }
    }
}
