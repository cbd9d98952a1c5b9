//! Server-side apply: who owns which field, and what becomes of the rest.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::bed::{Bed, on_each, refusal};

const IMAGE: &str = "registry.test/worker:v1.0.0";

async fn apply(bed: &Bed, manager: &str, part: &Value) -> Result<Value, kube::Error> {
    let ours = PatchParams::apply(manager);
    let name = part["metadata"]["name"].as_str().unwrap();
    let applied = bed.api::<Deployment>().patch(name, &ours, &Patch::Apply(part)).await?;
    Ok(serde_json::to_value(applied).unwrap())
}

/// What another says of the same Deployment.
fn part(spec: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": spec,
    })
}

fn container(fields: &Value) -> Value {
    let mut fields = fields.clone();
    fields["name"] = "worker".into();
    part(&json!({ "template": { "spec": { "containers": [fields] } } }))
}

#[tokio::test]
async fn applying_the_same_again_changes_nothing() {
    on_each(async |bed| {
        let deployment = bed.deployment("web", IMAGE);
        apply(bed, "cogo", &deployment).await.unwrap();
        let settled = bed.until_rolled_out("web").await;
        let again = apply(bed, "cogo", &deployment).await.unwrap();
        assert_eq!(again["metadata"]["generation"], 1);
        assert_eq!(again["metadata"]["resourceVersion"], settled["metadata"]["resourceVersion"]);
    })
    .await;
}

#[tokio::test]
async fn what_others_wrote_survives() {
    on_each(async |bed| {
        let mut deployment = bed.deployment("web", IMAGE);
        deployment["spec"].as_object_mut().unwrap().remove("replicas");
        apply(bed, "cogo", &deployment).await.unwrap();
        bed.merge(
            "web",
            &json!({
                "metadata": { "annotations": { "theirs": "1" } }, "spec": { "replicas": 3 },
            }),
        )
        .await;
        let theirs = json!({ "env": [{ "name": "THEIRS", "value": "1" }] });
        apply(bed, "others", &container(&theirs)).await.unwrap();
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] =
            "registry.test/worker:v2.0.0".into();
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{ "name": "OURS", "value": "1" }]);
        let seen = apply(bed, "cogo", &deployment).await.unwrap();
        assert_eq!(seen["spec"]["replicas"], 3);
        assert_eq!(seen["metadata"]["annotations"]["theirs"], "1");
        let container = &seen["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "registry.test/worker:v2.0.0");
        let mut names: Vec<&str> = container["env"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["OURS", "THEIRS"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_longer_applied_goes_unless_somebody_else_wants_it() {
    on_each(async |bed| {
        let mut deployment = bed.deployment("web", IMAGE);
        let env = json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "1" }]);
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] = env;
        deployment["metadata"]["annotations"] = json!({ "mine": "1" });
        apply(bed, "cogo", &deployment).await.unwrap();
        let b = json!({ "env": [{ "name": "B", "value": "1" }] });
        apply(bed, "others", &container(&b)).await.unwrap();
        let seen = apply(bed, "cogo", &bed.deployment("web", IMAGE)).await.unwrap();
        let env = &seen["spec"]["template"]["spec"]["containers"][0]["env"];
        assert_eq!(*env, json!([{ "name": "B", "value": "1" }]));
        assert!(seen["metadata"]["annotations"]["mine"].is_null());
    })
    .await;
}

#[tokio::test]
async fn a_field_of_somebody_else_is_a_conflict_unless_it_is_taken_by_force() {
    on_each(async |bed| {
        apply(bed, "cogo", &bed.deployment("web", IMAGE)).await.unwrap();
        let other = container(&json!({ "image": "registry.test/worker:v9.0.0" }));
        let refused = refusal(apply(bed, "others", &other).await);
        assert_eq!((refused.code, &*refused.reason), (409, "Conflict"));
        let expected = "Apply failed with 1 conflict: conflict with \"cogo\"";
        assert!(refused.message.starts_with(expected), "{}", refused.message);
        let field = ".spec.template.spec.containers[name=\"worker\"].image";
        assert!(refused.message.ends_with(field), "{}", refused.message);
        let cause = &refused.details.unwrap().causes[0];
        assert_eq!((&*cause.reason, &*cause.field), ("FieldManagerConflict", field));

        let force = PatchParams::apply("others").force();
        let deployments = bed.api::<Deployment>();
        deployments.patch("web", &force, &Patch::Apply(&other)).await.unwrap();
        // It is theirs now, and ours to lose.
        let lost = refusal(apply(bed, "cogo", &bed.deployment("web", IMAGE)).await);
        assert_eq!(lost.code, 409);
    })
    .await;
}

