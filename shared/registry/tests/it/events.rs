use messages::EventType;
use registry::{Facts, Phase};

use crate::fixture::{Fixture, deadline, name, tag};

#[tokio::test]
async fn a_release_leaves_every_step_under_its_trace() {
    let on = Fixture::new().await;
    on.activate("v1.0.0", "good").await;
    let bad = on.fail("v1.0.1", "bad").await;
    on.step(bad, Phase::RollingBack, &deadline()).await;
    on.step(bad, Phase::RolledBack, &Facts::default()).await;
    let release = on.release(bad).await;
    let sql = format!(
        "select string_agg(event_type || coalesce(' ' || reason, ''), ', ' order by id)
        from public.bus_events where trace_id = '{}'",
        release.trace_id
    );
    assert_eq!(
        on.text(&sql).await.unwrap(),
        "rollout_recorded, rollout_promoted, rollout_resolved, rollout_queued, rollout_deploying, \
         rollout_failed crash, rollout_rolling_back crash, rollout_rolled_back crash"
    );
    assert_eq!(release.rollout_status, "rolled_back");
    assert!(release.verdict_ms.is_some() && release.restored_ms >= release.verdict_ms);
}

#[tokio::test]
async fn who_changes_the_registry_is_told_however_it_is_done() {
    let on = Fixture::new().await;
    on.run("update public.agent_catalog set autodeploy_enabled = true where agent_name = 'cogo-test-worker'").await;
    on.registry.pause(&name(), "for a while").await.unwrap();
    on.registry.resume(&name()).await.unwrap();
    on.run(
        "insert into public.registry_accounts (provider, registry_url, namespace) values ('oci', 'localhost', 'x');
        update public.registry_accounts set description = 'y';
        delete from public.registry_accounts",
    )
    .await;
    assert_eq!(
        on.events().await,
        [
            "agent_added",
            "agent_changed",
            "agent_changed",
            "agent_changed",
            "account_added",
            "account_changed",
            "account_removed",
        ]
    );
    let told = on.payloads().await;
    assert_eq!(told[1]["changed"]["autodeploy_enabled"]["to"], true);
    assert_eq!(told[2]["changed"]["paused_reason"]["to"], "for a while");
    assert_eq!(told[1]["by"], "postgres");
}

#[tokio::test]
async fn every_event_that_the_registry_writes_is_a_known_one() {
    let on = Fixture::new().await;
    on.activate("v1.0.0", "good").await;
    let known: Vec<&str> = EventType::KNOWN.iter().map(|(known, _)| known.as_str()).collect();
    for phase in Phase::ALL {
        // What is staged and what was active is not told when it becomes so.
        if phase != Phase::Retired {
            assert!(known.contains(&format!("rollout_{phase}").as_str()), "{phase}");
        }
    }
    for told in on.events().await {
        assert!(known.contains(&told.as_str()), "{told}");
    }
    assert!(on.registry.promote(&name(), &tag("v1.0.0"), false, None).await.is_ok());
}
