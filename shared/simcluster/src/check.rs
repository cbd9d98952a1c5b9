//! What a server refuses with 422, as far as rollouts and secrets can meet it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::look::{self, list, number, text};
use crate::refusal::{Cause, Refusal};
use crate::selector::Selector;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
    characters, '-' or '.', and must start and end with an alphanumeric character";
const LABEL: &str = "a valid label must be an empty string or consist of alphanumeric characters, \
    '-', '_' or '.', and must start and end with an alphanumeric character";

pub(crate) fn check(kind: &Kind, before: Option<&Value>, object: &Value) -> Result<(), Refusal> {
    let mut wrong = Vec::new();
    metadata(object, &mut wrong);
    match kind.kind {
        "Deployment" | "ReplicaSet" => workload(before, object, &mut wrong),
        "Pod" => {
            pod_spec(&object["spec"], "spec", &mut wrong);
            if let Some(before) = before {
                pod_update(before, object, &mut wrong);
            }
        }
        "Secret" => secret(before, object, &mut wrong),
        "Lease" => lease(object, &mut wrong),
        "Event" => event(object, &mut wrong),
        "RoleBinding" | "ClusterRoleBinding" => binding(before, object, &mut wrong),
        _ => {}
    }
    match wrong.as_slice() {
        [] => Ok(()),
        wrong => Err(Refusal::invalid(kind, look::name(object), wrong)),
    }
}

fn lease(object: &Value, wrong: &mut Vec<Cause>) {
    let given = &object["spec"]["leaseDurationSeconds"];
    if given.as_i64().is_some_and(|given| given <= 0) {
        let field = "spec.leaseDurationSeconds";
        wrong.push(Cause::invalid(field, given, "must be greater than 0"));
    }
}

fn event(object: &Value, wrong: &mut Vec<Cause>) {
    let about = text(object, "/involvedObject/namespace");
    if about != look::namespace(object) && !about.is_empty() {
        let why = "does not match event.namespace";
        wrong.push(Cause::invalid("involvedObject.namespace", &json!(about), why));
    }
}

fn binding(before: Option<&Value>, object: &Value, wrong: &mut Vec<Cause>) {
    if before.is_some_and(|before| before["roleRef"] != object["roleRef"]) {
        wrong.push(Cause::invalid("roleRef", &object["roleRef"], "cannot change roleRef"));
    }
}

fn metadata(object: &Value, wrong: &mut Vec<Cause>) {
    let name = look::name(object);
    // Roles may be called what their users like; everything else is part of a host's name.
    if !object["kind"].as_str().is_some_and(|kind| kind.contains("Role")) && !is_subdomain(name) {
        wrong.push(Cause::invalid("metadata.name", &json!(name), SUBDOMAIN));
    }
    labels(object.pointer("/metadata/labels"), "metadata.labels", wrong);
}

fn labels(held: Option<&Value>, field: &str, wrong: &mut Vec<Cause>) {
    for value in held.and_then(Value::as_object).into_iter().flat_map(|held| held.values()) {
        let given = value.as_str().unwrap_or_default();
        if given.len() > 63 {
            wrong.push(Cause::invalid(field, value, "must be no more than 63 characters"));
        } else if !is_label(given) {
            wrong.push(Cause::invalid(field, value, LABEL));
        }
    }
}

fn workload(before: Option<&Value>, object: &Value, wrong: &mut Vec<Cause>) {
    let selector = &object["spec"]["selector"];
    if selector.is_null() || selector.as_object().is_some_and(serde_json::Map::is_empty) {
        wrong.push(Cause::required("spec.selector", ""));
    } else if !Selector::of(selector).matches(&object["spec"]["template"]) {
        let given = &object["spec"]["template"]["metadata"]["labels"];
        let why = "`selector` does not match template `labels`";
        wrong.push(Cause::invalid("spec.template.metadata.labels", given, why));
    }
    if before.is_some_and(|before| before["spec"]["selector"] != *selector) {
        wrong.push(Cause::invalid("spec.selector", selector, "field is immutable"));
    }
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]
    {
        let given = &object["spec"][field];
        if given.as_i64().is_some_and(|given| given < 0) {
            let why = "must be greater than or equal to 0";
            wrong.push(Cause::invalid(format!("spec.{field}"), given, why));
        }
    }
    let deadline = number(object, "/spec/progressDeadlineSeconds");
    let ready = number(object, "/spec/minReadySeconds").unwrap_or_default();
    if deadline.is_some_and(|deadline| deadline <= ready) {
        let given = &object["spec"]["progressDeadlineSeconds"];
        let why = "must be greater than minReadySeconds";
        wrong.push(Cause::invalid("spec.progressDeadlineSeconds", given, why));
    }
    let rolling = &object["spec"]["strategy"]["rollingUpdate"];
    let none = |value: &Value| *value == json!(0) || *value == json!("0%");
    if rolling.is_object() && none(&rolling["maxSurge"]) && none(&rolling["maxUnavailable"]) {
        let field = "spec.strategy.rollingUpdate.maxUnavailable";
        let given = &rolling["maxUnavailable"];
        wrong.push(Cause::invalid(field, given, "may not be 0 when `maxSurge` is 0"));
    }
    if rolling.is_object() && object["spec"]["strategy"]["type"] == "Recreate" {
        let why = "may not be specified when strategy `type` is 'Recreate'";
        let field = "spec.strategy.rollingUpdate";
        let (reason, message) = ("FieldValueForbidden", format!("Forbidden: {why}"));
        wrong.push(Cause { field: field.to_owned(), reason, message });
    }
    let template = &object["spec"]["template"];
    labels(template.pointer("/metadata/labels"), "spec.template.labels", wrong);
    pod_spec(&template["spec"], "spec.template.spec", wrong);
    let policy = &template["spec"]["restartPolicy"];
    if policy != "Always" {
        let message = format!("Unsupported value: {policy}: supported values: \"Always\"");
        let field = "spec.template.spec.restartPolicy".to_owned();
        wrong.push(Cause { field, reason: "FieldValueNotSupported", message });
    }
}

