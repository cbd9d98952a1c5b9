use cluster::Trouble;
use cluster::facts::{Exit, Phase, Progress, State};

use super::scene::{Scene, pod};
use super::{Question, Verdict};

fn exit(code: i32, reason: &str) -> Exit {
    Exit { code, reason: reason.to_owned() }
}

type Case = (&'static str, fn(&mut Scene), &'static str);

fn check(cases: &[Case]) {
    for (what, change, expected) in cases {
        let mut scene = Scene::well();
        change(&mut scene);
        assert_eq!(scene.told(), *expected, "{what}: {:?}", scene.judge());
    }
}

#[test]
fn a_release_is_good_when_nothing_is_lacking_and_only_then() {
    check(&[
        ("all is well", |_| {}, "good"),
        ("not observed", |s| s.facts.deployment.observed_generation = 6, "wait"),
        (
            "changed again, by a scaler, and not observed",
            |s| s.facts.deployment.generation = 8,
            "wait",
        ),
        ("seen from before the change", |s| s.facts.deployment.generation = 6, "wait"),
        ("too few replicas", |s| s.facts.deployment.replicas = 1, "wait"),
        ("some of before are left", |s| s.facts.deployment.replicas = 3, "wait"),
        ("too few updated", |s| s.facts.deployment.updated = 1, "wait"),
        ("too few available", |s| s.facts.deployment.available = 1, "wait"),
        ("no replica set yet", |s| s.facts.current = None, "wait"),
        ("the replica set knows less", |s| s.facts.current.as_mut().unwrap().available = 1, "wait"),
        (
            "a pod is not seen yet",
            |s| {
                s.facts.pods.pop();
            },
            "wait",
        ),
        ("a pod is not ready", |s| s.facts.pods[0].ready = None, "wait"),
        (
            "an extra pod of a scaler",
            |s| {
                s.facts.deployment.wanted = 3;
            },
            "wait",
        ),
        (
            "fewer are wanted by now",
            |s| {
                let deployment = &mut s.facts.deployment;
                (
                    deployment.wanted,
                    deployment.replicas,
                    deployment.updated,
                    deployment.available,
                ) = (1, 1, 1, 1);
                let current = s.facts.current.as_mut().unwrap();
                (current.wanted, current.replicas, current.available) = (1, 1, 1);
                s.facts.pods[1].going = true;
            },
            "good",
        ),
        (
            "within the soak",
            |s| {
                s.now(8);
            },
            "wait",
        ),
        (
            "at its end",
            |s| {
                s.now(9);
            },
            "good",
        ),
    ]);
}

/// Each of them was seen on real clusters.
#[test]
fn a_rollout_that_conditions_call_a_success_is_no_success() {
    check(&[
        // The container ends at once; "successfully rolled out" after 1.6 s, for ever.
        ("one restart", |s| s.container().restarts = 1, "crashed"),
        ("it has just ended", |s| s.container().state = State::Exited(exit(1, "Error")), "crashed"),
        (
            "it has just ended, and well",
            |s| s.container().state = State::Exited(exit(0, "Completed")),
            "crashed",
        ),
        (
            "out of memory",
            |s| {
                s.container().restarts = 1;
                s.container().last_exit = Some(exit(137, "OOMKilled"));
            },
            "out_of_memory",
        ),
        // Ready, then not ready after 3 s: conditions stay as they are.
        ("not ready any more", |s| s.facts.pods[0].ready = None, "wait"),
        ("ready again, for a moment", |s| s.facts.pods[0].ready = Some(s.at(11)), "wait"),
    ]);
}

