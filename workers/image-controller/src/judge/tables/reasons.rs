//! What pods, events and images say.

use cluster::facts::{Exit, Phase, State};

use super::check;
use crate::judge::scene::pod;

fn exit(code: i32, reason: &str) -> Exit {
    Exit { code, reason: reason.to_owned() }
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