fn pod_spec(spec: &Value, field: &str, wrong: &mut Vec<Cause>) {
    let containers = list(spec, "/containers");
    if containers.is_empty() {
        wrong.push(Cause::required(format!("{field}.containers"), ""));
    }
    let volumes: Vec<&str> = list(spec, "/volumes").iter().map(|one| text(one, "/name")).collect();
    let mut names: Vec<&Value> = Vec::new();
    for (at, container) in containers.iter().enumerate() {
        let field = format!("{field}.containers[{at}]");
        let name = &container["name"];
        if name.as_str().unwrap_or_default().is_empty() {
            wrong.push(Cause::required(format!("{field}.name"), ""));
        } else if names.contains(&name) {
            wrong.push(Cause::duplicate(format!("{field}.name"), name));
        }
        names.push(name);
        let image = text(container, "/image");
        if image.is_empty() {
            wrong.push(Cause::required(format!("{field}.image"), ""));
        } else if image.trim() != image {
            let why = "must not have leading or trailing whitespace";
            wrong.push(Cause::invalid(format!("{field}.image"), &container["image"], why));
        }
        for (at, variable) in list(container, "/env").iter().enumerate() {
            let name = text(variable, "/name");
            let field = format!("{field}.env[{at}].name");
            if name.is_empty() {
                wrong.push(Cause::required(field, ""));
            } else if name.contains('=') {
                let why = "a valid environment variable name must consist only of printable ASCII \
                    characters other than '='";
                wrong.push(Cause::invalid(field, &variable["name"], why));
            }
        }
        for (at, mount) in list(container, "/volumeMounts").iter().enumerate() {
            if !volumes.contains(&text(mount, "/name")) {
                let field = format!("{field}.volumeMounts[{at}].name");
                let message = format!("Not found: {}", mount["name"]);
                wrong.push(Cause { field, reason: "FieldValueNotFound", message });
            }
        }
    }
}

fn pod_update(before: &Value, object: &Value, wrong: &mut Vec<Cause>) {
    let without_images = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for list in ["containers", "initContainers"] {
            for one in spec[list].as_array_mut().into_iter().flatten() {
                one["image"] = Value::Null;
            }
        }
        for free in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
            spec[free] = Value::Null;
        }
        spec
    };
    if without_images(before) != without_images(object) {
        let why = "Forbidden: pod updates may not change fields other than \
            `spec.containers[*].image`, `spec.initContainers[*].image`, \
            `spec.activeDeadlineSeconds` or `spec.tolerations` (only additions to existing \
            tolerations)";
        let (reason, message) = ("FieldValueForbidden", why.to_owned());
        wrong.push(Cause { field: "spec".to_owned(), reason, message });
    }
}

fn secret(before: Option<&Value>, object: &Value, wrong: &mut Vec<Cause>) {
    for (key, value) in look::entries(object, "/data") {
        let plain = value.as_str().map(|text| STANDARD.decode(text));
        if !matches!(plain, Some(Ok(_)) | None) {
            let (field, reason) = (format!("data[{key}]"), "FieldValueInvalid");
            let message = "Invalid value: \"<secret contents redacted>\": illegal base64 data";
            wrong.push(Cause { field, reason, message: message.to_owned() });
        }
    }
    let needed: &[&str] = match text(object, "/type") {
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/basic-auth" | "Opaque" => &[],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    };
    for key in needed {
        let field = format!("data[{key}]");
        match look::text(object, &format!("/data/{key}")) {
            "" => wrong.push(Cause::required(field, "")),
            held if *key == ".dockerconfigjson" => {
                let plain = STANDARD.decode(held).unwrap_or_default();
                let parsed = serde_json::from_slice::<serde_json::Map<String, Value>>(&plain);
                if parsed.is_err() {
                    let reason = "FieldValueInvalid";
                    let message = "Invalid value: \"<secret contents redacted>\": invalid \
                        character looking for beginning of value";
                    wrong.push(Cause { field, reason, message: message.to_owned() });
                }
            }
            _ => {}
        }
    }
    let Some(before) = before else { return };
    if before["type"] != object["type"] {
        wrong.push(Cause::invalid("type", &object["type"], "field is immutable"));
    }
    if before["immutable"] == true && before["data"] != object["data"] {
        let (reason, message) = (
            "FieldValueForbidden",
            "Forbidden: field is immutable when `immutable` is set".to_owned(),
        );
        wrong.push(Cause { field: "data".to_owned(), reason, message });
    }
}

pub(crate) fn is_subdomain(name: &str) -> bool {
    let part = |part: &str| {
        let bytes = part.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

fn is_label(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.first().is_none_or(u8::is_ascii_alphanumeric)
        && bytes.last().is_none_or(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}
