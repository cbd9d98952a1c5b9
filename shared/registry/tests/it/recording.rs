use model::TraceId;
use registry::{Canary, Facts, NewTag, Phase, RegistryError};

use crate::fixture::{Fixture, because, deadline, digest, name, tag};

fn refused<T: std::fmt::Debug>(said: Result<T, RegistryError>) -> String {
    match said.unwrap_err() {
        RegistryError::Refused(refused) => {
            format!("{refused}; {}", refused.hint.as_deref().unwrap_or("no hint"))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_tag_recorded_twice_is_one_release() {
    let on = Fixture::new().await;
    let trace: TraceId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    let new = NewTag {
        digest: Some(digest("one")),
        built_by: Some("ci".to_owned()),
        trace_id: Some(trace),
        ..NewTag::new(name(), tag("v1.0.0"))
    };
    let first = on.registry.record(&new).await.unwrap();
    let again = on.registry.record(&new).await.unwrap();
    assert_eq!((first.attached, again.attached), (false, true));
    assert_eq!(first.release_id, again.release_id);
    let release = on.release(first.release_id).await;
    assert_eq!(release.trace_id, trace);
    assert_eq!((release.phase, release.rollout_status.as_str()), (Phase::Recorded, "staged"));
    assert_eq!(release.built_by.as_deref(), Some("ci"));
}

#[tokio::test]
async fn a_plain_insert_is_the_same_release() {
    let on = Fixture::new().await;
    let service = serde_json::json!({ "role": "service_role" });
    let server = on.test.as_role("service_role", &service).await;
    let sql = "insert into public.image_tag_history (agent_id, tag)
        select id, 'v1.0.0' from public.agent_catalog where agent_name = 'cogo-test-worker'";
    assert_eq!(server.execute(sql, &[]).await.unwrap(), 1);
    let releases = on.registry.releases(Some(&name()), 10).await.unwrap();
    assert_eq!(releases.len(), 1);
    assert_eq!(releases[0].phase, Phase::Recorded);
    let again = on.registry.record(&NewTag::new(name(), tag("v1.0.0"))).await.unwrap();
    assert!(again.attached);
    assert_eq!(again.release_id, releases[0].id);
}

#[tokio::test]
async fn what_may_never_run_is_refused_before_anything_is_written() {
    let on = Fixture::new().await;
    let insert = |tag: &str| {
        format!(
            "insert into public.image_tag_history (agent_id, tag)
            select id, '{tag}' from public.agent_catalog where agent_name = 'cogo-test-worker'"
        )
    };
    for moving in ["latest", "dev", "v1", "v1.0.0-rc1", "dev-20261399000000", ""] {
        let said = on.try_run(&insert(moving)).await.unwrap_err();
        assert!(said.contains("the tag policy refuses"), "{moving}: {said}");
    }
    let nobody = "cogo-unknown-worker".parse().unwrap();
    let said = refused(on.registry.record(&NewTag::new(nobody, tag("v1.0.0"))).await);
    assert!(said.contains("there is no agent `cogo-unknown-worker`"), "{said}");
    assert!(said.contains("cogo-codegen-worker"), "it names those there are: {said}");
    assert!(on.registry.releases(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_tag_that_moved_is_refused() {
    let on = Fixture::new().await;
    let new =
        |image: &str| NewTag { digest: Some(digest(image)), ..NewTag::new(name(), tag("v1.0.0")) };
    on.registry.record(&new("one")).await.unwrap();
    let said = refused(on.registry.record(&new("two")).await);
    assert!(said.contains("has moved"), "{said}");

    // And when only the registry says so.
    let id = on.record("v2.0.0").await;
    on.resolve(id, "three").await;
    on.run("delete from public.image_tag_history where false").await;
    let service = "insert into public.image_tag_history (agent_id, tag)
        select id, 'v2.0.0' from public.agent_catalog where agent_name = 'cogo-test-worker'";
    on.run(service).await;
    let newest = on.registry.releases(Some(&name()), 1).await.unwrap()[0].id;
    on.resolve(newest, "four").await;
    let newest = on.release(newest).await;
    assert_eq!(newest.phase, Phase::Rejected);
    assert_eq!(newest.failure_code.as_deref(), Some("tag_moved"));
}

#[tokio::test]
async fn only_tags_of_the_default_kind_roll_out_by_themselves() {
    let on = Fixture::new().await;
    on.run("update public.agent_catalog set autodeploy_enabled = true").await;
    let dev = on.record("dev-20261121093000").await;
    let prod = on.record("v1.0.0").await;
    on.resolve(dev, "one").await;
    on.resolve(prod, "two").await;
    assert_eq!(on.phase(dev).await, Phase::Queued);
    assert_eq!(on.phase(prod).await, Phase::Resolved);
    let agent = on.registry.agent(&name()).await.unwrap().unwrap();
    assert_eq!(agent.pinned_tag.as_deref(), Some("dev-20261121093000"));
}

#[tokio::test]
async fn an_image_that_failed_is_not_tried_again_unless_forced() {
    let on = Fixture::new().await;
    on.activate("v1.0.0", "good").await;
    let bad = on.fail("v1.0.1", "bad").await;
    on.step(bad, Phase::RollingBack, &deadline()).await;
    on.step(bad, Phase::RolledBack, &Facts::default()).await;

    let said = refused(on.registry.promote(&name(), &tag("v1.0.1"), false, None).await);
    assert!(said.contains("has failed before: crash"), "{said}");
    // Under another tag it is the same image.
    let other = on.record("v1.0.2").await;
    on.resolve(other, "bad").await;
    assert_eq!(on.release(other).await.failure_code.as_deref(), Some("quarantined"));

    let forced = on.registry.promote(&name(), &tag("v1.0.1"), true, None).await.unwrap();
    assert_ne!(forced.release_id, bad, "what is over stays as it was");
    on.resolve(forced.release_id, "bad").await;
    assert_eq!(on.phase(forced.release_id).await, Phase::Queued);
    assert_eq!(on.phase(bad).await, Phase::RolledBack);
}

#[tokio::test]
async fn going_back_finds_what_ran_before_and_needs_no_registry() {
    let on = Fixture::new().await;
    let said = refused(on.registry.rollback(&name(), None).await);
    assert!(said.contains("no earlier release"), "{said}");
    on.activate("v1.0.0", "one").await;
    on.activate("v1.0.1", "two").await;
    let back = on.registry.rollback(&name(), None).await.unwrap().release_id;
    let release = on.release(back).await;
    assert_eq!((release.tag.as_str(), release.phase), ("v1.0.0", Phase::Queued));
    assert_eq!(release.rollback_of_tag, Some(tag("v1.0.1")));
    assert_eq!(release.digest, Some(digest("one")));
    let said = refused(on.registry.rollback(&name(), Some(&tag("v9.0.0"))).await);
    assert!(said.contains("has never run v9.0.0"), "{said}");
}

#[tokio::test]
async fn going_back_to_what_runs_calls_off_what_waits() {
    let on = Fixture::new().await;
    let running = on.activate("v1.0.0", "one").await;
    let waiting = on.record("v1.0.1").await;
    on.registry.promote(&name(), &tag("v1.0.1"), false, None).await.unwrap();
    on.resolve(waiting, "two").await;
    let back = on.registry.rollback(&name(), Some(&tag("v1.0.0"))).await.unwrap();
    assert_eq!(back.release_id, running);
    assert_eq!(on.phase(waiting).await, Phase::Superseded);
    assert!(on.release(running).await.pinned);
}

#[tokio::test]
async fn promoting_what_runs_calls_off_what_is_on_its_way() {
    let on = Fixture::new().await;
    let running = on.activate("v1.0.0", "one").await;
    let newer = on.record("v1.0.1").await;
    on.registry.promote(&name(), &tag("v1.0.1"), false, None).await.unwrap();
    on.resolve(newer, "two").await;
    let pin = "update public.agent_catalog set pinned_tag = 'v1.0.0' where agent_name = 'cogo-test-worker'";
    on.run(pin).await;
    assert_eq!(on.phase(newer).await, Phase::Superseded);
    assert!(on.release(running).await.pinned);

    // What has touched the cluster makes room for it instead.
    let newest = on.record("v1.0.2").await;
    on.registry.promote(&name(), &tag("v1.0.2"), false, None).await.unwrap();
    on.resolve(newest, "three").await;
    on.step(newest, Phase::Deploying, &deadline()).await;
    let back = on.registry.promote(&name(), &tag("v1.0.0"), false, None).await.unwrap().release_id;
    assert_ne!(back, running);
    on.step(back, Phase::Deploying, &deadline()).await;
    assert_eq!(on.phase(newest).await, Phase::Superseded);
}

#[tokio::test]
async fn whoever_writes_pinned_tag_promotes_it() {
    let on = Fixture::new().await;
    let id = on.record("v1.0.0").await;
    on.resolve(id, "one").await;
    let pin = |tag: &str| {
        format!(
            "update public.agent_catalog set pinned_tag = '{tag}' where agent_name = 'cogo-test-worker'"
        )
    };
    on.run(&pin("v1.0.0")).await;
    assert_eq!(on.phase(id).await, Phase::Queued);
    let said = on.try_run(&pin("v7.0.0")).await.unwrap_err();
    assert!(said.contains("has no tag `v7.0.0`"), "{said}");
    let agent = on.registry.agent(&name()).await.unwrap().unwrap();
    assert_eq!(agent.pinned_tag.as_deref(), Some("v1.0.0"));
}

#[tokio::test]
async fn three_failures_in_a_row_pause_the_agent_and_a_success_forgets_them() {
    let on = Fixture::new().await;
    on.activate("v1.0.0", "good").await;
    for (version, image) in [("v1.0.1", "a"), ("v1.0.2", "b")] {
        let bad = on.fail(version, image).await;
        on.step(bad, Phase::RollingBack, &deadline()).await;
        on.step(bad, Phase::RolledBack, &Facts::default()).await;
    }
    on.activate("v1.0.3", "also good").await;
    assert_eq!(on.registry.agent(&name()).await.unwrap().unwrap().failures, 0);
    for (version, image) in [("v1.0.4", "c"), ("v1.0.5", "d"), ("v1.0.6", "e")] {
        assert!(!on.registry.agent(&name()).await.unwrap().unwrap().paused, "{version}");
        let bad = on.fail(version, image).await;
        on.step(bad, Phase::RollingBack, &deadline()).await;
        on.step(bad, Phase::RolledBack, &Facts::default()).await;
    }
    let agent = on.registry.agent(&name()).await.unwrap().unwrap();
    assert!(agent.paused);
    assert_eq!(
        agent.paused_reason.as_deref(),
        Some("3 releases in a row failed, the last one with crash")
    );
    assert_eq!(agent.pinned_tag.as_deref(), Some("v1.0.3"));

    // What is recorded now waits.
    let waits = on.record("v1.0.7").await;
    on.registry.promote(&name(), &tag("v1.0.7"), false, None).await.unwrap();
    on.resolve(waits, "f").await;
    assert_eq!(on.take("me").await, []);
    let fence = on.fence().await;
    let step = on.registry.advance(waits, fence, Phase::Deploying, &deadline()).await.unwrap();
    assert_eq!((step.accepted, step.why.as_deref()), (false, Some("the agent is paused")));
    assert!(on.registry.resume(&name()).await.unwrap());
    assert_eq!(on.take("me").await[0].release_id, waits);
}

#[tokio::test]
async fn a_failure_that_is_not_the_images_does_not_condemn_it() {
    let on = Fixture::new().await;
    let id = on.record("v1.0.0").await;
    on.registry.promote(&name(), &tag("v1.0.0"), false, None).await.unwrap();
    on.resolve(id, "one").await;
    on.step(id, Phase::Deploying, &deadline()).await;
    let facts = Facts { quarantine: Some(false), ..because("quota") };
    on.step(id, Phase::Failed, &facts).await;
    on.step(id, Phase::ScaledDown, &Facts::default()).await;
    assert!(on.registry.promote(&name(), &tag("v1.0.0"), false, None).await.is_ok());
}

#[tokio::test]
async fn a_canary_names_a_shard_or_a_tenant_and_nothing_else() {
    let on = Fixture::new().await;
    let canary = Canary { shard: Some("3".parse().unwrap()), tenant: None };
    let new = NewTag { canary: Some(canary.clone()), ..NewTag::new(name(), tag("v1.0.0")) };
    let id = on.registry.record(&new).await.unwrap().release_id;
    assert_eq!(on.release(id).await.canary, Some(canary));
    for wrong in ["{}", "[]", r#"{"shard": -1}"#, r#"{"tenant": ""}"#, r#"{"percent": 5}"#] {
        let sql = format!(
            "insert into public.image_tag_history (agent_id, tag, canary)
            select id, 'v2.0.0', '{wrong}' from public.agent_catalog where agent_name = 'cogo-test-worker'"
        );
        let said = on.try_run(&sql).await.unwrap_err();
        assert!(said.contains("canary_is_a_shard_or_a_tenant"), "{wrong}: {said}");
    }
}