#[tokio::test]
async fn what_was_changed_by_hand_is_a_conflict() {
    on_each(async |bed| {
        apply(bed, "cogo", &bed.deployment("web", IMAGE)).await.unwrap();
        bed.merge("web", &json!({ "spec": { "replicas": 5 } })).await;
        let refused = refusal(apply(bed, "cogo", &bed.deployment("web", IMAGE)).await);
        assert_eq!(refused.code, 409);
        assert!(refused.message.contains(".spec.replicas"), "{}", refused.message);
        assert!(refused.message.contains("\"cogo-test\" using apps/v1"), "{}", refused.message);
    })
    .await;
}

#[tokio::test]
async fn what_was_scaled_by_hand_is_a_conflict() {
    on_each(async |bed| {
        // Older servers forget who scaled.
        if bed.minor_version().await < 22 {
            return;
        }
        apply(bed, "cogo", &bed.deployment("web", IMAGE)).await.unwrap();
        let scale = Patch::Merge(json!({ "spec": { "replicas": 5 } }));
        let by_hand =
            PatchParams { field_manager: Some("kubectl".to_owned()), ..Default::default() };
        bed.api::<Deployment>().patch_scale("web", &by_hand, &scale).await.unwrap();
        let refused = refusal(apply(bed, "cogo", &bed.deployment("web", IMAGE)).await);
        assert_eq!(refused.code, 409);
        assert!(refused.message.contains(".spec.replicas"), "{}", refused.message);
        let who = "\"kubectl\" with subresource \"scale\" using apps/v1";
        assert!(refused.message.contains(who), "{}", refused.message);
    })
    .await;
}

#[tokio::test]
async fn a_field_that_no_type_declares_is_refused() {
    on_each(async |bed| {
        let mut wrong = bed.deployment("web", IMAGE);
        wrong["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x".into();
        let refused = refusal(apply(bed, "cogo", &wrong).await);
        assert_eq!(refused.code, 500);
        assert!(refused.message.contains("field not declared in schema"), "{}", refused.message);
        assert!(refused.message.contains("imagee"), "{}", refused.message);
        assert!(bed.api::<Deployment>().get_opt("web").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn an_apply_says_who_applies_and_what_it_is() {
    on_each(async |bed| {
        let maps = bed.api::<ConfigMap>();
        let good = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x" }, "data": { "a": "1" },
        });
        let mut managed = good.clone();
        managed["metadata"]["managedFields"] = json!([]);
        let mut renamed = good.clone();
        renamed["metadata"]["name"] = "y".into();
        let mut stale = good.clone();
        stale["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111".into();
        for (wrong, code, says) in [
            (&renamed, 400, "the name of the object (y) does not match the name on the URL (x)"),
            (&stale, 409, "uid mismatch"),
        ] {
            let ours = PatchParams::apply("cogo");
            let refused = refusal(maps.patch("x", &ours, &Patch::Apply(wrong)).await);
            assert_eq!(refused.code, code, "{}", refused.message);
            assert!(refused.message.contains(says), "{}", refused.message);
        }
        maps.patch("x", &PatchParams::apply("cogo"), &Patch::Apply(&good)).await.unwrap();
        let dry = PatchParams::apply("cogo").dry_run();
        let mut other = good.clone();
        other["data"]["a"] = "2".into();
        let shown = maps.patch("x", &dry, &Patch::Apply(&other)).await.unwrap();
        assert_eq!(shown.data.unwrap()["a"], "2");
        assert_eq!(maps.get("x").await.unwrap().data.unwrap()["a"], "1", "it was only shown");
    })
    .await;
}

#[tokio::test]
async fn managed_fields_say_who_owns_what() {
    on_each(async |bed| {
        apply(bed, "cogo", &bed.deployment("web", IMAGE)).await.unwrap();
        let seen = bed.merge("web", &json!({ "metadata": { "labels": { "more": "x" } } })).await;
        let managers = seen["metadata"]["managedFields"].as_array().unwrap();
        let of = |manager: &str, operation: &str| {
            managers
                .iter()
                .find(|one| one["manager"] == manager && one["operation"] == operation)
                .map(|one| one["fieldsV1"].clone())
                .unwrap()
        };
        let ours = of("cogo", "Apply");
        let image = "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"worker\"}/f:image";
        assert_eq!(ours.pointer(image), Some(&json!({})), "{ours}");
        assert_eq!(ours.pointer("/f:metadata/f:labels/f:app"), Some(&json!({})));
        assert_eq!(ours.pointer("/f:spec/f:selector"), Some(&json!({})), "a selector is one thing");
        let theirs = of("cogo-test", "Update");
        assert_eq!(theirs.pointer("/f:metadata/f:labels/f:more"), Some(&json!({})));
        assert_eq!(theirs.pointer("/f:spec"), None);
    })
    .await;
}
