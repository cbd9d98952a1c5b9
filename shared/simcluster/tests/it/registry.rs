//! Pods of images that a real registry must have.

use std::time::Duration;

use serde_json::{Value, json};
use simcluster::Settings;
use testkit::ImageRegistry;

use crate::bed::{Bed, until};

#[tokio::test]
async fn only_what_a_registry_has_can_be_pulled_and_only_by_those_it_knows() {
    let registry = ImageRegistry::start().await;
    let address = registry.host();
    let digest = registry.pusher().push("acme/worker", "v1.0.0", &[]).await.unwrap();
    let settings = Settings { pace: 10.0, registry: Some(address.clone()), ..Settings::default() };
    let bed = Bed::simulated(settings).await;
    let image = |tag: &str| format!("{}/acme/worker:{tag}", address);

    let stranger = bed.deployment("web", &image("v1.0.0"));
    bed.apply(&stranger).await;
    let pod = bed.until_waiting("web", &image("v1.0.0"), "ErrImagePull").await;
    assert!(why(&pod).contains("401 Unauthorized"), "{}", why(&pod));

    let login = json!({ "auths": { &address: { "username": registry.user(), "password": registry.password().expose() } } });
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "pull", "namespace": bed.namespace },
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": { ".dockerconfigjson": login.to_string() },
    });
    bed.sim.as_ref().unwrap().load(&secret.to_string()).unwrap();
    let known = |image: &str| {
        let mut deployment = bed.deployment("web", image);
        deployment["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{ "name": "pull" }]);
        deployment
    };
    bed.apply(&known(&image("v1.0.0"))).await;
    bed.until_rolled_out("web").await;
    let pods = until("only those who could pull", async || {
        let pods = bed.pods("web").await;
        (pods.len() == 2).then_some(pods)
    })
    .await;
    let told = &pods[0]["status"]["containerStatuses"][0]["imageID"];
    assert_eq!(*told, format!("{}/acme/worker@{digest}", address));

    bed.apply(&known(&image("v9.9.9"))).await;
    let pod = bed.until_waiting("web", &image("v9.9.9"), "ErrImagePull").await;
    assert!(why(&pod).ends_with("not found"), "{}", why(&pod));
    // What is pushed meanwhile is found by the next attempt.
    registry.pusher().push("acme/worker", "v9.9.9", &[]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), bed.until_rolled_out("web")).await.unwrap();
}

fn why(pod: &Value) -> &str {
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    waiting["message"].as_str().unwrap()
}
