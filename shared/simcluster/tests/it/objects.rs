//! What holds for objects of any kind.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, PostParams, PropagationPolicy};
use serde_json::{Value, json};

use crate::bed::{Bed, on_each, refusal, typed, until};

fn config(name: &str, value: &str) -> ConfigMap {
    typed(
        &json!({ "metadata": { "name": name, "labels": { "is": value } }, "data": { "a": value } }),
    )
}

fn create() -> PostParams {
    PostParams::default()
}

#[tokio::test]
async fn an_object_is_created_once() {
    on_each(async |bed| {
        let maps = bed.api::<ConfigMap>();
        let made = maps.create(&create(), &config("x", "1")).await.unwrap();
        assert!(made.metadata.uid.is_some() && made.metadata.resource_version.is_some());
        let again = refusal(maps.create(&create(), &config("x", "1")).await);
        assert_eq!((again.code, &*again.reason), (409, "AlreadyExists"));
        assert_eq!(again.message, "configmaps \"x\" already exists");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    on_each(async |bed| {
        let missing = refusal(bed.api::<Deployment>().get("x").await);
        assert_eq!((missing.code, &*missing.reason), (404, "NotFound"));
        assert_eq!(missing.message, "deployments.apps \"x\" not found");
        let missing = refusal(bed.api::<ConfigMap>().get("x").await);
        assert_eq!(missing.message, "configmaps \"x\" not found");
        let elsewhere = kube::Api::<ConfigMap>::namespaced(bed.client.clone(), "cogo-test-nowhere");
        let refused = refusal(elsewhere.create(&create(), &config("x", "1")).await);
        assert_eq!((refused.code, &*refused.reason), (404, "NotFound"));
        assert_eq!(refused.message, "namespaces \"cogo-test-nowhere\" not found");
    })
    .await;
}

#[tokio::test]
async fn whoever_writes_over_something_newer_is_refused() {
    on_each(async |bed| {
        let maps = bed.api::<ConfigMap>();
        let first = maps.create(&create(), &config("x", "1")).await.unwrap();
        let mut newer = first.clone();
        newer.data = config("x", "2").data;
        let newer = maps.replace("x", &create(), &newer).await.unwrap();
        let stale = refusal(maps.replace("x", &create(), &first).await);
        assert_eq!((stale.code, &*stale.reason), (409, "Conflict"));
        assert!(stale.message.contains("the object has been modified"), "{}", stale.message);
        assert_eq!(maps.get("x").await.unwrap().data, newer.data);
    })
    .await;
}

#[tokio::test]
async fn writing_what_is_there_already_writes_nothing() {
    on_each(async |bed| {
        let maps = bed.api::<ConfigMap>();
        let first = maps.create(&create(), &config("x", "1")).await.unwrap();
        let second = maps.replace("x", &create(), &first).await.unwrap();
        assert_eq!(first.metadata.resource_version, second.metadata.resource_version);
    })
    .await;
}

#[tokio::test]
async fn a_lease_is_taken_by_one_of_two() {
    on_each(async |bed| {
        let leases = bed.api::<Lease>();
        let lease = |holder: &str| -> Lease {
            typed(&json!({
                "metadata": { "name": "controller" },
                "spec": {
                    "holderIdentity": holder,
                    "leaseDurationSeconds": 15,
                    "renewTime": "2030-01-01T00:00:00.000000Z",
                },
            }))
        };
        let held = leases.create(&create(), &lease("a")).await.unwrap();
        let refused = refusal(leases.create(&create(), &lease("b")).await);
        assert_eq!((refused.code, &*refused.reason), (409, "AlreadyExists"));
        assert_eq!(refused.message, "leases.coordination.k8s.io \"controller\" already exists");
        let mut one = lease("a");
        one.metadata.resource_version.clone_from(&held.metadata.resource_version);
        one.spec.as_mut().unwrap().lease_transitions = Some(1);
        let mut two = lease("b");
        two.metadata.resource_version.clone_from(&held.metadata.resource_version);
        leases.replace("controller", &create(), &one).await.unwrap();
        let late = refusal(leases.replace("controller", &create(), &two).await);
        assert_eq!((late.code, &*late.reason), (409, "Conflict"));
        let mut wrong = lease("a");
        wrong.metadata.name = Some("other".to_owned());
        wrong.spec.as_mut().unwrap().lease_duration_seconds = Some(0);
        let refused = refusal(leases.create(&create(), &wrong).await);
        assert_eq!((refused.code, &*refused.reason), (422, "Invalid"));
        assert!(refused.message.contains("spec.leaseDurationSeconds"), "{}", refused.message);
    })
    .await;
}

#[tokio::test]
async fn the_generation_counts_changes_of_the_spec_alone() {
    on_each(async |bed| {
        let deployments = bed.api::<Deployment>();
        let deployment: Deployment = typed(&bed.deployment("web", "registry.test/worker:v1.0.0"));
        deployments.create(&create(), &deployment).await.unwrap();
        let settled = bed.until_rolled_out("web").await;
        assert_eq!(settled["metadata"]["generation"], 1, "its status changed often");
        let labelled = json!({ "metadata": { "labels": { "more": "x" } } });
        let seen = bed.merge("web", &labelled).await;
        assert_eq!(seen["metadata"]["generation"], 1);
        let seen = bed.merge("web", &json!({ "spec": { "replicas": 3 } })).await;
        assert_eq!(seen["metadata"]["generation"], 2);
        let seen = bed.merge("web", &json!({ "spec": { "replicas": 3 } })).await;
        assert_eq!(seen["metadata"]["generation"], 2, "nothing changed");
        bed.until_deployment("web", "it to be observed", |seen| {
            seen["status"]["observedGeneration"] == 2
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_status_is_written_apart_from_the_spec() {
    on_each(async |bed| {
        let pods = bed.api::<Pod>();
        let pod: Pod = typed(&json!({
            "metadata": { "name": "alone" },
            // No scheduler has this name, so nobody else writes it.
            "spec": {
                "schedulerName": bed.nobody(),
                "automountServiceAccountToken": false,
                "containers": [{ "name": "c", "image": "i:v1" }],
            },
        }));
        if bed.sim.is_some() {
            bed.fates.set("i:v1", simcluster::Fate::MissingImage);
        }
        pods.create(&create(), &pod).await.unwrap();
        let image = json!({ "spec": { "containers": [{ "name": "c", "image": "i:v2" }] } });
        let patch = kube::api::Patch::Strategic(&image);
        let seen = pods.patch_status("alone", &kube::api::PatchParams::default(), &patch).await;
        let seen = serde_json::to_value(seen.unwrap()).unwrap();
        assert_eq!(seen["spec"]["containers"][0]["image"], "i:v1");
        let refused = refusal(
            pods.patch(
                "alone",
                &kube::api::PatchParams::default(),
                &kube::api::Patch::Merge(&json!({ "spec": { "restartPolicy": "Never" } })),
            )
            .await,
        );
        assert_eq!((refused.code, &*refused.reason), (422, "Invalid"));
        assert!(
            refused.message.contains("pod updates may not change fields"),
            "{}",
            refused.message
        );
    })
    .await;
}

#[tokio::test]
async fn lists_come_in_parts_and_by_labels() {
    on_each(async |bed| {
        let maps = bed.api::<ConfigMap>();
        for name in ["a", "b", "c"] {
            maps.create(&create(), &config(name, name)).await.unwrap();
        }
        let ours = ListParams::default().labels("is in (a, b, c)");
        let first = maps.list(&ours.clone().limit(2)).await.unwrap();
        assert_eq!(names(&first.items), ["a", "b"]);
        let mark = first.metadata.continue_.unwrap();
        let rest = maps.list(&ours.clone().limit(2).continue_token(&mark)).await.unwrap();
        assert_eq!(names(&rest.items), ["c"]);
        assert!(rest.metadata.continue_.unwrap_or_default().is_empty());
        let not_b = maps.list(&ours.clone().labels("is,is notin (b)")).await.unwrap();
        assert_eq!(names(&not_b.items), ["a", "c"]);
        let by_name = maps.list(&ListParams::default().fields("metadata.name=b")).await.unwrap();
        assert_eq!(names(&by_name.items), ["b"]);
        let wrong = refusal(maps.list(&ListParams::default().labels("is in a")).await);
        assert_eq!((wrong.code, &*wrong.reason), (400, "BadRequest"));
        let wrong = refusal(maps.list(&ours.continue_token("nonsense").limit(1)).await);
        assert_eq!(wrong.code, 400);
    })
    .await;
}

fn names(items: &[ConfigMap]) -> Vec<&str> {
    items.iter().map(|one| one.metadata.name.as_deref().unwrap()).collect()
}

#[tokio::test]
async fn what_is_invalid_is_refused_with_the_field_that_is() {
    on_each(async |bed| {
        let deployments = bed.api::<Deployment>();
        let cases: &[(&str, Value, &str)] = &[
            ("/metadata/name", json!("Web"), "metadata.name: Invalid value: \"Web\""),
            ("/spec/selector", json!({ "matchLabels": { "a": "b" } }),
             "`selector` does not match template `labels`"),
            ("/spec/template/spec/containers", json!([]),
             "spec.template.spec.containers: Required value"),
            ("/spec/template/spec/containers/0/name", json!(""),
             "spec.template.spec.containers[0].name: Required value"),
            ("/spec/replicas", json!(-1), "must be greater than or equal to 0"),
            ("/spec/progressDeadlineSeconds", json!(1),
             "spec.progressDeadlineSeconds: Invalid value: 1: must be greater than minReadySeconds"),
            ("/spec/strategy/rollingUpdate/maxSurge", json!(0), "may not be 0 when `maxSurge` is 0"),
            ("/spec/template/spec/restartPolicy", json!("Never"),
             "spec.template.spec.restartPolicy: Unsupported value: \"Never\""),
            ("/spec/template/metadata/labels/app", json!("-"), "a valid label must be"),
        ];
        for (pointer, value, expected) in cases {
            let mut wrong = bed.deployment("web", "registry.test/worker:v1.0.0");
            wrong["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
            *wrong.pointer_mut(pointer).unwrap() = value.clone();
            let refused = refusal(deployments.create(&create(), &typed(&wrong)).await);
            assert_eq!((refused.code, &*refused.reason), (422, "Invalid"), "{pointer}");
            assert!(refused.message.contains(expected), "{pointer}: {}", refused.message);
        }
        let made = typed(&bed.deployment("web", "registry.test/worker:v1.0.0"));
        deployments.create(&create(), &made).await.unwrap();
        let other = json!({ "spec": {
            "selector": { "matchLabels": { "app": "other" } },
            "template": { "metadata": { "labels": { "app": "other" } } },
        } });
        let refused = refusal(bed.try_merge("web", &other).await);
        assert_eq!(refused.code, 422);
        assert!(refused.message.contains("field is immutable"), "{}", refused.message);
    })
    .await;
}

#[tokio::test]
async fn what_is_owned_goes_with_its_owner_unless_it_is_let_go() {
    on_each(async |bed| {
        let deployments = bed.api::<Deployment>();
        for (name, policy) in
            [("background", PropagationPolicy::Background), ("kept", PropagationPolicy::Orphan)]
        {
            bed.apply(&bed.deployment(name, "registry.test/worker:v1.0.0")).await;
            bed.until_rolled_out(name).await;
            let how = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
            deployments.delete(name, &how).await.unwrap();
            until("the Deployment to go", async || {
                deployments.get_opt(name).await.unwrap().is_none().then_some(())
            })
            .await;
        }
        until("its pods to go", async || bed.pods("background").await.is_empty().then_some(()))
            .await;
        assert!(bed.replica_sets("background").await.is_empty());
        assert_eq!(bed.pods("kept").await.len(), 2);
        let kept = &bed.replica_sets("kept").await[0];
        assert!(kept["metadata"]["ownerReferences"].is_null(), "{kept}");

        bed.apply(&bed.deployment("foreground", "registry.test/worker:v1.0.0")).await;
        bed.until_rolled_out("foreground").await;
        deployments.delete("foreground", &DeleteParams::foreground()).await.unwrap();
        until("the Deployment to go", async || {
            let gone = deployments.get_opt("foreground").await.unwrap().is_none();
            gone.then_some(())
        })
        .await;
        assert!(bed.api::<ReplicaSet>().list(&of("foreground")).await.unwrap().items.is_empty());
    })
    .await;
}

fn of(name: &str) -> ListParams {
    ListParams::default().labels(&format!("app={name}"))
}

#[tokio::test]
async fn a_pod_goes_when_its_grace_is_over_or_at_once() {
    on_each(async |bed| {
        bed.fates.set_drain("registry.test/worker:v1.0.0", std::time::Duration::from_secs(60));
        let mut deployment = bed.deployment("web", "registry.test/worker:v1.0.0");
        deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(60);
        deployment["spec"]["replicas"] = json!(1);
        bed.apply(&deployment).await;
        bed.until_rolled_out("web").await;
        let name = bed.pods("web").await[0]["metadata"]["name"].as_str().unwrap().to_owned();
        let pods = bed.api::<Pod>();
        pods.delete(&name, &DeleteParams::default()).await.unwrap();
        let leaving = pods.get(&name).await.unwrap().metadata;
        assert!(leaving.deletion_timestamp.is_some());
        assert_eq!(leaving.deletion_grace_period_seconds, Some(60));
        // Another one takes its place before it is gone.
        bed.until_rolled_out("web").await;
        let now = DeleteParams::default().grace_period(0);
        pods.delete(&name, &now).await.unwrap();
        until("it to be gone", async || pods.get_opt(&name).await.unwrap().is_none().then_some(()))
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_namespace_takes_all_that_is_in_it() {
    let bed = Bed::simulated(simcluster::Settings { pace: 5.0, ..Default::default() }).await;
    bed.apply(&bed.deployment("web", "registry.test/worker:v1.0.0")).await;
    bed.until_rolled_out("web").await;
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
        kube::Api::all(bed.client.clone());
    namespaces.delete(&bed.namespace, &DeleteParams::default()).await.unwrap();
    let maps = bed.api::<ConfigMap>();
    let refused = refusal(maps.create(&create(), &config("x", "1")).await);
    assert_eq!((refused.code, &*refused.reason), (403, "Forbidden"));
    assert!(refused.message.contains("because it is being terminated"), "{}", refused.message);
    until("the namespace to go", async || {
        namespaces.get_opt(&bed.namespace).await.unwrap().is_none().then_some(())
    })
    .await;
    assert!(bed.pods("web").await.is_empty());
}
