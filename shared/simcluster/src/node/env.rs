use std::collections::BTreeMap;

use serde_json::Value;

use crate::look::{self, list, text};

/// What the first container's environment says without asking anybody.
pub(crate) fn plain(pod: &Value, node: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let container = list(pod, "/spec/containers").first().unwrap_or(&Value::Null);
    for variable in list(container, "/env") {
        let name = text(variable, "/name").to_owned();
        let field = text(variable, "/valueFrom/fieldRef/fieldPath");
        if !field.is_empty() {
            if let Some(value) = of_field(pod, node, field) {
                found.insert(name, value);
            }
        } else if variable["valueFrom"].is_null() {
            let value = expanded(text(variable, "/value"), &found);
            found.insert(name, value);
        }
    }
    found
}

fn of_field(pod: &Value, node: &str, field: &str) -> Option<String> {
    let keyed = |map: &str| {
        let key = field.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']")?;
        let held = pod.pointer(&format!("/{}", map.replace('.', "/")))?.get(key)?.as_str()?;
        Some(held.to_owned())
    };
    match field {
        "metadata.name" => Some(look::name(pod).to_owned()),
        "metadata.namespace" => Some(look::namespace(pod).to_owned()),
        "metadata.uid" => Some(look::uid(pod).to_owned()),
        "spec.nodeName" => Some(node.to_owned()),
        "spec.serviceAccountName" => Some(text(pod, "/spec/serviceAccountName").to_owned()),
        "status.podIP" => Some(super::shown::address(look::uid(pod))),
        "status.hostIP" => Some("127.0.0.1".to_owned()),
        _ => keyed("metadata.labels").or_else(|| keyed("metadata.annotations")),
    }
}

/// `$(NAME)` stands for a variable that came before.
fn expanded(value: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("$(") {
        let Some(end) = rest[at..].find(')') else { break };
        let name = &rest[at + 2..at + end];
        out.push_str(&rest[..at]);
        match known.get(name) {
            Some(held) => out.push_str(held),
            None => out.push_str(&rest[at..=at + end]),
        }
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    out
}

/// What a pod's containers cannot start without: `(kind, name, key)`, where an empty key means
/// all of it.
pub(crate) fn sources(pod: &Value) -> Vec<(&'static str, String, String)> {
    let mut needed = Vec::new();
    for container in list(pod, "/spec/containers") {
        for variable in list(container, "/env") {
            for (kind, pointer) in
                [("secret", "/valueFrom/secretKeyRef"), ("configmap", "/valueFrom/configMapKeyRef")]
            {
                let Some(from) = variable.pointer(pointer) else { continue };
                if from["optional"] != true {
                    needed.push((
                        kind,
                        text(from, "/name").to_owned(),
                        text(from, "/key").to_owned(),
                    ));
                }
            }
        }
        for all in list(container, "/envFrom") {
            for (kind, pointer) in [("secret", "/secretRef"), ("configmap", "/configMapRef")] {
                let Some(from) = all.pointer(pointer) else { continue };
                if from["optional"] != true {
                    needed.push((kind, text(from, "/name").to_owned(), String::new()));
                }
            }
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_downward_api_and_earlier_variables_are_filled_in() {
        let from = |field: &str| json!({ "fieldRef": { "fieldPath": field } });
        let pod = json!({
            "metadata": { "name": "p", "namespace": "n", "uid": "u", "labels": { "a/b": "c" } },
            "spec": { "containers": [{ "env": [
                { "name": "UID", "valueFrom": from("metadata.uid") },
                { "name": "LABEL", "valueFrom": from("metadata.labels['a/b']") },
                { "name": "NODE", "valueFrom": from("spec.nodeName") },
                { "name": "ID", "value": "$(UID)-$(NONE)-x" },
                { "name": "SECRET", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } },
            ] }] },
        });
        let found = plain(&pod, "node-0");
        let told: Vec<(&str, &str)> =
            found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [("ID", "u-$(NONE)-x"), ("LABEL", "c"), ("NODE", "node-0"), ("UID", "u")];
        assert_eq!(told, expected);
        assert_eq!(sources(&pod), [("secret", "s".to_owned(), "k".to_owned())]);
    }
}
