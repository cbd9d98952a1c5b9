use std::time::Duration;

use registry::Phase;
use simcluster::Fate;

use crate::bed::Bed;

/// What becomes of a release whose pods have this fate, when another was good before it.
async fn fails_with(fate: Fate, code: &str) {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    bed.fate("v1.1.0", fate).await;
    let controller = bed.controller();
    let bad = bed.record(&agent, "v1.1.0").await;
    let release = bed.until_phase(bad, Phase::RolledBack).await;
    assert_eq!(release.failure_code.as_deref(), Some(code), "{:?}", release.failure_detail);
    assert_eq!(bed.tag(agent.as_str()).await, "v1.0.0");
    let told = bed.registry.agent(&agent).await.unwrap().unwrap();
    assert_eq!((told.active_tag.as_deref(), told.failures), (Some("v1.0.0"), 1));
    assert!(release.verdict_ms.is_some() && release.restored_ms >= release.verdict_ms);
    let events = bed.events("rollout_%").await;
    assert_eq!(
        events[events.len() - 3..],
        ["rollout_failed", "rollout_rolling_back", "rollout_rolled_back"]
    );
    controller.stop().await;
}

#[tokio::test]
async fn a_good_release_becomes_active_and_its_pods_say_whose_they_are() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    let _controller = bed.controller();
    let next = bed.record(&agent, "v1.1.0").await;
    let release = bed.until_phase(next, Phase::Active).await;
    assert_eq!(bed.tag(agent.as_str()).await, "v1.1.0");
    let found = bed.deployment(agent.as_str()).await;
    let image = &found["spec"]["template"]["spec"]["containers"][0]["image"];
    let digest = release.digest.unwrap();
    assert_eq!(*image, format!("{}/acme/codegen:v1.1.0@{digest}", bed.images.host));
    assert_eq!(found["metadata"]["annotations"]["cogo.dev/release-id"], next.to_string());
    assert_eq!(found["spec"]["replicas"], 2, "how many there are is not ours");
    assert!(release.verdict_ms.is_some() && release.restored_ms.is_none());
}

#[tokio::test]
async fn a_missing_image_is_known_by_the_pods() {
    fails_with(Fate::MissingImage, "image_missing").await;
}

#[tokio::test]
async fn a_refused_pull_is_known_by_the_pods() {
    fails_with(Fate::PullRefused, "image_denied").await;
}

#[tokio::test]
async fn a_crash_at_start_is_known_though_kubernetes_calls_it_a_success() {
    fails_with(Fate::CrashAtStart, "crashed").await;
}

#[tokio::test]
async fn a_crash_after_it_was_ready_is_known_in_the_soak() {
    fails_with(Fate::CrashAfterReady(Duration::from_secs(8)), "crashed").await;
}

#[tokio::test]
async fn memory_that_is_not_enough_is_told_apart_from_a_crash() {
    fails_with(Fate::OutOfMemory, "out_of_memory").await;
}

#[tokio::test]
async fn a_release_that_is_never_ready_is_bad_at_the_deadline() {
    fails_with(Fate::NeverReady, "not_ready").await;
}

#[tokio::test]
async fn a_release_that_was_ready_for_a_moment_is_bad() {
    fails_with(Fate::ReadyThenNot(Duration::from_secs(5)), "not_ready").await;
}

#[tokio::test]
async fn what_comes_and_goes_is_never_well_for_long_enough() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    bed.fate("v1.1.0", Fate::Flapping(Duration::from_secs(3))).await;
    let _controller = bed.controller();
    let bad = bed.record(&agent, "v1.1.0").await;
    let release = bed.until_phase(bad, Phase::RolledBack).await;
    let code = release.failure_code.unwrap();
    assert!(["not_ready", "unstable"].contains(&code.as_str()), "{code}");
}

#[tokio::test]
async fn a_slow_start_is_no_failure() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    bed.fate("v1.1.0", Fate::Slow(Duration::from_secs(20))).await;
    let _controller = bed.controller();
    let slow = bed.record(&agent, "v1.1.0").await;
    bed.until_phase(slow, Phase::Active).await;
}

#[tokio::test]
async fn a_missing_config_is_known_by_the_pods_and_does_not_blame_the_image() {
    fails_with(Fate::WrongConfig, "bad_config").await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_known_by_the_pods() {
    fails_with(Fate::BadEntrypoint, "cannot_start").await;
}

#[tokio::test]
async fn another_image_under_the_same_name_is_known_by_its_digest() {
    fails_with(Fate::OtherDigest, "wrong_image").await;
}

#[tokio::test]
async fn workers_that_stay_silent_on_the_bus_are_a_failure_of_a_green_deployment() {
    fails_with(Fate::Silent, "silent").await;
}

#[tokio::test]
async fn pods_that_admission_refuses_are_known_by_events() {
    fails_with(Fate::Refused, "not_admitted").await;
}

#[tokio::test]
async fn pods_beyond_a_quota_are_known_by_events() {
    fails_with(Fate::OverQuota, "quota").await;
}
