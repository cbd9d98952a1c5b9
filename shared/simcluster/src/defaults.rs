//! What the server fills in, as far as somebody could trip over it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::look::map_at;

pub(crate) fn fill(kind: &Kind, object: &mut Value) {
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    match kind.kind {
        "Deployment" => deployment(map_at(object, "spec")),
        "ReplicaSet" => {
            let spec = map_at(object, "spec");
            default(spec, "replicas", json!(1));
            template(spec);
        }
        "Pod" => {
            pod_spec(map_at(object, "spec"));
            default(map_at(object, "status"), "phase", json!("Pending"));
            default(map_at(object, "status"), "qosClass", json!("BestEffort"));
        }
        "Secret" => secret(object),
        "Namespace" => {
            let name = object["metadata"]["name"].clone();
            map_at(&mut object["metadata"], "labels")
                .insert("kubernetes.io/metadata.name".to_owned(), name);
            default(map_at(object, "spec"), "finalizers", json!(["kubernetes"]));
            default(map_at(object, "status"), "phase", json!("Active"));
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            for subject in object["subjects"].as_array_mut().into_iter().flatten() {
                if subject["kind"] != "ServiceAccount" && subject["apiGroup"].is_null() {
                    subject["apiGroup"] = "rbac.authorization.k8s.io".into();
                }
            }
            if let Some(role) = object["roleRef"].as_object_mut() {
                default(role, "apiGroup", json!("rbac.authorization.k8s.io"));
            }
        }
        _ => {}
    }
}

fn deployment(spec: &mut Map<String, Value>) {
    default(spec, "replicas", json!(1));
    default(spec, "revisionHistoryLimit", json!(10));
    default(spec, "progressDeadlineSeconds", json!(600));
    let strategy = object_in(spec, "strategy");
    default(strategy, "type", json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        let rolling = object_in(strategy, "rollingUpdate");
        default(rolling, "maxSurge", json!("25%"));
        default(rolling, "maxUnavailable", json!("25%"));
    }
    template(spec);
}

fn template(spec: &mut Map<String, Value>) {
    // What means nothing is not kept.
    for (name, nothing) in [("minReadySeconds", json!(0)), ("paused", json!(false))] {
        if spec.get(name) == Some(&nothing) {
            spec.remove(name);
        }
    }
    let template = object_in(spec, "template");
    // A template is always stored with it, which is what makes generations stay as they are.
    let metadata = object_in(template, "metadata");
    default(metadata, "creationTimestamp", Value::Null);
    pod_spec(object_in(template, "spec"));
}

fn pod_spec(spec: &mut Map<String, Value>) {
    default(spec, "restartPolicy", json!("Always"));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    default(spec, "dnsPolicy", json!("ClusterFirst"));
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", json!("default-scheduler"));
    if let Some(account) = spec.get("serviceAccountName").filter(|name| name.is_string()).cloned() {
        default(spec, "serviceAccount", account);
    }
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for one in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            container(one);
        }
    }
    let volumes = spec.get_mut("volumes").and_then(Value::as_array_mut);
    for volume in volumes.into_iter().flatten() {
        if let Some(secret) = volume.get_mut("secret").and_then(Value::as_object_mut) {
            default(secret, "defaultMode", json!(420));
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = !last.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
    default(container, "imagePullPolicy", json!(if latest { "Always" } else { "IfNotPresent" }));
    default(container, "resources", json!({}));
    default(container, "terminationMessagePath", json!("/dev/termination-log"));
    default(container, "terminationMessagePolicy", json!("File"));
    let each =
        |list: &str, container: &mut Map<String, Value>, fill: fn(&mut Map<String, Value>)| {
            let items = container.get_mut(list).and_then(Value::as_array_mut);
            items.into_iter().flatten().filter_map(Value::as_object_mut).for_each(fill);
        };
    each("ports", container, |port| default(port, "protocol", json!("TCP")));
    each("env", container, |variable| {
        let source = variable.get_mut("valueFrom").and_then(|from| from.get_mut("fieldRef"));
        if let Some(field) = source.and_then(Value::as_object_mut) {
            default(field, "apiVersion", json!("v1"));
        }
    });
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        if let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) {
            default(probe, "timeoutSeconds", json!(1));
            default(probe, "periodSeconds", json!(10));
            default(probe, "successThreshold", json!(1));
            default(probe, "failureThreshold", json!(3));
            if let Some(http) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
                default(http, "path", json!("/"));
                default(http, "scheme", json!("HTTP"));
            }
        }
    }
}

fn secret(object: &mut Value) {
    let given = object.as_object_mut().and_then(|fields| fields.remove("stringData"));
    if let Some(Value::Object(given)) = given {
        let data = map_at(object, "data");
        for (key, value) in given {
            let text = value.as_str().unwrap_or_default();
            data.insert(key, STANDARD.encode(text).into());
        }
    }
    if object["type"].as_str().unwrap_or_default().is_empty() {
        object["type"] = "Opaque".into();
    }
}

fn default(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let held = fields.entry(name).or_insert(Value::Null);
    if held.is_null() {
        *held = value;
    }
}

fn object_in<'a>(fields: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let held = fields.entry(name).or_insert_with(|| json!({}));
    if !held.is_object() {
        *held = json!({});
    }
    held.as_object_mut().expect("it was just made one")
}
