//! The older patches, and scaling.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::bed::{Bed, on_each, refusal};

const IMAGE: &str = "registry.test/worker:v1.0.0";

async fn patched(bed: &Bed, patch: &Patch<Value>) -> Result<Value, kube::Error> {
    let seen = bed.api::<Deployment>().patch("web", &PatchParams::default(), patch).await?;
    Ok(serde_json::to_value(seen).unwrap())
}

/// kube has these only with more dependencies than one request is worth.
async fn json_patched(bed: &Bed, steps: &Value) -> Result<Value, kube::Error> {
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", bed.namespace);
    let request = hyper::Request::patch(path)
        .header("content-type", "application/json-patch+json")
        .body(steps.to_string().into_bytes());
    bed.client.request(request.unwrap()).await
}

#[tokio::test]
async fn a_strategic_patch_finds_containers_by_name() {
    on_each(async |bed| {
        let mut deployment = bed.deployment("web", IMAGE);
        let containers = &mut deployment["spec"]["template"]["spec"]["containers"];
        containers.as_array_mut().unwrap().push(json!({ "name": "side", "image": "side:v1" }));
        bed.apply(&deployment).await;
        let patch = json!({ "spec": { "template": { "spec": { "containers": [{
            "name": "side", "image": "side:v2", "env": [{ "name": "A", "value": "1" }],
        }] } } } });
        let seen = patched(bed, &Patch::Strategic(patch)).await.unwrap();
        let containers = &seen["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers.as_array().unwrap().len(), 2);
        assert_eq!((&containers[0]["image"], &containers[1]["image"]), (&json!(IMAGE), &json!("side:v2")));
        let patch = json!({ "spec": { "template": { "spec": { "containers": [{
            "name": "side", "env": [{ "name": "A", "$patch": "delete" }, { "name": "B", "value": "2" }],
        }] } } } });
        let seen = patched(bed, &Patch::Strategic(patch)).await.unwrap();
        let side = &seen["spec"]["template"]["spec"]["containers"][1];
        assert_eq!(side["env"], json!([{ "name": "B", "value": "2" }]));
        let patch = json!({ "spec": { "template": { "spec": { "containers": [
            { "name": "side", "$patch": "delete" },
        ] } } } });
        let seen = patched(bed, &Patch::Strategic(patch)).await.unwrap();
        assert_eq!(seen["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_merge_patch_replaces_whole_lists() {
    on_each(async |bed| {
        bed.apply(&bed.deployment("web", IMAGE)).await;
        let patch = json!({ "spec": { "template": { "spec": { "containers": [
            { "name": "only", "image": "only:v1" },
        ] } } }, "metadata": { "labels": { "app": null, "other": "x" } } });
        let seen = patched(bed, &Patch::Merge(patch)).await.unwrap();
        let containers = &seen["spec"]["template"]["spec"]["containers"];
        assert_eq!(
            (containers.as_array().unwrap().len(), &containers[0]["name"]),
            (1, &json!("only"))
        );
        assert_eq!(seen["metadata"]["labels"], json!({ "other": "x" }));
    })
    .await;
}

#[tokio::test]
async fn a_json_patch_applies_only_where_its_test_holds() {
    on_each(async |bed| {
        bed.apply(&bed.deployment("web", IMAGE)).await;
        let image = "/spec/template/spec/containers/0/image";
        let steps = |held: &str| {
            json!([
                { "op": "test", "path": image, "value": held },
                { "op": "replace", "path": image, "value": "registry.test/worker:v2.0.0" },
            ])
        };
        let refused = refusal(json_patched(bed, &steps("another:v1")).await);
        assert_eq!((refused.code, &*refused.reason), (422, "Invalid"));
        let seen = json_patched(bed, &steps(IMAGE)).await.unwrap();
        assert_eq!(seen.pointer(image).unwrap(), "registry.test/worker:v2.0.0");
        let nothing = json!([{ "op": "remove", "path": "/spec/x" }]);
        let refused = refusal(json_patched(bed, &nothing).await);
        assert_eq!(refused.code, 422);
    })
    .await;
}

#[tokio::test]
async fn a_patch_that_names_an_older_version_is_refused() {
    on_each(async |bed| {
        let first = bed.apply(&bed.deployment("web", IMAGE)).await;
        bed.merge("web", &json!({ "metadata": { "labels": { "a": "b" } } })).await;
        let stale = json!({ "metadata": {
            "resourceVersion": first.metadata.resource_version, "labels": { "a": "c" },
        } });
        let refused = refusal(patched(bed, &Patch::Merge(stale)).await);
        assert_eq!((refused.code, &*refused.reason), (409, "Conflict"));
    })
    .await;
}

#[tokio::test]
async fn scaling_changes_the_replicas_and_nothing_else() {
    on_each(async |bed| {
        bed.apply(&bed.deployment("web", IMAGE)).await;
        bed.until_rolled_out("web").await;
        let deployments = bed.api::<Deployment>();
        let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
        let scale = deployments.patch_scale("web", &PatchParams::default(), &none).await.unwrap();
        assert_eq!(scale.spec.unwrap().replicas.unwrap_or_default(), 0);
        let seen = bed.until_deployment("web", "all pods to go", |seen| {
            seen["status"]["replicas"].is_null() && seen["status"]["observedGeneration"] == 2
        });
        assert_eq!(seen.await["spec"]["template"]["spec"]["containers"][0]["image"], IMAGE);
        assert_eq!(bed.replica_sets("web").await.len(), 1, "scaling makes no new ReplicaSet");
        let two = Patch::Merge(json!({ "spec": { "replicas": 2 } }));
        deployments.patch_scale("web", &PatchParams::default(), &two).await.unwrap();
        bed.until_rolled_out("web").await;
    })
    .await;
}
