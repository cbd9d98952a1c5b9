//! As much of the schemas as kubectl asks for: that the server itself checks fields.

use std::collections::BTreeSet;

use hyper::Response;
use serde_json::{Map, Value, json};

use super::answer::{self, Body};
use crate::kind::{KINDS, Kind};
use crate::refusal::Refusal;

pub(crate) fn answer(path: &str) -> Result<Response<Body>, Refusal> {
    let Some(rest) = path.strip_prefix("/openapi/v3") else { return Err(Refusal::no_such_path()) };
    let told = match rest.trim_matches('/') {
        "" => {
            let paths: BTreeSet<String> = KINDS.iter().map(|kind| base(kind)).collect();
            let paths: Map<String, Value> = paths
                .into_iter()
                .map(|base| {
                    let url = format!("/openapi/v3/{base}?hash=1");
                    (base, json!({ "serverRelativeURL": url }))
                })
                .collect();
            json!({ "paths": paths })
        }
        group => document(group),
    };
    Ok(answer::json(200, &told))
}

fn base(kind: &Kind) -> String {
    match kind.group {
        "" => format!("api/{}", kind.version),
        group => format!("apis/{group}/{}", kind.version),
    }
}

fn document(group: &str) -> Value {
    let mut paths = Map::new();
    for kind in KINDS.iter().filter(|kind| base(kind) == group) {
        let namespace = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        let gvk = json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
        let query =
            |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
        let checks = |action: &str| {
            json!({
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": gvk,
                "parameters": [query("dryRun"), query("fieldManager"), query("fieldValidation")],
            })
        };
        let all = format!("/{group}{namespace}/{}", kind.plural);
        paths.insert(
            format!("{all}/{{name}}"),
            json!({ "patch": checks("patch"), "put": checks("put") }),
        );
        paths.insert(all, json!({ "post": checks("post") }));
    }
    json!({ "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1" }, "paths": paths })
}
