//! What the types of the API say: which fields there are, and which lists are maps by a key.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, Namespace, Node, Pod, ResourceQuota, Secret, ServiceAccount,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kind::Kind;

/// How a list is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Whole,
    Set,
    By(&'static [&'static str]),
}

/// Keyed lists have the same names wherever they occur, so the name alone tells.
pub(crate) fn listed(field: &str) -> Listed {
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "secrets" => Listed::By(&["name"]),
        "volumeMounts" => Listed::By(&["mountPath"]),
        "volumeDevices" => Listed::By(&["devicePath"]),
        "ports" => Listed::By(&["containerPort", "protocol"]),
        "conditions" => Listed::By(&["type"]),
        "ownerReferences" => Listed::By(&["uid"]),
        "topologySpreadConstraints" => Listed::By(&["topologyKey", "whenUnsatisfiable"]),
        "hostAliases" | "podIPs" => Listed::By(&["ip"]),
        "finalizers" => Listed::Set,
        _ => Listed::Whole,
    }
}

/// What a key is when the object does not say.
pub(crate) fn default_of_key(key: &str) -> Value {
    match key {
        "protocol" => "TCP".into(),
        _ => Value::Null,
    }
}

/// Maps that belong to one writer as a whole.
pub(crate) fn is_whole(field: &str) -> bool {
    matches!(
        field,
        "selector"
            | "labelSelector"
            | "nodeSelector"
            | "fieldRef"
            | "secretKeyRef"
            | "configMapKeyRef"
            | "resourceFieldRef"
            | "roleRef"
            | "involvedObject"
    )
}

/// Something in it has another type than the API declares.
#[derive(Debug)]
pub(crate) struct Mistyped;

/// The fields that no type declares, as in `.spec.replics`.
pub(crate) fn undeclared(kind: &Kind, object: &Value) -> Result<Vec<String>, Mistyped> {
    let known = match kind.kind {
        "ConfigMap" => known::<ConfigMap>(object),
        "Event" => known::<Event>(object),
        "Namespace" => known::<Namespace>(object),
        "Node" => known::<Node>(object),
        "Pod" => known::<Pod>(object),
        "ResourceQuota" => known::<ResourceQuota>(object),
        "Secret" => known::<Secret>(object),
        "ServiceAccount" => known::<ServiceAccount>(object),
        "Deployment" => known::<Deployment>(object),
        "ReplicaSet" => known::<ReplicaSet>(object),
        "Lease" => known::<Lease>(object),
        "Role" => known::<Role>(object),
        "RoleBinding" => known::<RoleBinding>(object),
        "ClusterRole" => known::<ClusterRole>(object),
        "ClusterRoleBinding" => known::<ClusterRoleBinding>(object),
        _ => Ok(object.clone()),
    }?;
    let mut found = Vec::new();
    compare(object, &known, "", &mut found);
    Ok(found)
}

fn known<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, Mistyped> {
    let typed = T::deserialize(object).map_err(|_| Mistyped)?;
    serde_json::to_value(typed).map_err(|_| Mistyped)
}

fn compare(given: &Value, known: &Value, path: &str, found: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
                let path = format!("{path}.{name}");
                match known.get(name) {
                    Some(known) => compare(value, known, &path, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (at, (value, known)) in given.iter().zip(known).enumerate() {
                compare(value, known, &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}

/// Takes the fields out that no type declares, as a server does that was not told to be strict.
pub(crate) fn drop_undeclared(kind: &Kind, object: &mut Value) -> Result<Vec<String>, Mistyped> {
    let found = undeclared(kind, object)?;
    for path in &found {
        remove(object, path);
    }
    Ok(found)
}

fn remove(object: &mut Value, path: &str) {
    let mut steps: Vec<String> = Vec::new();
    for part in path.split('.').skip(1) {
        let (name, indices) = part.split_once('[').unwrap_or((part, ""));
        steps.push(name.to_owned());
        let indices = indices.split(['[', ']']).filter(|one| !one.is_empty());
        steps.extend(indices.map(str::to_owned));
    }
    let Some(last) = steps.pop() else { return };
    let parent = steps.iter().try_fold(object, |at, step| match at {
        Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
        other => other.get_mut(step),
    });
    if let Some(Value::Object(fields)) = parent {
        fields.remove(&last);
    }
}