#[test]
fn terminal_reasons_are_a_verdict_within_seconds() {
    check(&[
        (
            "a name that is none",
            |s| {
                s.waiting("InvalidImageName", "");
            },
            "invalid_image",
        ),
        (
            "a missing secret",
            |s| {
                s.waiting("CreateContainerConfigError", "secret \"x\" not found");
            },
            "bad_config",
        ),
        (
            "a bad entrypoint",
            |s| {
                s.waiting("RunContainerError", "exec: \"/x\": not found");
            },
            "cannot_start",
        ),
        (
            "crashes",
            |s| {
                s.waiting("CrashLoopBackOff", "back-off 10s");
            },
            "crashed",
        ),
        (
            "crashes of memory",
            |s| {
                s.waiting("CrashLoopBackOff", "").container().last_exit =
                    Some(exit(137, "OOMKilled"));
            },
            "out_of_memory",
        ),
        (
            "still creating",
            |s| {
                s.waiting("ContainerCreating", "");
            },
            "wait",
        ),
        (
            "an init container that did its work",
            |s| {
                s.container().init = true;
                s.container().state = State::Exited(exit(0, "Completed"));
                s.none_available();
            },
            "wait",
        ),
        (
            "an init container that failed",
            |s| {
                s.container().init = true;
                s.container().state = State::Exited(exit(1, "Error"));
                s.none_available();
            },
            "crashed",
        ),
        (
            "a pod that a node threw out",
            |s| {
                s.none_available().facts.pods[0].phase = Phase::Failed;
                s.facts.pods[0].reason = Some("Evicted".to_owned());
                s.container().state = State::Exited(exit(137, "Error"));
            },
            "wait",
        ),
        (
            "a pod that is going",
            |s| {
                s.facts.pods.push(pod("c", s.at(1)));
                s.facts.pods[2].going = true;
                s.facts.pods[2].containers[0].state = State::Exited(exit(143, "Error"));
            },
            "good",
        ),
    ]);
}

#[test]
fn a_refused_pull_is_given_a_second_try() {
    const UNKNOWN: &str =
        "failed to resolve reference \"ghcr.io/acme/a:v2\": ghcr.io/acme/a:v2: not found";
    const DENIED: &str =
        "pull access denied, repository does not exist or may require authorization";
    check(&[
        (
            "just now",
            |s| {
                s.pull(UNKNOWN, 1, 11);
            },
            "wait",
        ),
        (
            "twice",
            |s| {
                s.pull(UNKNOWN, 2, 11);
            },
            "image_missing",
        ),
        (
            "for long",
            |s| {
                s.pull(UNKNOWN, 1, 9);
            },
            "image_missing",
        ),
        (
            "denied",
            |s| {
                s.pull(DENIED, 2, 11);
            },
            "image_denied",
        ),
        (
            "by status",
            |s| {
                s.pull("unexpected status from GET request: 401 Unauthorized", 2, 11);
            },
            "image_denied",
        ),
        (
            "a registry in trouble",
            |s| {
                s.pull("unexpected status: 503 Service Unavailable", 9, 0);
            },
            "wait",
        ),
        (
            "asked too often",
            |s| {
                s.pull("429 Too Many Requests: not found", 9, 0);
            },
            "wait",
        ),
        (
            "no answer",
            |s| {
                s.pull("dial tcp: i/o timeout", 9, 0);
            },
            "wait",
        ),
        (
            "a number in a name",
            |s| {
                s.pull("pulling \"a:v1.404.0@sha256:a429\": unexpected EOF", 9, 0);
            },
            "wait",
        ),
        (
            "a number in a bare name",
            |s| {
                s.pull("manifest for ghcr.io/a:v1.429.0 not found", 2, 11);
            },
            "image_missing",
        ),
        (
            "trouble until the end",
            |s| {
                s.pull("503", 9, 0).now(41);
            },
            "image_pull",
        ),
    ]);
}

#[test]
fn pods_that_may_not_be_made_are_read_from_events() {
    const POLICY: &str = "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\"";
    const QUOTA: &str = "pods \"a\" is forbidden: exceeded quota: q, requested: pods=1";
    const WEBHOOK: &str = "admission webhook \"x\" denied the request: no";
    const BROKEN: &str =
        "Internal error occurred: failed calling webhook \"x\": service \"y\" not found";
    check(&[
        (
            "by policy",
            |s| {
                s.refusal(POLICY, 12);
            },
            "not_admitted",
        ),
        (
            "by a webhook",
            |s| {
                s.refusal(WEBHOOK, 12);
            },
            "not_admitted",
        ),
        (
            "a quota, while others may be going",
            |s| {
                s.refusal(QUOTA, 3);
            },
            "wait",
        ),
        (
            "a quota for long",
            |s| {
                s.refusal(QUOTA, 1);
            },
            "quota",
        ),
        (
            "a webhook in trouble",
            |s| {
                s.refusal(BROKEN, 0);
            },
            "wait",
        ),
        (
            "a webhook in trouble until the end",
            |s| {
                s.refusal(BROKEN, 0).now(41);
            },
            "not_admitted",
        ),
    ]);
}

