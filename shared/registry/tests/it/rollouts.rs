use std::time::Duration;

use registry::{Facts, Phase};

use crate::fixture::{Fixture, HOLD, because, deadline, name, tag};

#[tokio::test]
async fn one_controller_holds_an_agent_and_a_late_one_is_refused() {
    let on = Fixture::new().await;
    let id = on.record("v1.0.0").await;
    let mine = on.take("first").await;
    assert_eq!(mine.len(), 1);
    assert_eq!(on.take("second").await, [], "it is held");
    assert_eq!(on.take("first").await[0].fence, mine[0].fence, "to go on is not to take over");

    assert_eq!(on.registry.let_go("first").await.unwrap(), 1);
    let theirs = on.take("second").await;
    assert_eq!(theirs[0].fence, mine[0].fence + 1);
    let facts = Facts { digest: Some(crate::fixture::digest("x")), ..Facts::default() };
    let late = on.registry.advance(id, mine[0].fence, Phase::Resolved, &facts).await.unwrap();
    assert!(!late.accepted);
    assert_eq!(late.why.as_deref(), Some("another controller has taken the agent over"));
    assert_eq!(on.phase(id).await, Phase::Recorded, "and it changed nothing");
    assert!(
        on.registry.advance(id, theirs[0].fence, Phase::Resolved, &facts).await.unwrap().accepted
    );
}

#[tokio::test]
async fn who_dies_is_followed_when_its_hold_ends() {
    let on = Fixture::new().await;
    on.record("v1.0.0").await;
    on.registry.take_rollouts("dead", Duration::from_secs(5)).await.unwrap();
    assert_eq!(on.take("heir").await, []);
    on.run("update public.agent_catalog set held_until = now() - interval '1 second' where held_by = 'dead'").await;
    assert_eq!(on.take("heir").await.len(), 1);
}

#[tokio::test]
async fn two_controllers_at_once_share_the_agents() {
    let on = Fixture::new().await;
    for agent in ["cogo-agent-core", "cogo-codegen-worker", "cogo-buildtest-worker"] {
        on.run(&format!("select public.registry_record_tag('{agent}', 'v1.0.0')")).await;
    }
    on.record("v1.0.0").await;
    let (one, other) = tokio::join!(on.take("one"), on.take("other"));
    let mut all: Vec<_> = one.iter().chain(&other).map(|rollout| rollout.agent_id).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), one.len() + other.len(), "no agent is held twice");
    let missing = on.take("one").await.len() + on.take("other").await.len();
    assert_eq!(missing, 4, "and none is left");
}

#[tokio::test]
async fn the_newest_wins_also_over_what_is_under_way() {
    let on = Fixture::new().await;
    let active = on.activate("v1.0.0", "one").await;
    let mut ids = Vec::new();
    for (version, image) in [("v1.0.1", "two"), ("v1.0.2", "three")] {
        let id = on.record(version).await;
        on.registry.promote(&name(), &tag(version), false, None).await.unwrap();
        on.resolve(id, image).await;
        ids.push(id);
    }
    let todo = on.take("me").await;
    assert_eq!(todo.len(), 1);
    assert_eq!(todo[0].release_id, ids[1]);
    assert_eq!(on.phase(ids[0]).await, Phase::Superseded);

    on.step(ids[1], Phase::Deploying, &deadline()).await;
    let newer = on.record("v1.0.3").await;
    on.registry.promote(&name(), &tag("v1.0.3"), false, None).await.unwrap();
    on.resolve(newer, "four").await;
    on.step(newer, Phase::Deploying, &deadline()).await;
    assert_eq!(on.phase(ids[1]).await, Phase::Superseded);
    let under_way = on.take("me").await;
    assert_eq!(under_way.len(), 1);
    assert_eq!(under_way[0].previous_id, Some(active), "back to what ran, not to what was tried");
    on.step(newer, Phase::Verifying, &Facts::default()).await;
    on.step(newer, Phase::Active, &Facts::default()).await;
    assert_eq!(on.phase(active).await, Phase::Retired);
}

