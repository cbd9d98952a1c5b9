//! What there is: enough for kubectl to find its way.

use std::collections::BTreeSet;

use hyper::Response;
use hyper::header::HeaderMap;
use serde_json::{Value, json};

use super::answer::{self, Body};
use crate::cluster::Cluster;
use crate::kind::{KINDS, Kind};
use crate::refusal::Refusal;

pub(crate) fn answer(
    cluster: &Cluster,
    path: &str,
    _headers: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let told = match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => return Ok(answer::whole(200, "text/plain", "ok")),
        ["version"] => version(&cluster.settings.version),
        ["api"] => json!({ "kind": "APIVersions", "versions": ["v1"] }),
        ["apis"] => {
            let groups: Vec<Value> = groups().into_iter().map(group).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        ["apis", name] => {
            let name = groups().into_iter().find(|one| one == name);
            let mut told = group(name.ok_or_else(Refusal::no_such_path)?);
            told["kind"] = "APIGroup".into();
            told["apiVersion"] = "v1".into();
            told
        }
        ["api", "v1"] => resources("", "v1"),
        ["apis", group, "v1"] if groups().contains(group) => resources(group, "v1"),
        _ => return Err(Refusal::no_such_path()),
    };
    Ok(answer::json(200, &told))
}

fn version(version: &str) -> Value {
    let mut numbers = version.trim_start_matches('v').split('.');
    json!({
        "major": numbers.next().unwrap_or_default(),
        "minor": numbers.next().unwrap_or_default(),
        "gitVersion": format!("{version}+simulated"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    })
}

fn groups() -> Vec<&'static str> {
    let named: BTreeSet<&str> =
        KINDS.iter().map(|kind| kind.group).filter(|group| !group.is_empty()).collect();
    named.into_iter().chain(["authorization.k8s.io", "authentication.k8s.io"]).collect()
}

fn group(name: &str) -> Value {
    let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

fn resources(group: &str, version: &str) -> Value {
    let mut all: Vec<Value> =
        KINDS.iter().filter(|kind| kind.group == group).flat_map(|kind| resource(kind)).collect();
    let reviews = match group {
        "authorization.k8s.io" => {
            vec![review("selfsubjectaccessreviews", "SelfSubjectAccessReview")]
        }
        "authentication.k8s.io" => vec![review("selfsubjectreviews", "SelfSubjectReview")],
        _ => Vec::new(),
    };
    all.extend(reviews);
    let named = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": named,
        "resources": all,
    })
}

fn review(plural: &str, kind: &str) -> Value {
    json!({
        "name": plural, "singularName": "", "namespaced": false, "kind": kind, "verbs": ["create"],
    })
}

fn resource(kind: &Kind) -> Vec<Value> {
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut all = vec![json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": verbs,
        "shortNames": kind.short,
    })];
    let verbs = ["get", "patch", "update"];
    if kind.status {
        all.push(json!({
            "name": format!("{}/status", kind.plural),
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": verbs,
        }));
    }
    if kind.scale {
        all.push(json!({
            "name": format!("{}/scale", kind.plural),
            "singularName": "",
            "namespaced": kind.namespaced,
            "group": "autoscaling",
            "version": "v1",
            "kind": "Scale",
            "verbs": verbs,
        }));
    }
    all
}
