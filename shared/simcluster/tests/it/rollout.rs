use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};
use simcluster::Fate;

use crate::bed::{condition, on_each, until};

const GOOD: &str = "registry.test/acme/worker:v1.0.0";
const NEXT: &str = "registry.test/acme/worker:v1.1.0";

fn image(name: &str, fate: &str) -> String {
    format!("registry.test/acme/{name}:v1.1.0-{fate}")
}

fn with_image(mut deployment: Value, image: &str) -> Value {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    deployment
}

#[tokio::test]
async fn a_good_image_replaces_the_one_before() {
    on_each(async |bed| {
        let first = bed.apply(&bed.deployment("web", GOOD)).await;
        assert_eq!(first.metadata.generation, Some(1));
        bed.until_rolled_out("web").await;
        let second = bed.apply(&with_image(bed.deployment("web", GOOD), NEXT)).await;
        assert_eq!(second.metadata.generation, Some(2));
        let done = bed.until_rolled_out("web").await;
        assert_eq!(condition(&done, "Progressing"), ("True", "NewReplicaSetAvailable"));
        assert_eq!(condition(&done, "Available"), ("True", "MinimumReplicasAvailable"));
        let sets = bed.replica_sets("web").await;
        assert_eq!(sets.len(), 2, "the old ReplicaSet stays for going back");
        let image_of = |pod: &Value| pod["spec"]["containers"][0]["image"].clone();
        until("only the new image to run", async || {
            let pods = bed.pods("web").await;
            (pods.len() == 2 && pods.iter().all(|pod| image_of(pod) == NEXT)).then_some(())
        })
        .await;
        for pod in bed.pods("web").await {
            let hash = &pod["metadata"]["labels"]["pod-template-hash"];
            let set =
                sets.iter().find(|one| one["metadata"]["labels"]["pod-template-hash"] == *hash);
            assert_eq!(
                pod["metadata"]["ownerReferences"][0]["uid"],
                set.unwrap()["metadata"]["uid"]
            );
            let container = &pod["status"]["containerStatuses"][0];
            let digest = container["imageID"].as_str().unwrap();
            assert!(digest.contains("@sha256:"), "{container}");
            assert_eq!(container["restartCount"], 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_digest_is_asked_for_and_told_again() {
    on_each(async |bed| {
        let digest = format!("sha256:{}", "5".repeat(64));
        let pinned = format!("{GOOD}@{digest}");
        bed.apply(&bed.deployment("web", &pinned)).await;
        bed.until_rolled_out("web").await;
        let container = bed.pods("web").await[0]["status"]["containerStatuses"][0].clone();
        assert_eq!(container["imageID"], format!("registry.test/acme/worker@{digest}"));
        assert_eq!(container["image"], GOOD, "the digest is only in the image's id");
    })
    .await;
}

#[tokio::test]
async fn a_missing_image_is_seen_in_the_pod_and_much_later_in_the_deployment() {
    on_each(async |bed| {
        bed.apply(&bed.deployment("web", GOOD)).await;
        bed.until_rolled_out("web").await;
        let bad = image("web", "bad-pull");
        bed.apply(&with_image(bed.deployment("web", GOOD), &bad)).await;
        let pod = bed.until_waiting("web", &bad, "ErrImagePull").await;
        assert_eq!(pod["status"]["phase"], "Pending");
        bed.until_waiting("web", &bad, "ImagePullBackOff").await;
        let late = bed
            .until_deployment("web", "the deadline", |seen| {
                condition(seen, "Progressing") == ("False", "ProgressDeadlineExceeded")
            })
            .await;
        assert_eq!(condition(&late, "Available").0, "True", "the old pods still serve");
        assert_eq!(late["status"]["availableReplicas"], 2);

        // The verdict on the bad image is still there when the good one is asked for again.
        let back = bed.apply(&bed.deployment("web", GOOD)).await;
        let right_after = serde_json::to_value(&back).unwrap();
        assert_eq!(condition(&right_after, "Progressing").1, "ProgressDeadlineExceeded");
        bed.until_deployment("web", "the old verdict to go", |seen| {
            condition(seen, "Progressing") == ("True", "NewReplicaSetAvailable")
        })
        .await;
        assert_eq!(bed.replica_sets("web").await.len(), 2, "the old ReplicaSet is used again");
    })
    .await;
}

#[tokio::test]
async fn a_container_that_exits_at_once_counts_as_rolled_out_for_ever() {
    on_each(async |bed| {
        let bad = image("web", "crash");
        let mut deployment = bed.deployment("web", &bad);
        deployment["spec"]["minReadySeconds"] = json!(0);
        let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
        container.as_object_mut().unwrap().remove("readinessProbe");
        bed.apply(&deployment).await;
        bed.until_deployment("web", "the false success", |seen| {
            condition(seen, "Progressing") == ("True", "NewReplicaSetAvailable")
        })
        .await;
        bed.until_waiting("web", &bad, "CrashLoopBackOff").await;
        let later = bed
            .until_deployment("web", "nothing to be available", |seen| {
                condition(seen, "Available").0 == "False"
                    && seen["status"]["availableReplicas"].is_null()
            })
            .await;
        assert_eq!(condition(&later, "Progressing"), ("True", "NewReplicaSetAvailable"));
        let pod = bed.until_pod("web", "a restart", |pod| {
            pod["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(1)
        });
        let container = pod.await["status"]["containerStatuses"][0].clone();
        assert_eq!(container["lastState"]["terminated"]["exitCode"], 1);
    })
    .await;
}

#[tokio::test]
async fn every_fate_is_told_by_its_pod() {
    on_each(async |bed| {
        for (fate, reason) in [
            ("badcfg", "CreateContainerConfigError"),
            ("badcmd", "RunContainerError"),
            ("pull-refused", "ErrImagePull"),
            ("oom", "CrashLoopBackOff"),
        ] {
            let bad = image(fate, fate);
            bed.apply(&bed.deployment(fate, &bad)).await;
            let pod = bed.until_waiting(fate, &bad, reason).await;
            if fate == "oom" {
                let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
                assert_eq!(
                    (last["exitCode"].as_i64(), &last["reason"]),
                    (Some(137), &json!("OOMKilled"))
                );
            }
        }
        bed.apply(&bed.deployment("never", &image("never", "notready"))).await;
        bed.until_pod("never", "a pod that runs", |pod| pod["status"]["phase"] == "Running").await;
        let seen = bed
            .until_deployment("never", "the deadline", |seen| {
                condition(seen, "Progressing").1 == "ProgressDeadlineExceeded"
            })
            .await;
        assert_eq!(seen["status"]["readyReplicas"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn pods_that_may_not_be_made_are_only_seen_in_events_and_conditions() {
    on_each(async |bed| {
        let quota = json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": { "name": "few" },
            "spec": { "hard": { "pods": "1" } },
        });
        let quota = serde_json::from_value(quota).unwrap();
        let quotas = bed.api::<k8s_openapi::api::core::v1::ResourceQuota>();
        quotas.create(&kube::api::PostParams::default(), &quota).await.unwrap();
        if bed.sim.is_none() {
            until("the quota to count", async || {
                let seen = quotas.get("few").await.unwrap();
                seen.status.and_then(|status| status.hard).map(|_| ())
            })
            .await;
        }
        bed.apply(&bed.deployment("web", GOOD)).await;
        bed.until_event("FailedCreate", "exceeded quota: few, requested: pods=1").await;
        let seen = bed
            .until_deployment("web", "the failure", |seen| {
                condition(seen, "ReplicaFailure") == ("True", "FailedCreate")
            })
            .await;
        assert_eq!(bed.pods("web").await.len(), 1);
        assert_ne!(condition(&seen, "Progressing").1, "NewReplicaSetAvailable");
    })
    .await;
}

#[tokio::test]
async fn a_refused_pod_never_exists() {
    let bed = crate::bed::Bed::simulated(simcluster::Settings::default()).await;
    bed.fates.set("v1.0.0", Fate::Refused);
    bed.apply(&bed.deployment("web", GOOD)).await;
    bed.until_event("FailedCreate", "violates PodSecurity").await;
    assert!(bed.pods("web").await.is_empty());
    // What was refused is tried again, and works when the reason is gone.
    bed.fates.forget("v1.0.0");
    bed.until_rolled_out("web").await;
}

#[tokio::test]
async fn only_so_many_old_replica_sets_are_kept() {
    on_each(async |bed| {
        for number in 0..5 {
            let image = format!("registry.test/acme/worker:v1.{number}.0");
            bed.apply(&bed.deployment("web", &image)).await;
            bed.until_rolled_out("web").await;
        }
        until("the oldest to be forgotten", async || {
            (bed.replica_sets("web").await.len() == 3).then_some(())
        })
        .await;
        let seen = bed.api::<Deployment>().get("web").await.unwrap();
        let revision = &seen.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"];
        assert_eq!(revision, "5");
    })
    .await;
}

#[tokio::test]
async fn pods_drain_for_as_long_as_they_need_and_hold_nothing_up() {
    on_each(async |bed| {
        bed.fates.set_drain(GOOD, std::time::Duration::from_secs(3));
        bed.apply(&bed.deployment("web", GOOD)).await;
        bed.until_rolled_out("web").await;
        bed.apply(&bed.deployment("web", NEXT)).await;
        bed.until_rolled_out("web").await;
        let old = bed.until_pod("web", "an old pod that drains", |pod| {
            pod["metadata"]["deletionTimestamp"].is_string()
        });
        assert_eq!(old.await["spec"]["containers"][0]["image"], GOOD);
        until("the old pods to be gone", async || (bed.pods("web").await.len() == 2).then_some(()))
            .await;
    })
    .await;
}
