use registry::{Canary, Phase};
use simcluster::Fate;

use crate::bed::Bed;

fn one_tenant() -> Canary {
    Canary { shard: None, tenant: Some("acme".parse().unwrap()) }
}

/// What is left of a canary: how many pods it is to have.
async fn pods(bed: &Bed, agent: &str) -> Option<i64> {
    bed.deployment(&format!("{agent}-canary")).await["spec"]["replicas"].as_i64()
}

#[tokio::test]
async fn a_good_canary_serves_its_route_and_then_the_rest_follows() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    let _controller = bed.controller();
    let release = bed.record_canary(&agent, "v1.1.0", one_tenant()).await;
    bed.until_phase(release, Phase::CanaryVerifying).await;
    assert_eq!(bed.tag(agent.as_str()).await, "v1.0.0", "the rest waits");
    let canary = bed.deployment(&format!("{agent}-canary")).await;
    let env = canary["spec"]["template"]["spec"]["containers"][0]["env"].clone();
    assert!(
        env.as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "AGENT_TENANT" && one["value"] == "acme")
    );
    bed.until_phase(release, Phase::Active).await;
    assert_eq!(bed.tag(agent.as_str()).await, "v1.1.0");
    assert_eq!(pods(&bed, agent.as_str()).await, Some(0));
}

#[tokio::test]
async fn a_bad_canary_ends_and_the_rest_was_never_touched() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    let before = bed.deployment(agent.as_str()).await["spec"].clone();
    bed.fate("v1.1.0", Fate::CrashAtStart).await;
    let _controller = bed.controller();
    let release = bed.record_canary(&agent, "v1.1.0", one_tenant()).await;
    let release = bed.until_phase(release, Phase::RolledBack).await;
    assert_eq!(release.failure_code.as_deref(), Some("crashed"));
    assert_eq!(bed.deployment(agent.as_str()).await["spec"], before);
    assert_eq!(pods(&bed, agent.as_str()).await, Some(0));
}

#[tokio::test]
async fn a_canary_whose_messages_fail_is_bad_though_its_pods_are_well() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    let _controller = bed.controller_with(|settings| {
        settings.canaries.canary_serves = std::time::Duration::from_secs(60);
    });
    let release = bed.record_canary(&agent, "v1.1.0", one_tenant()).await;
    bed.until_phase(release, Phase::CanaryVerifying).await;
    let client = bed.db.client().await;
    let worker = bed.until("the canary's worker", async || {
        let sql = "select id from public.workers where release_id = $1 and state = 'ready'";
        let rows = client.query(sql, &[&release.to_string()]).await.unwrap();
        rows.first().map(|row| row.get::<_, String>(0))
    });
    let worker = worker.await;
    for _ in 0..5 {
        let sql = "insert into public.agent_messages (service, role, payload, max_attempts)
            values ('codegen', 'generate', '{}', 1)";
        client.execute(sql, &[]).await.unwrap();
    }
    crate::fleet::fail_all(&bed.db, &worker).await;
    let release = bed.until_phase(release, Phase::RolledBack).await;
    assert_eq!(release.failure_code.as_deref(), Some("canary_failures"));
    assert_eq!(bed.tag(agent.as_str()).await, "v1.0.0");
}

#[tokio::test]
async fn a_canary_that_something_newer_overtakes_does_not_stay_behind() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    let _controller = bed.controller_with(|settings| {
        settings.canaries.canary_serves = std::time::Duration::from_secs(60);
    });
    let older = bed.record_canary(&agent, "v1.1.0", one_tenant()).await;
    bed.until_phase(older, Phase::CanaryVerifying).await;
    let newer = bed.record(&agent, "v1.2.0").await;
    bed.until_phase(newer, Phase::Active).await;
    assert_eq!(bed.release(older).await.phase, Phase::Superseded);
    assert_eq!(pods(&bed, agent.as_str()).await, Some(0));
}
