//! What is lacking, and for how long it may be.

use cluster::facts::Progress;

use super::{check, soaking_from};
use crate::judge::scene::Scene;
use crate::judge::{Question, Verdict};

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
