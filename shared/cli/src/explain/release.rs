use bus::EventRow;
use registry::{Agent, Phase, Release, ReleaseFacts};
use serde::Serialize;
use serde_json::Value;

use super::story::Story;
use super::waiting::seconds;
use crate::human::{between, count, cut, date, duration};
use crate::images::human_ms;

/// A release, and all that tells why it stands where it stands.
#[derive(Serialize)]
pub(super) struct Facts {
    pub(super) release: Release,
    pub(super) facts: ReleaseFacts,
    pub(super) agent: Agent,
    pub(super) events: Vec<EventRow>,
}

pub(super) fn story(of: &Facts) -> Story {
    let Release { agent_name, tag, phase, .. } = &of.release;
    let mut story = Story::titled(format!("release {tag} of {agent_name}  {phase}"));
    stands(of, &mut story);
    failure(of, &mut story);
    quarantine(of, &mut story);
    paused(of, &mut story);
    around(of, &mut story);
    for event in &of.events {
        story.step(event.created_at, step(event));
    }
    story.next(format!("cogo images list {agent_name}"), "shows the releases before and after it");
    story.next(
        format!("cogo trace {}", of.release.trace_id),
        "shows its events with all their details",
    );
    story
}

fn stands(of: &Facts, story: &mut Story) {
    let Release { agent_name, tag, phase, wanted, .. } = &of.release;
    let (release, agent) = (&of.release, &of.agent);
    let previous = release.previous_tag.as_ref();
    match phase {
        Phase::Recorded => {
            story.say("It is recorded, and its registry has not said yet which image it is.");
            controller(of, story);
        }
        Phase::Resolved if !wanted => {
            story.say("Its image is known, and nobody has asked for it to run.");
            let dev = format!("cogo images promote {agent_name} {tag}");
            story.next(dev, "makes it the one that should run");
        }
        Phase::Resolved => story.say("Its image is known, and it is about to be queued."),
        Phase::Queued => {
            story.say("It should run, and is the next to be deployed.");
            if !agent.paused {
                controller(of, story);
            }
        }
        Phase::CanaryDeploying | Phase::CanaryVerifying => {
            let what = if *phase == Phase::CanaryDeploying { "being deployed" } else { "watched" };
            story.say(format!(
                "Its canary, for {}, is {what}; everybody else follows if that goes well.",
                canary(release)
            ));
            deadline(of, story);
        }
        Phase::Deploying | Phase::Verifying => {
            let what =
                if *phase == Phase::Deploying { "being deployed" } else { "deployed, and watched" };
            story.say(format!("It is {what}."));
            deadline(of, story);
        }
        Phase::Active => {
            let took = release
                .verdict_ms
                .map_or_else(String::new, |ms| format!(", {} after it was deployed", human_ms(ms)));
            story.say(format!("It runs: it was found good{took}."));
            let ready = of.facts.workers.iter().filter(|worker| worker.state == "ready").count();
            story.say(format!(
                "{} of it {} ready on the bus.",
                count(ready, "worker"),
                if ready == 1 { "is" } else { "are" }
            ));
            story
                .next(format!("cogo images rollback {agent_name}"), "goes back to what ran before");
        }
        Phase::Retired => {
            story.say(match &of.facts.newer {
                Some(newer) => format!("It ran until {} took its place.", newer.tag),
                None => "It ran until a newer release took its place.".to_owned(),
            });
            story.next(format!("cogo images rollback {agent_name} --to {tag}"), "goes back to it");
        }
        Phase::Superseded => {
            story.say(match &of.facts.newer {
                Some(newer) => format!(
                    "It made room for {}, which was wanted before this one was active.",
                    newer.tag
                ),
                None => "It made room for another release before it was active.".to_owned(),
            });
            story.next(format!("cogo images promote {agent_name} {tag}"), "asks for it again");
        }
        Phase::Rejected => {
            story.say("It was rejected before anything was touched: what ran before runs on.");
        }
        Phase::Failed => {
            story.say(match previous {
                Some(previous) => {
                    format!("It does not run as it should, and {previous} is about to come back.")
                }
                None => "It does not run as it should, and nothing ran before it.".to_owned(),
            });
            controller(of, story);
        }
        Phase::RollingBack => {
            story.say(match previous {
                Some(previous) => {
                    format!("It did not run as it should; {previous} is coming back.")
                }
                None => "It did not run as it should; what ran before is coming back.".to_owned(),
            });
            deadline(of, story);
        }
        Phase::RolledBack => {
            let after = release.restored_ms.map_or_else(String::new, |ms| {
                format!(" {} after this one was deployed", human_ms(ms))
            });
            story.say(match previous {
                Some(previous) => {
                    format!("It did not run as it should; {previous} served again{after}.")
                }
                None => {
                    format!("It did not run as it should; what ran before served again{after}.")
                }
            });
        }
        Phase::RollbackFailed => {
            story.say("It did not run as it should, and what ran before did not come back either: somebody must look.");
            let (namespace, deployment) = (&agent.kube_namespace, &agent.deployment);
            story.next(
                format!("kubectl -n {namespace} describe deployment {deployment}"),
                "shows what Kubernetes says of it",
            );
        }
        Phase::ScaledDown => {
            story.say(
                "It did not run as it should, and nothing had run before it: nothing runs now.",
            );
        }
    }
}

