use std::collections::BTreeSet;
use std::time::Duration;

use boot::ProcessSettings;
use clap::{Args, Command};
use serde_json::{Value, json};

use crate::rendered::{Object, overlays};

const POD: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";

/// What ends after the grace: one claim, what is given back, and what is settled, 5 s each.
const AFTER_GRACE: Duration = Duration::from_secs(15);

fn deployments() -> impl Iterator<Item = &'static Object> {
    overlays().iter().flat_map(|overlay| overlay.of("Deployment"))
}

fn is_sandboxed(deployment: &Object) -> bool {
    deployment.namespace().ends_with("-sandbox")
}

fn at<'a>(deployment: &'a Object, place: &str, rest: &str) -> Option<&'a Value> {
    deployment.at(&format!("{place}{rest}"))
}

#[test]
fn every_container_is_as_restricted_as_can_be() {
    for it in deployments() {
        let name = it.name();
        assert_eq!(it.list("/spec/template/spec/containers").len(), 1, "{name}");
        assert!(it.at("/spec/template/spec/initContainers").is_none(), "{name}");
        for (place, rest, value) in [
            (POD, "/securityContext/runAsNonRoot", json!(true)),
            (POD, "/securityContext/runAsUser", json!(65532)),
            (POD, "/securityContext/runAsGroup", json!(65532)),
            (POD, "/securityContext/seccompProfile/type", json!("RuntimeDefault")),
            (POD, "/enableServiceLinks", json!(false)),
            (CONTAINER, "/securityContext/allowPrivilegeEscalation", json!(false)),
            (CONTAINER, "/securityContext/readOnlyRootFilesystem", json!(true)),
            (CONTAINER, "/securityContext/capabilities", json!({"drop": ["ALL"]})),
        ] {
            assert_eq!(at(it, place, rest), Some(&value), "{name}{place}{rest}");
        }
        for never in ["/hostNetwork", "/hostPID", "/hostIPC"] {
            assert_eq!(at(it, POD, never), None, "{name}{never}");
        }
        let context = at(it, CONTAINER, "/securityContext").and_then(Value::as_object).unwrap();
        let mut said: Vec<&str> = context.keys().map(String::as_str).collect();
        said.sort_unstable();
        // A sandbox needs three things more, and gets users of its own for them.
        let (expected, host_users): (&[&str], _) = if is_sandboxed(it) {
            let all = &[
                "allowPrivilegeEscalation",
                "appArmorProfile",
                "capabilities",
                "procMount",
                "readOnlyRootFilesystem",
                "seccompProfile",
            ];
            (all, Some(&Value::Bool(false)))
        } else {
            (&["allowPrivilegeEscalation", "capabilities", "readOnlyRootFilesystem"], None)
        };
        assert_eq!(said, expected, "{name}");
        assert_eq!(at(it, POD, "/hostUsers"), host_users, "{name}");
    }
}

#[test]
fn what_a_pod_writes_to_has_a_bound() {
    for it in deployments() {
        for volume in it.list("/spec/template/spec/volumes") {
            if let Some(folder) = volume.get("emptyDir") {
                assert!(folder.get("sizeLimit").is_some(), "{}: {volume}", it.name());
            }
            assert!(volume.get("hostPath").is_none(), "{}: {volume}", it.name());
        }
        for bound in
            ["requests/cpu", "requests/memory", "limits/memory", "limits/ephemeral-storage"]
        {
            let pointer = format!("/resources/{bound}");
            assert!(at(it, CONTAINER, &pointer).is_some(), "{}: {bound}", it.name());
        }
    }
}

#[test]
fn a_rollout_has_the_shape_that_the_judge_counts_on() {
    for it in deployments() {
        let name = it.name();
        for (pointer, value) in [
            ("/spec/strategy/rollingUpdate", json!({"maxSurge": "100%", "maxUnavailable": 0})),
            ("/spec/minReadySeconds", json!(5)),
            ("/spec/progressDeadlineSeconds", json!(45)),
            ("/spec/revisionHistoryLimit", json!(3)),
            ("/spec/template/spec/containers/0/name", json!("worker")),
        ] {
            assert_eq!(it.at(pointer), Some(&value), "{name}{pointer}");
        }
        let spread = &it.list("/spec/template/spec/topologySpreadConstraints")[0];
        assert_eq!(spread["matchLabelKeys"], json!(["pod-template-hash"]), "{name}");
    }
}

