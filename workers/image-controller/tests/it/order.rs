use registry::Phase;
use simcluster::Fate;

use crate::bed::Bed;

#[tokio::test]
async fn an_image_that_is_not_there_is_refused_before_anything_is_touched() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    bed.images.lacks("v1.1.0");
    let before = bed.deployment(agent.as_str()).await["metadata"]["generation"].clone();
    let _controller = bed.controller();
    let unknown = bed.record(&agent, "v1.1.0").await;
    let release = bed.until_phase(unknown, Phase::Rejected).await;
    assert_eq!(release.failure_code.as_deref(), Some("image_missing"));
    assert_eq!(bed.deployment(agent.as_str()).await["metadata"]["generation"], before);
}

#[tokio::test]
async fn the_newest_tag_wins_over_one_that_is_still_on_its_way() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    bed.fate("v1.1.0", Fate::NeverReady).await;
    let _controller = bed.controller();
    let older = bed.record(&agent, "v1.1.0").await;
    bed.until_phase(older, Phase::Verifying).await;
    let newer = bed.record(&agent, "v1.2.0").await;
    bed.until_phase(newer, Phase::Active).await;
    assert_eq!(bed.release(older).await.phase, Phase::Superseded);
    assert_eq!(bed.tag(agent.as_str()).await, "v1.2.0");
    assert!(!bed.events("rollout_failed").await.contains(&"rollout_failed".to_owned()));
}

#[tokio::test]
async fn a_bad_image_is_not_tried_again_and_three_in_a_row_pause_the_agent() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    for tag in ["v1.1.0", "v1.2.0", "v1.3.0"] {
        bed.fate(tag, Fate::CrashAtStart).await;
    }
    let _controller = bed.controller();
    let first = bed.record(&agent, "v1.1.0").await;
    bed.until_phase(first, Phase::RolledBack).await;
    // The same image under another tag.
    bed.images.moves("v1.1.1", &crate::registry_server::digest("v1.1.0"));
    let same = bed.record(&agent, "v1.1.1").await;
    let release = bed.until_phase(same, Phase::Rejected).await;
    assert_eq!(release.failure_code.as_deref(), Some("quarantined"));
    for tag in ["v1.2.0", "v1.3.0"] {
        let next = bed.record(&agent, tag).await;
        bed.until_phase(next, Phase::RolledBack).await;
    }
    let told = bed.registry.agent(&agent).await.unwrap().unwrap();
    assert!(told.paused && told.paused_reason.unwrap().contains("3 releases in a row"));
    let held = bed.record(&agent, "v1.4.0").await;
    bed.until_phase(held, Phase::Queued).await;
    bed.registry.resume(&agent).await.unwrap();
    bed.until_phase(held, Phase::Active).await;
}

#[tokio::test]
async fn a_first_release_that_fails_leaves_nothing_running_and_the_next_brings_the_pods_back() {
    let bed = Bed::new().await;
    let agent = bed.agent("codegen").await;
    bed.fate("v1.0.0", Fate::CrashAtStart).await;
    let _controller = bed.controller();
    let first = bed.record(&agent, "v1.0.0").await;
    let release = bed.until_phase(first, Phase::ScaledDown).await;
    assert!(release.restored_ms.is_some());
    assert_eq!(bed.deployment(agent.as_str()).await["spec"]["replicas"], 0);
    let second = bed.record(&agent, "v1.0.1").await;
    bed.until_phase(second, Phase::Active).await;
    assert_eq!(bed.deployment(agent.as_str()).await["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_deployment_without_pods_is_judged_by_one_and_sleeps_again() {
    let bed = Bed::new().await;
    let agent = bed.agent_with("codegen", 0).await;
    let _controller = bed.controller();
    let first = bed.record(&agent, "v1.0.0").await;
    bed.until_phase(first, Phase::Active).await;
    assert_eq!(bed.deployment(agent.as_str()).await["spec"]["replicas"], 0);
    bed.fate("v1.1.0", Fate::CrashAtStart).await;
    let bad = bed.record(&agent, "v1.1.0").await;
    bed.until_phase(bad, Phase::RolledBack).await;
    assert_eq!(bed.deployment(agent.as_str()).await["spec"]["replicas"], 0);
    assert_eq!(bed.tag(agent.as_str()).await, "v1.0.0");
}

#[tokio::test]
async fn an_operator_goes_back_to_what_ran_before() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    let _controller = bed.controller();
    let next = bed.record(&agent, "v1.1.0").await;
    bed.until_phase(next, Phase::Active).await;
    let back = bed.registry.rollback(&agent, None).await.unwrap();
    bed.until_phase(back.release_id, Phase::Active).await;
    assert_eq!(bed.tag(agent.as_str()).await, "v1.0.0");
}

#[tokio::test]
async fn an_agent_whose_deployment_does_not_exist_is_told_so() {
    let bed = Bed::new().await;
    let agent = bed.agent("codegen").await;
    let mut wrong = registry::NewAgent::new(
        "cogo-test-nowhere".parse().unwrap(),
        format!("{}/acme/nowhere", bed.images.host).parse().unwrap(),
    );
    wrong.kube_namespace = Some(bed.server.namespace.clone());
    wrong.default_tag = Some("prod".to_owned());
    wrong.autodeploy_enabled = true;
    bed.registry.put_agent(&wrong).await.unwrap();
    let _controller = bed.controller();
    let lost = bed.record(&wrong.agent_name, "v1.0.0").await;
    let release = bed.until_phase(lost, Phase::Rejected).await;
    assert_eq!(release.failure_code.as_deref(), Some("no_deployment"));
    // And stands in nobody's way.
    let other = bed.record(&agent, "v1.0.0").await;
    bed.until_phase(other, Phase::Active).await;
}
