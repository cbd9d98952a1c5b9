//! What only the stand-in can do: fail when it is told to, and load manifests.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams};
use serde_json::json;
use simcluster::{Fault, LoadError, Settings};

use crate::bed::{Bed, client, refusal, typed};

#[tokio::test]
async fn an_api_that_is_unreachable_answers_nobody_and_goes_on_inside() {
    let bed = Bed::simulated(Settings { pace: 10.0, ..Settings::default() }).await;
    let sim = bed.sim.as_ref().unwrap();
    bed.apply(&bed.deployment("web", "registry.test/worker:v1.0.0")).await;
    sim.faults().unreachable(true);
    let error = bed.api::<ConfigMap>().list(&ListParams::default()).await.unwrap_err();
    assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
    let fresh = client(&sim.kubeconfig()).await;
    let maps = kube::Api::<ConfigMap>::all(fresh);
    assert!(maps.list(&ListParams::default()).await.is_err());
    sim.faults().unreachable(false);
    bed.until_rolled_out("web").await;
}

#[tokio::test]
async fn answers_can_be_replaced_by_those_of_a_server_in_trouble() {
    let bed = Bed::simulated(Settings::default()).await;
    let sim = bed.sim.as_ref().unwrap();
    let maps = bed.api::<ConfigMap>();
    for (fault, code, reason, says) in [
        (Fault::Internal, 500, "InternalError", "etcdserver"),
        (Fault::TooManyRequests, 429, "TooManyRequests", "try again later"),
        (Fault::Unavailable, 503, "ServiceUnavailable", "unable to handle"),
        (Fault::TooLargeVersion, 504, "Timeout", "Too large resource version"),
    ] {
        sim.faults().answer_with(fault, 2);
        for _ in 0..2 {
            let refused = refusal(maps.list(&ListParams::default()).await);
            assert_eq!((refused.code, &*refused.reason), (code, reason));
            assert!(refused.message.contains(says), "{}", refused.message);
        }
        maps.list(&ListParams::default()).await.unwrap();
    }
    sim.faults().slow(Duration::from_millis(1));
    maps.list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn what_was_done_stays_done_when_its_answer_is_lost() {
    let bed = Bed::simulated(Settings::default()).await;
    bed.sim.as_ref().unwrap().faults().answer_with(Fault::LostAnswer, 1);
    let maps = bed.api::<ConfigMap>();
    let map = typed(&json!({ "metadata": { "name": "x" } }));
    assert!(maps.create(&PostParams::default(), &map).await.is_err());
    assert!(maps.get_opt("x").await.unwrap().is_some());
}

#[tokio::test]
async fn a_version_from_the_future_is_waited_for_and_then_refused() {
    let bed = Bed::simulated(Settings::default()).await;
    let maps = bed.api::<ConfigMap>();
    let newest =
        maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let later = (newest.parse::<u64>().unwrap() + 1000).to_string();
    let refused = refusal(
        maps.list(
            &ListParams::default().at(&later).matching(kube::api::VersionMatch::NotOlderThan),
        )
        .await,
    );
    assert_eq!((refused.code, &*refused.reason), (504, "Timeout"));
}

#[tokio::test]
async fn manifests_are_loaded_or_it_is_said_what_is_wrong_with_them() {
    let bed = Bed::simulated(Settings::default()).await;
    let sim = bed.sim.as_ref().unwrap();
    let good = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reader }
rules: [{ apiGroups: [''], resources: [configmaps], verbs: [get] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: reader }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader }
subjects: [{ kind: ServiceAccount, name: reader, namespace: default }]
";
    sim.load(good).unwrap();
    sim.load(good).expect("what is there is replaced");
    let reader = client(&sim.kubeconfig_of_service_account("default", "reader")).await;
    let maps = kube::Api::<ConfigMap>::namespaced(reader, &bed.namespace);
    assert!(maps.get_opt("x").await.unwrap().is_none());
    assert_eq!(refusal(maps.list(&ListParams::default()).await).code, 403);
    let nobody = client(&sim.kubeconfig_of_user("somebody")).await;
    let maps = kube::Api::<ConfigMap>::namespaced(nobody, &bed.namespace);
    assert!(refusal(maps.get("x").await).message.contains("User \"somebody\" cannot get"));

    let wrong = sim.load("apiVersion: v1\nkind: Service\nmetadata: { name: x }\n").unwrap_err();
    assert!(
        matches!(&wrong, LoadError::UnknownKind { at: 1, kind, .. } if kind == "Service"),
        "{wrong}"
    );
    let wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: x }\ndatta: {}\n";
    let wrong = sim.load(wrong).unwrap_err();
    assert_eq!(wrong.to_string(), "document 1 has fields that `ConfigMap` does not have: .datta");
    assert!(matches!(sim.load("- 1"), Err(LoadError::Unreadable { at: 1 })));
    assert!(matches!(sim.load(": {"), Err(LoadError::Unreadable { .. })));
}

#[tokio::test]
async fn what_was_asked_is_remembered() {
    let bed = Bed::simulated(Settings::default()).await;
    bed.apply(&bed.deployment("web", "registry.test/worker:v1.0.0")).await;
    let asked = bed.sim.as_ref().unwrap().asked();
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", bed.namespace);
    let one = asked.iter().find(|one| one.path == path).unwrap();
    assert_eq!((&*one.verb, &*one.user, one.status), ("patch", "kubernetes-admin", 201));
}