fn canary(release: &Release) -> String {
    let Some(canary) = &release.canary else { return "a part of the work".to_owned() };
    match (&canary.shard, &canary.tenant) {
        (Some(shard), Some(tenant)) => format!("shard {shard} of the tenant {tenant}"),
        (Some(shard), None) => format!("shard {shard}"),
        (None, Some(tenant)) => format!("the tenant {tenant}"),
        (None, None) => "a part of the work".to_owned(),
    }
}

fn deadline(of: &Facts, story: &mut Story) {
    if let Some(deadline) = of.facts.deadline_at {
        let put_off = if of.facts.extended {
            ", which was put off once because nothing could be known"
        } else {
            ""
        };
        story.say(if deadline > of.facts.read_at {
            let left = duration(between(of.facts.read_at, deadline));
            format!("It has {left} left until its deadline{put_off}.")
        } else {
            let late = duration(between(deadline, of.facts.read_at));
            format!("Its deadline passed {late} ago{put_off}.")
        });
    }
    if let Some(detail) =
        of.release.failure_detail.as_ref().filter(|_| of.release.failed_in.is_none())
    {
        story.say(format!("What it lacks now: {}", cut(detail, 300)));
    }
    controller(of, story);
}

/// Only a controller takes it further.
fn controller(of: &Facts, story: &mut Story) {
    match &of.facts.holder {
        Some(holder) if of.facts.held => story.say(format!("{} is at it.", cut(holder, 80))),
        Some(holder) => {
            story.say(format!("No image-controller is at it; the last was {}.", cut(holder, 80)));
            story.next("cogo run image-controller", "takes it further, wherever it stands");
        }
        None => {
            story.say("No image-controller has ever looked at its agent.");
            story.next("cogo run image-controller", "takes it further");
        }
    }
}

fn failure(of: &Facts, story: &mut Story) {
    let release = &of.release;
    let Some(code) = release.failure_code.as_deref().filter(|_| ended_badly(release.phase)) else {
        return;
    };
    let during =
        release.failed_in.map_or_else(String::new, |phase| format!(" while it was {phase}"));
    let after = release
        .verdict_ms
        .map_or_else(String::new, |ms| format!(", {} after it was deployed", human_ms(ms)));
    story.say(format!("Why: `{}`{during}{after}.", cut(code, 63)));
    if let Some(detail) = &release.failure_detail {
        story.say(format!("In words: {}", cut(detail, 300)));
    }
    let (namespace, deployment) = (&of.agent.kube_namespace, &of.agent.deployment);
    match code {
        "image_missing" | "image_denied" | "image_pull" | "repo_missing" | "no_credential"
        | "wrong_registry" | "registry" => {
            story.next("cogo doctor", "tries the login of every account at its registry");
            story.next("cogo accounts list", "shows which credential each account names");
        }
        "crashed" | "out_of_memory" | "unstable" | "not_ready" | "cannot_start" | "silent" => story
            .next(
                format!("kubectl -n {namespace} logs deployment/{deployment} --previous"),
                "shows its last words, as long as its pods are there",
            ),
        "bad_config" | "not_admitted" | "quota" | "unschedulable" | "not_started"
        | "no_deployment" | "scaled_to_zero" | "paused" | "overwritten" => story.next(
            format!("kubectl -n {namespace} get events --sort-by=.lastTimestamp"),
            "shows what Kubernetes objects to",
        ),
        _ => {}
    }
    for secret in &of.facts.pull_secrets {
        story.say(format!(
            "The pull secret {} could not be written: {}",
            secret.secret,
            cut(secret.failure_detail.as_deref().unwrap_or(&secret.failure_code), 200)
        ));
    }
}

