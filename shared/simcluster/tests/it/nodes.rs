//! What simulated nodes tell those who put workers beside their pods.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use simcluster::{Fate, PodEvent, PodWhat, Settings};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::bed::Bed;

const IMAGE: &str = "registry.test/worker:v1.0.0";

async fn bed() -> (Bed, mpsc::Receiver<PodEvent>) {
    let (on_pod, events) = mpsc::channel(64);
    let settings = Settings { pace: 10.0, on_pod: Some(on_pod), ..Settings::default() };
    (Bed::simulated(settings).await, events)
}

async fn next(events: &mut mpsc::Receiver<PodEvent>) -> PodEvent {
    timeout(Duration::from_secs(30), events.recv()).await.expect("something happens").unwrap()
}

fn one(bed: &Bed, image: &str) -> serde_json::Value {
    let mut deployment = bed.deployment("web", image);
    deployment["spec"]["replicas"] = json!(1);
    deployment
}

#[tokio::test]
async fn a_pod_is_told_of_from_its_start_to_its_end() {
    let (bed, mut events) = bed().await;
    let mut deployment = one(&bed, IMAGE);
    let template = &mut deployment["spec"]["template"];
    template["metadata"]["annotations"] = json!({ "cogo.dev/release-id": "r-1" });
    template["spec"]["containers"][0]["env"] = json!([
        { "name": "PLAIN", "value": "1" },
        { "name": "POD_UID", "valueFrom": { "fieldRef": { "fieldPath": "metadata.uid" } } },
        { "name": "COGO_RELEASE_ID", "valueFrom": {
            "fieldRef": { "fieldPath": "metadata.annotations['cogo.dev/release-id']" },
        } },
    ]);
    bed.apply(&deployment).await;
    let started = next(&mut events).await;
    let ready = next(&mut events).await;
    assert_eq!((started.what, ready.what), (PodWhat::Started, PodWhat::Ready));
    let pod = &bed.pods("web").await[0];
    assert_eq!(ready.pod.uid, pod["metadata"]["uid"]);
    assert_eq!(ready.pod.name, pod["metadata"]["name"]);
    assert_eq!((&*ready.pod.namespace, &*ready.pod.image), (&*bed.namespace, IMAGE));
    assert_eq!(ready.pod.labels["app"], "web");
    assert_eq!(ready.pod.env["POD_UID"], ready.pod.uid);
    assert_eq!(ready.pod.env["COGO_RELEASE_ID"], "r-1");
    assert!(!ready.pod.silent);
    assert!(!format!("{ready:?}").contains("r-1"), "values are not shown");
    bed.merge("web", &json!({ "spec": { "replicas": 0 } })).await;
    assert_eq!(next(&mut events).await.what, PodWhat::Stopping);
    assert_eq!(next(&mut events).await.what, PodWhat::Gone);
}

#[tokio::test]
async fn fates_are_told_as_they_happen() {
    for (fate, expected) in [
        (Fate::Silent, &[PodWhat::Started, PodWhat::Ready][..]),
        (
            Fate::CrashAfterReady(Duration::from_secs(1)),
            &[PodWhat::Started, PodWhat::Ready, PodWhat::Died, PodWhat::Started, PodWhat::Ready],
        ),
        (Fate::CrashAtStart, &[PodWhat::Started, PodWhat::Died, PodWhat::Started, PodWhat::Died]),
        (
            Fate::Flapping(Duration::from_secs(1)),
            &[
                PodWhat::Started,
                PodWhat::Ready,
                PodWhat::NotReady,
                PodWhat::Ready,
                PodWhat::NotReady,
            ],
        ),
        (
            Fate::ReadyThenNot(Duration::from_secs(1)),
            &[PodWhat::Started, PodWhat::Ready, PodWhat::NotReady],
        ),
        (Fate::Slow(Duration::from_secs(2)), &[PodWhat::Started, PodWhat::Ready]),
        (Fate::NeverReady, &[PodWhat::Started]),
    ] {
        let (bed, mut events) = bed().await;
        bed.fates.set("v1.0.0", fate.clone());
        bed.apply(&one(&bed, IMAGE)).await;
        for what in expected {
            let told = next(&mut events).await;
            assert_eq!(told.what, *what, "{fate:?}");
            assert_eq!(told.pod.silent, fate == Fate::Silent);
        }
    }
}

#[tokio::test]
async fn another_digest_than_asked_for_is_told() {
    let (bed, _events) = bed().await;
    let digest = format!("sha256:{}", "5".repeat(64));
    bed.fates.set(&digest, Fate::OtherDigest);
    bed.apply(&one(&bed, &format!("{IMAGE}@{digest}"))).await;
    bed.until_rolled_out("web").await;
    let told = bed.pods("web").await[0]["status"]["containerStatuses"][0]["imageID"].clone();
    let told = told.as_str().unwrap();
    assert!(told.contains("@sha256:") && !told.contains(&digest), "{told}");
}

#[tokio::test]
async fn a_secret_that_is_missing_keeps_a_container_from_starting_until_it_is_there() {
    let (bed, mut events) = bed().await;
    let mut deployment = one(&bed, IMAGE);
    deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([
        { "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "later", "key": "key" } } },
    ]);
    bed.apply(&deployment).await;
    let pod = bed.until_waiting("web", IMAGE, "CreateContainerConfigError").await;
    let why = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
    assert_eq!(why, "secret \"later\" not found");
    let sim = bed.sim.as_ref().unwrap();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: later, namespace: {} }}\n\
         stringData: {{ key: canary }}\n",
        bed.namespace
    );
    sim.load(&secret).unwrap();
    bed.until_rolled_out("web").await;
    let started = next(&mut events).await;
    let names: BTreeSet<&str> = started.pod.env.keys().map(String::as_str).collect();
    assert!(!names.contains("KEY"), "what a Secret holds is not passed on");
}
