use std::sync::atomic::Ordering;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use registry::Phase;
use serde_json::json;
use simcluster::{Fate, Fault};
use uuid::Uuid;

use crate::bed::Bed;

/// Its deadline is put off, and no more becomes of it.
async fn is_held(bed: &Bed, release: Uuid) {
    bed.until("the deadline to be put off", async || {
        let client = bed.db.client().await;
        let sql = "select extended from public.image_tag_history where id = $1";
        client.query_one(sql, &[&release]).await.unwrap().get::<_, bool>(0).then_some(())
    })
    .await;
    assert_eq!(bed.release(release).await.phase, Phase::Verifying);
}

#[tokio::test]
async fn when_the_bus_is_out_nothing_is_called_bad_and_it_goes_on_when_it_is_back() {
    let bed = Bed::new().await;
    // An agent that nobody changes, and one that is rolled out.
    bed.running("steady").await;
    let agent = bed.running("codegen").await;
    bed.workers.bus_is_out.store(true, Ordering::Relaxed);
    let _controller = bed.controller();
    let release = bed.record(&agent, "v1.1.0").await;
    bed.until_phase(release, Phase::Verifying).await;
    is_held(&bed, release).await;
    bed.workers.bus_is_out.store(false, Ordering::Relaxed);
    bed.until_phase(release, Phase::Active).await;
}

#[tokio::test]
async fn when_kubernetes_cannot_be_reached_the_state_is_kept() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    bed.fate("v1.1.0", Fate::Slow(Duration::from_secs(20))).await;
    let _controller = bed.controller();
    let release = bed.record(&agent, "v1.1.0").await;
    bed.until_phase(release, Phase::Verifying).await;
    bed.server.sim().faults().unreachable(true);
    is_held(&bed, release).await;
    bed.server.sim().faults().unreachable(false);
    bed.until_phase(release, Phase::Active).await;
}

#[tokio::test]
async fn answers_that_are_lost_wrong_or_late_change_nothing() {
    for fault in [
        Fault::Internal,
        Fault::TooManyRequests,
        Fault::Unavailable,
        Fault::TooLargeVersion,
        Fault::LostAnswer,
    ] {
        let bed = Bed::new().await;
        let agent = bed.running("codegen").await;
        let _controller = bed.controller();
        bed.server.sim().faults().answer_with(fault, 6);
        let release = bed.record(&agent, "v1.1.0").await;
        bed.server.sim().faults().cut_watches();
        bed.until_phase(release, Phase::Active).await;
        assert_eq!(bed.tag(agent.as_str()).await, "v1.1.0", "{fault:?}");
    }
}

#[tokio::test]
async fn watches_that_are_cut_or_too_old_cost_nothing() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    bed.fate("v1.1.0", Fate::Slow(Duration::from_secs(10))).await;
    let _controller = bed.controller();
    let release = bed.record(&agent, "v1.1.0").await;
    bed.until("its end", async || {
        bed.server.sim().compact();
        bed.server.sim().faults().cut_watches();
        (bed.release(release).await.phase == Phase::Active).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_somebody_else_puts_in_its_place_is_put_back() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    bed.fate("v1.1.0", Fate::Slow(Duration::from_secs(10))).await;
    let _controller = bed.controller();
    let release = bed.record(&agent, "v1.1.0").await;
    bed.until_phase(release, Phase::Verifying).await;
    let image = format!("{}/acme/codegen:v9.9.9", bed.images.host);
    let theirs = json!({ "spec": { "template": {
        "metadata": { "annotations": { "cogo.dev/release-id": null } },
        "spec": { "containers": [{ "name": "worker", "image": image }] } } } });
    let deployments = bed.api::<Deployment>();
    let how = PatchParams::default();
    deployments.patch(agent.as_str(), &how, &Patch::Strategic(&theirs)).await.unwrap();
    bed.until_phase(release, Phase::Active).await;
    assert_eq!(bed.tag(agent.as_str()).await, "v1.1.0");
}