#[tokio::test]
async fn what_goes_back_comes_to_its_end_before_the_next_begins() {
    let on = Fixture::new().await;
    on.activate("v1.0.0", "one").await;
    let bad = on.fail("v1.0.1", "two").await;
    let next = on.record("v1.0.2").await;
    on.registry.promote(&name(), &tag("v1.0.2"), false, None).await.unwrap();
    on.resolve(next, "three").await;
    let todo: Vec<_> = on.take("me").await.iter().map(|rollout| rollout.release_id).collect();
    assert_eq!(todo, [bad]);
    on.step(bad, Phase::RollingBack, &deadline()).await;
    assert_eq!(
        on.registry.agent(&name()).await.unwrap().unwrap().pinned_tag.as_deref(),
        Some("v1.0.2"),
        "what is wanted meanwhile stays wanted"
    );
    on.step(bad, Phase::RolledBack, &Facts::default()).await;
    assert_eq!(on.take("me").await[0].release_id, next);
}

#[tokio::test]
async fn a_release_that_stays_notes_why_and_is_put_off_once() {
    let on = Fixture::new().await;
    let id = on.record("v1.0.0").await;
    on.step(id, Phase::Recorded, &because("registry_away")).await;
    assert_eq!(on.release(id).await.failure_code.as_deref(), Some("registry_away"));
    on.registry.promote(&name(), &tag("v1.0.0"), false, None).await.unwrap();
    on.resolve(id, "one").await;
    assert_eq!(on.release(id).await.failure_code, None);
    on.step(id, Phase::Deploying, &deadline()).await;
    assert!(!on.take("me").await[0].extended);
    on.step(id, Phase::Deploying, &deadline()).await;
    assert!(on.take("me").await[0].extended);
    let left = on.take("me").await[0].deadline_ms.unwrap();
    assert!(left > 0 && i128::from(left) <= i128::try_from(HOLD.as_millis()).unwrap());
}

#[tokio::test]
async fn heartbeats_and_the_pulse_of_the_rest_are_told_apart() {
    let on = Fixture::new().await;
    let id = on.record("v1.0.0").await;
    for (worker, release, pod) in [("w1", id.to_string(), "p1"), ("w2", "other".to_owned(), "p2")] {
        on.run(&format!(
            "select public.bus_beat('{{\"id\": \"{worker}\", \"agent_name\": \"a\", \"state\": \"ready\",
            \"release_id\": \"{release}\", \"pod_uid\": \"{pod}\", \"digest\": \"sha256:x\"}}')"
        ))
        .await;
    }
    let beats = on.registry.heartbeats(&[id]).await.unwrap();
    assert_eq!(beats.len(), 1);
    assert_eq!((beats[0].pod_uid.as_deref(), beats[0].state.as_str()), (Some("p1"), "ready"));
    let minute = Duration::from_secs(60);
    let pulse = on.registry.pulse(&[id], minute, minute / 2).await.unwrap();
    assert_eq!((pulse.workers, pulse.silent), (1, 0));
    on.run("update public.workers set seen_at = now() - interval '45 seconds'").await;
    let pulse = on.registry.pulse(&[id], minute, minute / 2).await.unwrap();
    assert_eq!((pulse.workers, pulse.silent), (1, 1));
    on.run("update public.workers set state = 'draining'").await;
    let pulse = on.registry.pulse(&[id], minute, minute / 2).await.unwrap();
    assert_eq!((pulse.workers, pulse.silent), (0, 0), "who was told to stop falls silent anyway");
}

#[tokio::test]
async fn what_became_of_a_releases_messages_is_counted_by_who_had_them() {
    let on = Fixture::new().await;
    let id = on.record("v1.0.0").await;
    on.run(&format!(
        "select public.bus_beat('{{\"id\": \"w1\", \"agent_name\": \"a\", \"release_id\": \"{id}\"}}');
        select public.bus_beat('{{\"id\": \"w2\", \"agent_name\": \"a\", \"release_id\": \"other\"}}');
        insert into cogo.receipts (id, status, attempts, worker, claimed_at, done_at)
        select n, case when n % 4 = 0 then 'failed' else 'done' end, 1, 'w' || (1 + n % 2), now() - interval '100 ms', now()
        from generate_series(1, 8) as n"
    ))
    .await;
    let outcomes = on.registry.outcomes(&[id], Duration::from_secs(60)).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    assert_eq!((outcomes[0].done, outcomes[0].failed), (2, 2));
    assert!((outcomes[0].work_p50_ms.unwrap() - 100.0).abs() < 0.01);
}