#[test]
fn what_is_not_there_at_the_deadline_says_what_it_lacked() {
    check(&[
        (
            "in time",
            |s| {
                s.none_available().now(39);
            },
            "wait",
        ),
        (
            "never ready",
            |s| {
                s.none_available().now(40);
            },
            "not_ready",
        ),
        (
            "never started",
            |s| {
                s.waiting("ContainerCreating", "").now(40);
            },
            "not_started",
        ),
        (
            "no pod at all",
            |s| {
                s.none_available().now(40).facts.pods.clear();
            },
            "not_started",
        ),
        (
            "no node",
            |s| {
                s.none_available().now(40).facts.pods[0].unschedulable =
                    Some("0/3 nodes".to_owned());
            },
            "unschedulable",
        ),
        (
            "one of two, by counts alone",
            |s| {
                s.now(40).facts.deployment.available = 1;
            },
            "unstable",
        ),
        (
            "scaled to zero",
            |s| {
                s.now(12).facts.deployment.wanted = 0;
            },
            "wait",
        ),
        (
            "scaled to zero all the time",
            |s| {
                s.now(40).facts.deployment.wanted = 0;
            },
            "scaled_to_zero",
        ),
        (
            "overwritten",
            |s| {
                s.now(12).facts.deployment.template.release = None;
            },
            "wait",
        ),
        (
            "overwritten for good",
            |s| {
                s.now(40).facts.deployment.template.release = None;
            },
            "overwritten",
        ),
        ("paused", |s| s.facts.deployment.paused = true, "paused"),
        (
            "Kubernetes does not look",
            |s| {
                s.now(40).facts.deployment.observed_generation = 6;
            },
            "hold",
        ),
        (
            "well in time, soaking beyond it",
            |s| {
                soaking_from(s, 39);
                s.now(43);
            },
            "wait",
        ),
        (
            "and through it",
            |s| {
                soaking_from(s, 39);
                s.now(46);
            },
            "good",
        ),
        (
            "well too late",
            |s| {
                soaking_from(s, 41);
                s.now(43);
            },
            "unstable",
        ),
    ]);
}

/// Pods are available two seconds after they are ready.
fn soaking_from(scene: &mut Scene, second: u64) {
    let ready = scene.at(second - 2);
    scene.facts.pods.iter_mut().for_each(|pod| pod.ready = Some(ready));
}

/// The first consequence of a rollback on a real cluster: the failure before is still told.
#[test]
fn a_failure_that_kubernetes_tells_is_advice_and_only_about_the_current_replica_set() {
    let given_up = |name: &str| {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        Some(Progress { going: false, reason: "ProgressDeadlineExceeded".to_owned(), message })
    };
    for (name, told) in [("codegen-1", false), ("codegen-2", true), ("codegen-22", false)] {
        let mut scene = Scene::well();
        scene.facts.deployment.progress = given_up(name);
        assert_eq!(scene.told(), "good", "{name}");
        scene.none_available().now(12);
        assert_eq!(scene.told(), "wait", "{name}");
        scene.now(40);
        let Verdict::Bad(bad) = scene.judge() else { panic!("{name}") };
        assert_eq!(bad.detail.contains("given it up"), told, "{name}: {}", bad.detail);
    }
}

#[test]
fn a_green_deployment_whose_workers_are_silent_is_bad_and_a_bus_outage_is_nothing() {
    check(&[
        ("no heartbeat yet", |s| s.heartbeats.clear(), "wait"),
        (
            "none for long",
            |s| {
                s.heartbeats.clear();
                s.now(24);
            },
            "silent",
        ),
        (
            "too few",
            |s| {
                s.heartbeats.pop();
                s.now(24);
            },
            "silent",
        ),
        (
            "of another release",
            |s| {
                s.heartbeats[0].release_id = "r1".to_owned();
                s.now(24);
            },
            "silent",
        ),
        (
            "of another pod",
            |s| {
                s.heartbeats[0].pod_uid = "uid-old".to_owned();
                s.now(24);
            },
            "silent",
        ),
        (
            "not ready to claim",
            |s| {
                s.heartbeats[0].ready = None;
                s.now(24);
            },
            "silent",
        ),
        (
            "not heard of any more",
            |s| {
                s.now(30);
                s.heartbeats[0].heard = s.at(4);
            },
            "silent",
        ),
        (
            "the bus is out",
            |s| {
                s.heartbeats.clear();
                s.now(24).clock.bus_is_out = true;
            },
            "hold",
        ),
        (
            "the bus is out beyond the deadline",
            |s| {
                s.heartbeats.clear();
                s.now(400).clock.bus_is_out = true;
            },
            "hold",
        ),
        (
            "the bus was out until now",
            |s| {
                s.heartbeats.clear();
                s.now(60).clock.held = Some(s.at(59));
            },
            "wait",
        ),
        (
            "it is back, and they stay silent",
            |s| {
                s.heartbeats.clear();
                s.now(75).clock.held = Some(s.at(59));
            },
            "silent",
        ),
        (
            "the bus is out, and it crashed",
            |s| {
                s.container().restarts = 1;
                s.clock.bus_is_out = true;
            },
            "crashed",
        ),
        (
            "workers came late: the soak is theirs",
            |s| {
                s.heartbeats.iter_mut().for_each(|one| {
                    one.ready = Some(s.started + std::time::Duration::from_secs(9));
                });
            },
            "wait",
        ),
    ]);
}

