use std::time::Duration;

use serde_json::json;
use simcluster::Settings;
use tokio::time::sleep;

use crate::bed::{Bed, until};

#[tokio::test]
async fn a_hundred_deployments_roll_at_once() {
    let bed = Bed::simulated(Settings { pace: 5.0, ..Settings::default() }).await;
    let image = |at: usize, version: &str| format!("registry.test/worker-{at}:{version}");
    for version in ["v1.0.0", "v2.0.0"] {
        for at in 0..100 {
            bed.apply(&bed.deployment(&format!("web-{at}"), &image(at, version))).await;
        }
        until("all hundred to be rolled out", async || {
            sleep(Duration::from_secs(2)).await;
            let all: kube::Api<k8s_openapi::api::apps::v1::Deployment> = bed.api();
            let all = all.list(&Default::default()).await.unwrap().items;
            let done = all.iter().filter(|one| {
                let status = one.status.clone().unwrap_or_default();
                let two = Some(2);
                status.observed_generation == one.metadata.generation
                    && status.updated_replicas == two
                    && status.available_replicas == two
                    && status.replicas == two
            });
            (done.count() == 100).then_some(())
        })
        .await;
    }
    bed.merge("web-0", &json!({ "spec": { "replicas": 1 } })).await;
    bed.until_rolled_out("web-0").await;
}
