//! Whatever names something else names something that is there.
use serde_json::{Map, Value};

use crate::rendered::{Object, Rendered, everything, overlays};

/// Secrets that people make, or the image-controller, with their keys.
const SECRETS: [(&str, &[&str]); 3] = [
    ("cogo-secrets", &["supabase-url", "supabase-service-role-key"]),
    ("cogo-artifacts", &["access-key-id", "secret-access-key"]),
    ("cogo-autoscaler", &["database-url"]),
];

fn labels<'a>(object: &'a Object, pointer: &str) -> &'a Map<String, Value> {
    let found = object.at(pointer).and_then(Value::as_object);
    found.unwrap_or_else(|| panic!("{} {} has no {pointer}", object.kind(), object.name()))
}

fn selects(selector: &Map<String, Value>, deployment: &Object) -> bool {
    let pod = labels(deployment, "/spec/template/metadata/labels");
    !selector.is_empty() && selector.iter().all(|(name, value)| pod.get(name) == Some(value))
}

#[test]
fn every_selector_selects_somebody_and_only_its_own() {
    for rendered in everything() {
        for object in rendered.objects() {
            let (pointer, one) = match object.kind() {
                "Deployment" | "PodDisruptionBudget" => ("/spec/selector/matchLabels", true),
                "Service" => ("/spec/selector", true),
                "NetworkPolicy" => ("/spec/podSelector/matchLabels", false),
                _ => continue,
            };
            let selector = labels(object, pointer);
            let selected = rendered.of("Deployment").filter(|deployment| {
                deployment.namespace() == object.namespace() && selects(selector, deployment)
            });
            let selected: Vec<&str> = selected.map(Object::name).collect();
            let (kind, name) = (object.kind(), object.name());
            assert!(!selected.is_empty(), "{}: {kind} {name} selects nobody", rendered.name);
            if one {
                assert_eq!(selected, [name], "{}: {kind}", rendered.name);
            }
        }
    }
}

#[test]
fn everything_in_a_namespace_is_in_one_that_is_there() {
    for rendered in everything() {
        for object in rendered.objects() {
            let cluster =
                ["Namespace", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
            if cluster.contains(&object.kind()) {
                assert_eq!(object.namespace(), "");
            } else {
                let there = rendered.of("Namespace").any(|it| it.name() == object.namespace());
                assert!(there, "{}: {} {}", rendered.name, object.kind(), object.name());
            }
        }
    }
}

#[test]
fn accounts_and_ports_and_volumes_are_there() {
    for rendered in overlays() {
        for it in rendered.of("Deployment") {
            let account = it.text("/spec/template/spec/serviceAccountName");
            assert_eq!(account, it.name());
            assert!(
                rendered.find("ServiceAccount", account, it.namespace()).is_some(),
                "{account}"
            );
            let volumes = it.list("/spec/template/spec/volumes");
            for mount in it.list("/spec/template/spec/containers/0/volumeMounts") {
                assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
            }
            for claim in volumes.iter().filter_map(|it| it.get("persistentVolumeClaim")) {
                let name = claim["claimName"].as_str().unwrap();
                let found = rendered.find("PersistentVolumeClaim", name, it.namespace());
                assert!(found.is_some(), "{name}");
            }
            for from in it.list("/spec/template/spec/containers/0/envFrom") {
                let name = from["configMapRef"]["name"].as_str().unwrap();
                assert!(rendered.find("ConfigMap", name, it.namespace()).is_some(), "{name}");
            }
        }
        for service in rendered.of("Service") {
            let it = rendered.find("Deployment", service.name(), service.namespace()).unwrap();
            let ports = it.list("/spec/template/spec/containers/0/ports");
            for port in service.list("/spec/ports") {
                assert!(ports.iter().any(|it| it["name"] == port["targetPort"]), "{port}");
            }
        }
    }
}

#[test]
fn every_secret_is_one_that_the_documentation_says_how_to_make() {
    fn each<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(all) => {
                found.extend(all.get(name));
                all.values().for_each(|it| each(it, name, found));
            }
            Value::Array(all) => all.iter().for_each(|it| each(it, name, found)),
            _ => {}
        }
    }
    let mut seen = 0;
    for rendered in everything() {
        for object in rendered.objects() {
            let mut references = Vec::new();
            each(object.whole(), "secretKeyRef", &mut references);
            for list in object.list("/spec/secretTargetRef") {
                references.push(list);
            }
            for reference in references {
                let (name, key) = (reference["name"].as_str().unwrap(), &reference["key"]);
                let known = SECRETS.iter().find(|(known, _)| *known == name);
                let (_, keys) = known.unwrap_or_else(|| panic!("{name}"));
                assert!(keys.contains(&key.as_str().unwrap()), "{name}: {key}");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn whoever_scales_a_worker_owns_its_number() {
    let mut seen = 0;
    for component in ["autoscale-hpa", "autoscale-keda"] {
        for rendered in crate::rendered::with_component(component, &["agents", "sandbox"]) {
            seen += check_scaling(&rendered);
        }
    }
    assert_eq!(seen, 12, "three workers, two overlays, two ways");
}

fn check_scaling(rendered: &Rendered) -> usize {
    let scalers = ["HorizontalPodAutoscaler", "ScaledObject"].into_iter();
    let scalers: Vec<&Object> = scalers.flat_map(|kind| rendered.of(kind)).collect();
    for scaler in &scalers {
        let target = scaler.text("/spec/scaleTargetRef/name");
        let it = rendered.find("Deployment", target, scaler.namespace()).expect(target);
        assert!(it.at("/spec/replicas").is_none(), "{target} says how many it wants");
        // A pod of a worker takes as many messages as it has slots.
        let slots = crate::pods::variables(it).iter().find(|it| it["name"] == "WORKER_SLOTS");
        let slots = slots.map_or("16", |it| it["value"].as_str().unwrap());
        let each = [
            "/spec/metrics/0/external/target/averageValue",
            "/spec/triggers/0/metadata/targetQueryValue",
        ];
        let each = each.iter().find_map(|pointer| scaler.at(pointer)).unwrap();
        assert_eq!(each, slots, "{target}");
    }
    scalers.len()
}