#[test]
fn what_cannot_be_looked_at_is_neither_good_nor_bad() {
    let blind = |second: u64| {
        let mut scene = Scene::well();
        scene.facts.seen = scene.at(10);
        scene.facts.trouble = Some(Trouble::Broken { status: 500 });
        scene.clock.now = scene.at(second);
        scene
    };
    assert_eq!(blind(36).told(), "hold");
    assert_eq!(blind(4000).told(), "hold");
    let mut crashed = blind(36);
    crashed.container().restarts = 1;
    assert_eq!(crashed.told(), "crashed", "what was seen was so");

    // It can be looked at again, long after the deadline.
    let mut back = Scene::well();
    back.none_available().now(100).facts.watched_since = back.at(99);
    assert_eq!(back.told(), "wait", "who comes late looks first");
    back.now(104);
    assert_eq!(back.told(), "not_ready");
    let mut well = Scene::well();
    soaking_from(&mut well, 101);
    well.now(102).facts.watched_since = well.at(99);
    assert_eq!(well.told(), "wait");
    well.now(106);
    assert_eq!(well.told(), "good");
}

#[test]
fn another_image_than_the_one_that_was_asked_for_is_bad_at_once() {
    check(&[
        (
            "another digest",
            |s| s.container().image_id = "ghcr.io/acme/codegen@sha256:11".to_owned(),
            "wrong_image",
        ),
        ("none", |s| s.container().image_id = String::new(), "wrong_image"),
        (
            "another container's",
            |s| {
                let mut other = s.container().clone();
                (other.name, other.image_id) = ("proxy".to_owned(), "proxy@sha256:33".to_owned());
                s.facts.pods[0].containers.push(other);
            },
            "good",
        ),
    ]);
}

#[test]
fn a_release_that_was_good_before_is_back_without_a_soak_and_fails_by_its_deadline_only() {
    let back: fn(&mut Scene) = |scene| {
        scene.release.question = Question::IsBack;
        scene.clock.deadline = scene.at(20);
    };
    for (what, change, expected) in [
        (
            "well, just now",
            (|s| {
                soaking_from(s, 12);
            }) as fn(&mut Scene),
            "good",
        ),
        ("its pods restarted once, days ago", |s| s.container().restarts = 3, "good"),
        (
            "a pull that fails for now",
            |s| {
                s.pull("not found", 5, 0);
            },
            "wait",
        ),
        (
            "a pull that fails for good",
            |s| {
                s.pull("not found", 5, 0).now(21);
            },
            "image_pull",
        ),
        (
            "nobody wants pods",
            |s| {
                s.facts.deployment.wanted = 0;
                s.facts.pods.clear();
            },
            "good",
        ),
        ("no heartbeats", |s| s.heartbeats.clear(), "wait"),
        ("another image", |s| s.container().image_id = "x@sha256:33".to_owned(), "wrong_image"),
        (
            "not even there",
            |s| {
                s.now(21).facts.deployment.template.release = None;
            },
            "overwritten",
        ),
        (
            "a failure of before",
            |s| {
                s.facts.deployment.progress = None;
            },
            "good",
        ),
    ] {
        let mut scene = Scene::well();
        back(&mut scene);
        change(&mut scene);
        assert_eq!(scene.told(), expected, "{what}: {:?}", scene.judge());
    }
}
