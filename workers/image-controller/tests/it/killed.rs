use registry::Phase;
use simcluster::Fate;
use uuid::Uuid;

use crate::bed::Bed;

/// Kills the controller each time that the release is seen in another phase, at once, and starts
/// another one.
async fn killed_at_every_step(bed: &Bed, release: Uuid, end: Phase) -> Vec<Phase> {
    let mut controller = bed.controller();
    let mut phases: Vec<Phase> = Vec::new();
    loop {
        let phase = bed.until("another phase", async || {
            let phase = bed.release(release).await.phase;
            (phases.last() != Some(&phase)).then_some(phase)
        });
        let phase = phase.await;
        phases.push(phase);
        if phase == end {
            controller.stop().await;
            return phases;
        }
        controller.kill().await;
        controller = bed.controller();
    }
}

#[tokio::test]
async fn a_good_release_becomes_active_though_the_controller_is_killed_at_every_step() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    let release = bed.record(&agent, "v1.1.0").await;
    let phases = killed_at_every_step(&bed, release, Phase::Active).await;
    assert!(phases.contains(&Phase::Verifying), "{phases:?}");
    assert_eq!(bed.tag(agent.as_str()).await, "v1.1.0");
    let told = bed.events("rollout_active").await;
    assert_eq!(told.len(), 2, "each release is told to be active once");
}

#[tokio::test]
async fn a_bad_release_is_rolled_back_though_the_controller_is_killed_at_every_step() {
    for fate in
        [Fate::CrashAtStart, Fate::MissingImage, Fate::NeverReady, Fate::Silent, Fate::Refused]
    {
        let bed = Bed::new().await;
        let agent = bed.running("codegen").await;
        bed.fate("v1.1.0", fate.clone()).await;
        let release = bed.record(&agent, "v1.1.0").await;
        let phases = killed_at_every_step(&bed, release, Phase::RolledBack).await;
        assert!(phases.contains(&Phase::Verifying), "{fate:?} {phases:?}");
        assert_eq!(bed.tag(agent.as_str()).await, "v1.0.0", "{fate:?}");
        assert_eq!(bed.events("rollout_failed").await.len(), 1, "{fate:?}");
        let told = bed.registry.agent(&agent).await.unwrap().unwrap();
        assert_eq!(told.failures, 1, "{fate:?}: a failure is counted once");
    }
}

#[tokio::test]
async fn two_controllers_at_once_are_as_good_as_one() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    let _controllers = [bed.controller(), bed.controller(), bed.controller()];
    bed.fate("v1.1.0", Fate::CrashAtStart).await;
    let bad = bed.record(&agent, "v1.1.0").await;
    bed.until_phase(bad, Phase::RolledBack).await;
    let good = bed.record(&agent, "v1.2.0").await;
    bed.until_phase(good, Phase::Active).await;
    assert_eq!(bed.tag(agent.as_str()).await, "v1.2.0");
    assert_eq!(bed.events("rollout_failed").await.len(), 1);
}

#[tokio::test]
async fn a_controller_that_leaves_hands_over_at_once() {
    let bed = Bed::new().await;
    let agent = bed.running("codegen").await;
    bed.fate("v1.1.0", Fate::NeverReady).await;
    let first = bed.controller_with(|settings| settings.holder_id = Some("first".to_owned()));
    let release = bed.record(&agent, "v1.1.0").await;
    bed.until_phase(release, Phase::Verifying).await;
    first.stop().await;
    let client = bed.db.client().await;
    let sql =
        "select held_until <= clock_timestamp() from public.agent_catalog where held_by = 'first'";
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
    let _second = bed.controller();
    bed.until_phase(release, Phase::RolledBack).await;
}