fn ended_badly(phase: Phase) -> bool {
    match phase {
        Phase::Rejected
        | Phase::Failed
        | Phase::RollingBack
        | Phase::RolledBack
        | Phase::RollbackFailed
        | Phase::ScaledDown => true,
        Phase::Recorded
        | Phase::Resolved
        | Phase::Queued
        | Phase::CanaryDeploying
        | Phase::CanaryVerifying
        | Phase::Deploying
        | Phase::Verifying
        | Phase::Active
        | Phase::Retired
        | Phase::Superseded => false,
    }
}

fn quarantine(of: &Facts, story: &mut Story) {
    let Some(bad) = &of.facts.quarantine else { return };
    let by =
        if bad.by_release == of.release.id { String::new() } else { format!(" as {}", bad.by_tag) };
    story.say(format!(
        "Its image is quarantined since {} UTC, because it failed{by} with `{}`: it is not deployed again by itself.",
        date(bad.since),
        bad.failure_code
    ));
    let Release { agent_name, tag, .. } = &of.release;
    story.next(
        format!("cogo images promote {agent_name} {tag} --force"),
        "tries the same image once more; a new build needs no force",
    );
}

fn paused(of: &Facts, story: &mut Story) {
    let agent = &of.agent;
    if !agent.paused {
        if agent.failures > 0 {
            story.say(format!(
                "{} of its agent failed in a row; the third pauses it.",
                count(usize::try_from(agent.failures).unwrap_or_default(), "release")
            ));
        }
        return;
    }
    let why = agent
        .paused_reason
        .as_deref()
        .map_or_else(String::new, |why| format!(": {}", cut(why, 200)));
    story.say(format!("Rollouts of {} are paused{why}.", agent.agent_name));
    story.next(
        format!("cogo agents resume {}", agent.agent_name),
        "lets them go on, and forgets the failures",
    );
}

fn around(of: &Facts, story: &mut Story) {
    for other in &of.facts.others {
        story.say(format!("{} of the same agent is {}.", other.tag, other.phase));
    }
    let silent: Vec<String> = of
        .facts
        .workers
        .iter()
        .filter(|worker| worker.silent_s > 25.0)
        .map(|worker| format!("{} for {}", cut(&worker.id, 80), seconds(worker.silent_s)))
        .collect();
    if !silent.is_empty() {
        story.say(format!("Workers of it that have been silent: {}.", silent.join(", ")));
    }
}

fn step(event: &EventRow) -> String {
    let what =
        event.event_type.strip_prefix("rollout_").unwrap_or(&event.event_type).replace('_', " ");
    let mut line = cut(&what, 63);
    if let Some(reason) = &event.reason {
        line.push_str(&format!(": {}", cut(reason, 63)));
    }
    let text = |name: &str| event.payload.get(name).and_then(Value::as_str);
    for (name, words) in [("built_by", "built by"), ("by", "by")] {
        if let Some(value) = text(name) {
            line.push_str(&format!(", {words} {}", cut(value, 63)));
        }
    }
    if event.event_type == "rollout_resolved"
        && let Some(digest) = text("digest")
    {
        line.push_str(&format!(", {}", cut(digest, 19)));
    }
    line
}
