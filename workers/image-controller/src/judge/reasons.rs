use cluster::facts::{Container, Exit, Facts, Phase, Pod, Pull, Refusal, State};

use super::evidence::{Clock, Limits};
use super::verdict::{Bad, Code};

/// What a pod or a refusal says that no waiting can mend.
pub(super) fn hopeless(facts: &Facts, clock: &Clock, limits: &Limits) -> Option<Bad> {
    let pods = facts.pods.iter().filter(|pod| !pod.going);
    let of_pods = pods.flat_map(|pod| pod.containers.iter().map(move |one| (pod, one)));
    let mut found: Vec<Bad> =
        of_pods.filter_map(|(pod, one)| of_container(pod, one, clock, limits)).collect();
    found.extend(facts.refusals.iter().filter_map(|one| of_refusal(one, clock, limits)));
    // Of several the same one, in whatever order they were seen.
    found.into_iter().min_by_key(|bad| (place(bad.code), bad.detail.clone()))
}

fn place(code: Code) -> usize {
    Code::ALL.iter().position(|one| *one == code).unwrap_or(Code::ALL.len())
}

fn of_container(pod: &Pod, container: &Container, clock: &Clock, limits: &Limits) -> Option<Bad> {
    let bad = |code, what: String| {
        let (pod, name) = (&pod.name, &container.name);
        Some(Bad { code, detail: format!("container {name} of pod {pod}: {what}") })
    };
    if let State::Waiting { reason, message } = &container.state {
        let what = if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") };
        match reason.as_str() {
            "InvalidImageName" => return bad(Code::InvalidImage, what),
            "ErrImageNeverPull" => return bad(Code::ImageMissing, what),
            "CreateContainerConfigError" => return bad(Code::BadConfig, what),
            "RunContainerError" | "CreateContainerError" | "PostStartHookError" => {
                return bad(Code::CannotStart, what);
            }
            "CrashLoopBackOff" => return bad(exit_code(container), ended(container, what)),
            _ => {}
        }
    }
    // A restart counts whatever came after it: conditions forget it, and so would we.
    if container.restarts > 0 {
        let what = format!("restarted {} times", container.restarts);
        return bad(exit_code(container), ended(container, what));
    }
    match &container.state {
        // What comes first is meant to end, and a pod that was thrown out is made anew elsewhere.
        State::Exited(exit) if !(was_thrown_out(pod) || container.init && exit.code == 0) => {
            return bad(code_of(exit), told(exit));
        }
        _ => {}
    }
    let pull = container.pull.as_ref()?;
    let code = refused_pull(pull)?;
    let long = clock.now.saturating_duration_since(pull.since) > limits.pull;
    if pull.times >= 2 || long { bad(code, pull.message.clone()) } else { None }
}

fn was_thrown_out(pod: &Pod) -> bool {
    pod.phase == Phase::Failed && pod.reason.is_some()
}

fn exit_code(container: &Container) -> Code {
    container.last_exit.as_ref().map_or(Code::Crashed, code_of)
}

fn code_of(exit: &Exit) -> Code {
    if exit.reason == "OOMKilled" { Code::OutOfMemory } else { Code::Crashed }
}

fn ended(container: &Container, what: String) -> String {
    match &container.last_exit {
        Some(exit) => format!("{what}, {}", told(exit)),
        None => what,
    }
}

fn told(exit: &Exit) -> String {
    match exit.reason.as_str() {
        "" | "Error" | "Completed" => format!("it ended with {}", exit.code),
        reason => format!("it ended with {} ({reason})", exit.code),
    }
}

/// Whether the registry said no. Anything else may pass: a time-out, a registry in trouble, a limit.
fn refused_pull(pull: &Pull) -> Option<Code> {
    let said = without_names(&pull.message);
    let words: Vec<&str> = said.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
    let says = |told: &[&str]| {
        told.iter()
            .any(|one| if one.contains(' ') { said.contains(one) } else { words.contains(one) })
    };
    if says(&["toomanyrequests", "too many requests", "429", "timeout", "timed out"]) {
        None
    } else if says(&[
        "401",
        "403",
        "unauthorized",
        "forbidden",
        "denied",
        "authentication required",
    ]) {
        // Some say so of an image that is not there, to those who may not know.
        Some(Code::ImageDenied)
    } else if says(&["404", "not found", "manifest unknown", "no such image"]) {
        Some(Code::ImageMissing)
    } else {
        None
    }
}

/// What is quoted, and every word with a slash or an `@` in it, is a name: a tag may be v1.404.0, and
/// a digest may have 429 in it.
fn without_names(message: &str) -> String {
    let unquoted = message.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = unquoted.split_whitespace().filter(|word| !word.contains(['/', '@']));
    words.collect::<Vec<_>>().join(" ").to_ascii_lowercase()
}

fn of_refusal(refusal: &Refusal, clock: &Clock, limits: &Limits) -> Option<Bad> {
    let detail = || format!("no pod may be made: {}", refusal.message);
    let said = refusal.message.to_ascii_lowercase();
    if said.contains("exceeded quota") {
        // Pods that are on their way out still count.
        let long = clock.now.saturating_duration_since(refusal.since) > limits.quota;
        return long.then(|| Bad { code: Code::Quota, detail: detail() });
    }
    // The webhook itself is in trouble; it has not refused anything.
    if said.contains("failed calling webhook") {
        return None;
    }
    let refused = ["forbidden", "denied the request", "is invalid", "not found"];
    refused
        .iter()
        .any(|word| said.contains(word))
        .then(|| Bad { code: Code::NotAdmitted, detail: detail() })
}
