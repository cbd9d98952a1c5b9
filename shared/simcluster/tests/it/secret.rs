use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::bed::{on_each, refusal, typed};

const VALUE: &str = "canary-7f3a9c";

fn pull_secret(content: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "pull" },
        "type": "kubernetes.io/dockerconfigjson",
        "data": { ".dockerconfigjson": STANDARD.encode(content) },
    })
}

#[tokio::test]
async fn a_pull_secret_that_is_none_is_refused_without_telling_its_value() {
    on_each(async |bed| {
        let secrets = bed.api::<Secret>();
        let wrong = pull_secret(&format!("not json: {VALUE}"));
        let refused = refusal(secrets.create(&PostParams::default(), &typed(&wrong)).await);
        assert_eq!((refused.code, &*refused.reason), (422, "Invalid"));
        assert!(refused.message.contains("data[.dockerconfigjson]"), "{}", refused.message);
        let all = format!("{refused:?}");
        assert!(!all.contains(VALUE) && !all.contains(&STANDARD.encode(VALUE)[..6]), "{all}");
        let mut none = wrong.clone();
        none["data"] = json!({});
        let refused = refusal(secrets.create(&PostParams::default(), &typed(&none)).await);
        assert!(
            refused.message.contains("data[.dockerconfigjson]: Required value"),
            "{}",
            refused.message
        );
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_applied_and_keeps_its_type() {
    on_each(async |bed| {
        let secrets = bed.api::<Secret>();
        let ours = PatchParams::apply("cogo-image-controller");
        let good = pull_secret("{\"auths\":{}}");
        let first = secrets.patch("pull", &ours, &Patch::Apply(&good)).await.unwrap();
        let again = secrets.patch("pull", &ours, &Patch::Apply(&good)).await.unwrap();
        assert_eq!(first.metadata.resource_version, again.metadata.resource_version);
        assert_eq!(first.data.unwrap()[".dockerconfigjson"].0, b"{\"auths\":{}}");
        let mut other = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pull" }, "type": "Opaque",
        });
        let refused = refusal(secrets.patch("pull", &ours, &Patch::Apply(&other)).await);
        assert_eq!(refused.code, 422);
        assert!(refused.message.contains("field is immutable"), "{}", refused.message);
        other["metadata"]["name"] = "plain".into();
        other["stringData"] = json!({ "key": VALUE });
        let plain = secrets.create(&PostParams::default(), &typed(&other)).await.unwrap();
        assert_eq!(plain.data.unwrap()["key"].0, VALUE.as_bytes());
        assert!(plain.string_data.is_none());
    })
    .await;
}