#[test]
fn a_pod_is_killed_only_after_its_worker_could_give_everything_back() {
    for it in deployments() {
        let grace = variable(it, "WORKER_GRACE").map_or("30s", |it| it["value"].as_str().unwrap());
        let needed = model::duration(grace).unwrap() + AFTER_GRACE;
        let given = at(it, POD, "/terminationGracePeriodSeconds").and_then(Value::as_u64).unwrap();
        assert!(Duration::from_secs(given) > needed, "{}: {given} s, {needed:?}", it.name());
    }
}

#[test]
fn who_serves_a_port_is_asked_there_and_nobody_else_is_asked_anything() {
    const PROBES: [&str; 3] = ["/startupProbe", "/readinessProbe", "/livenessProbe"];
    for it in deployments() {
        let serves = at(it, CONTAINER, "/ports").is_some();
        for probe in PROBES {
            assert_eq!(at(it, CONTAINER, probe).is_some(), serves, "{}{probe}", it.name());
        }
        if serves {
            // A database that is away must not restart what waits for it.
            let alive = at(it, CONTAINER, "/livenessProbe/httpGet/path");
            assert_eq!(alive, Some(&json!("/healthz")));
            assert_eq!(at(it, CONTAINER, "/readinessProbe/httpGet/path"), Some(&json!("/readyz")));
        }
    }
}

/// What there is beside these, COGO_RELEASE_ID and the like, the controller sets when it rolls out.
#[test]
fn every_variable_is_a_setting_of_its_worker() {
    for it in deployments() {
        let worker = it.name().strip_prefix("cogo-").unwrap();
        let known = match worker {
            "agent-core" => settings::<agent_core::Settings>(),
            "executor-dispatcher" => settings::<executor_dispatcher::Settings>(),
            "codegen-worker" => settings::<codegen_worker::Settings>(),
            "buildtest-worker" => settings::<buildtest_worker::Settings>(),
            "bus-keeper" => settings::<bus_keeper::Settings>(),
            "image-controller" => settings::<image_controller::Settings>(),
            other => panic!("name the settings of {other} here"),
        };
        // Some have no heartbeat to carry POD_UID; POD_NAMESPACE is there for another's value.
        let spared = match worker {
            "bus-keeper" => &["POD_UID"][..],
            "image-controller" => &["POD_UID", "POD_NAMESPACE"],
            _ => &[],
        };
        for variable in variables(it) {
            let name = variable["name"].as_str().unwrap();
            assert!(known.contains(name) || spared.contains(&name), "{worker} reads no {name}");
        }
    }
}

#[test]
fn workers_are_told_of_their_route_as_the_table_of_images_says() {
    for it in deployments() {
        let told = ["AGENT_SERVICE", "AGENT_ROLE", "AGENT_SHARD"]
            .map(|name| variable(it, name).map(|it| it["value"].as_str().unwrap()));
        let expected = match it.name() {
            "cogo-executor-dispatcher" => [Some("orchestrator"), Some("execute"), Some("0")],
            "cogo-codegen-worker" => [Some("codegen"), Some("generate"), Some("0")],
            "cogo-buildtest-worker" => [Some("code"), Some("build-test"), Some("0")],
            _ => [None; 3],
        };
        assert_eq!(told, expected, "{}", it.name());
        let uid = variable(it, "POD_UID").expect("heartbeats carry it");
        assert_eq!(uid["valueFrom"]["fieldRef"]["fieldPath"], "metadata.uid");
    }
}

pub(crate) fn variables(deployment: &Object) -> &[Value] {
    deployment.list("/spec/template/spec/containers/0/env")
}

fn variable<'a>(deployment: &'a Object, name: &str) -> Option<&'a Value> {
    variables(deployment).iter().find(|variable| variable["name"] == name)
}

fn settings<S: Args>() -> BTreeSet<String> {
    let command = S::augment_args(ProcessSettings::augment_args(Command::new("worker")));
    let names = command.get_arguments().filter_map(|it| it.get_env());
    names.map(|name| name.to_str().unwrap().to_owned()).collect()
}
