//! Who may do what in the cluster, and what no manifest may hold.
use std::collections::BTreeSet;

use serde_json::Value;

use crate::rendered::{everything, overlays};

fn words(rule: &Value, field: &str) -> Vec<String> {
    let list = rule[field].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn no_right_is_wider_than_its_use() {
    for rendered in everything() {
        for kind in ["ClusterRole", "ClusterRoleBinding"] {
            assert_eq!(rendered.of(kind).count(), 0, "{}: {kind}", rendered.name);
        }
        for role in rendered.of("Role") {
            for rule in role.list("/rules") {
                let (resources, verbs) = (words(rule, "resources"), words(rule, "verbs"));
                let all = [&resources[..], &verbs[..], &words(rule, "apiGroups")[..]].concat();
                assert!(!all.iter().any(|word| word.contains('*')), "{rule}");
                let never = ["delete", "deletecollection", "escalate", "bind", "impersonate"];
                assert!(!verbs.iter().any(|verb| never.contains(&verb.as_str())), "{rule}");
                assert!(!resources.iter().any(|it| it.contains("exec")), "{rule}");
                if resources.iter().any(|resource| resource == "secrets") {
                    let named = !words(rule, "resourceNames").is_empty();
                    assert!(named || verbs == ["create"], "secrets without a name: {rule}");
                    let lists = verbs.iter().any(|verb| verb == "list" || verb == "watch");
                    assert!(!lists, "{rule}");
                }
            }
        }
    }
}

#[test]
fn only_the_controller_has_rights_and_a_token() {
    for overlay in overlays() {
        let control = overlay.home("cogo-image-controller");
        let mut reached = BTreeSet::new();
        for binding in overlay.of("RoleBinding") {
            let role = binding.text("/roleRef/name");
            assert!(overlay.find("Role", role, binding.namespace()).is_some(), "{role}");
            let subjects = binding.list("/subjects");
            assert_eq!(subjects.len(), 1);
            let name = subjects[0]["name"].as_str().unwrap();
            let namespace = subjects[0]["namespace"].as_str().unwrap();
            assert_eq!((name, namespace), ("cogo-image-controller", control));
            assert!(overlay.find("ServiceAccount", name, namespace).is_some());
            reached.insert(binding.namespace());
        }
        let homes: BTreeSet<&str> = overlay.of("Namespace").map(|it| it.name()).collect();
        assert_eq!(reached, homes, "it rolls out wherever agents are");
        for it in overlay.of("Deployment") {
            let token = it.at("/spec/template/spec/automountServiceAccountToken");
            let expected = it.name() == "cogo-image-controller";
            assert_eq!(token, Some(&Value::Bool(expected)), "{}", it.name());
        }
    }
}

#[test]
fn the_policy_stands_wherever_pod_security_does_not() {
    for overlay in overlays() {
        let guarded = overlay.of("ValidatingAdmissionPolicyBinding").next().unwrap();
        let by = guarded.at("/spec/matchResources/namespaceSelector/matchLabels").unwrap();
        for namespace in overlay.of("Namespace") {
            let labels = namespace.at("/metadata/labels").unwrap();
            let level = &labels["pod-security.kubernetes.io/enforce"];
            let matched =
                by.as_object().unwrap().iter().all(|(name, value)| &labels[name] == value);
            assert!(level == "restricted" || matched, "{}", namespace.name());
        }
    }
}

#[test]
fn no_manifest_holds_a_secret() {
    for rendered in everything() {
        assert_eq!(rendered.of("Secret").count(), 0, "{}", rendered.name);
        for it in rendered.of("Deployment") {
            for variable in crate::pods::variables(it) {
                let name = variable["name"].as_str().unwrap();
                let telling = ["KEY", "KEYS", "KEY_ID", "SECRET", "TOKEN", "PASSWORD", "URL"];
                if telling.iter().any(|word| name.ends_with(word)) {
                    let from = &variable["valueFrom"]["secretKeyRef"];
                    assert!(from.is_object() && variable.get("value").is_none(), "{variable}");
                }
            }
        }
    }
}
