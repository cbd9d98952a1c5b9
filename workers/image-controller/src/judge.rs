//! Whether a release is good: a pure function of what is seen, what is heard, and the time.
//!
//! What Kubernetes says of a Deployment proves nothing alone: a program that ends at once is told to
//! be rolled out, for ever, and what is told right after a change is still about the one before.

mod evidence;
mod lacking;
mod reasons;
mod verdict;

use std::time::{Duration, Instant};

use cluster::facts::{Facts, Phase, Pod};

pub use evidence::{Clock, Heartbeat, Limits, Question, Release};
pub use verdict::{Bad, Code, Verdict};

use lacking::{Lacking, lacking};

/// Nothing in here depends on pods of older templates: they can neither vouch for a release nor
/// stand in its way.
pub fn judge(
    facts: &Facts,
    heartbeats: &[Heartbeat],
    release: &Release,
    clock: &Clock,
    limits: &Limits,
) -> Verdict {
    let ours = is_ours(facts, release);
    // What a pod says is true whenever it was seen, so a failure that was seen is one.
    if ours && release.question == Question::IsGood {
        if facts.deployment.paused {
            return Verdict::bad(
                Code::Paused,
                "somebody paused the Deployment: kubectl rollout resume",
            );
        }
        if let Some(bad) = reasons::hopeless(facts, clock, limits) {
            return Verdict::Bad(bad);
        }
    }
    if clock.now.saturating_duration_since(facts.seen) > limits.stale {
        let why =
            facts.trouble.as_ref().map_or("nothing is heard of it".to_owned(), ToString::to_string);
        return Verdict::Hold { why: format!("the Deployment cannot be looked at: {why}") };
    }
    match lacking(facts, heartbeats, release, clock, limits) {
        Lacking::Nothing { since } => soaked(since, facts, release, clock, limits),
        lacking => wait(&lacking, facts, clock, limits),
    }
}

/// Whether the Deployment carries this release at all, as far as is seen.
fn is_ours(facts: &Facts, release: &Release) -> bool {
    facts.deployment.template.release.as_deref() == Some(release.id.as_str())
}

/// All is well, since then. It has to stay so for a while, unless it has proved itself before.
fn soaked(
    since: Instant,
    facts: &Facts,
    release: &Release,
    clock: &Clock,
    limits: &Limits,
) -> Verdict {
    let until = since + limits.soak;
    if release.question == Question::IsBack || clock.now >= until {
        return Verdict::Good;
    }
    // What began in time may end: failing what is well would be the greater harm, and it lasts no
    // longer than the soak.
    if since > deadline(facts, clock, limits) {
        return Verdict::bad(Code::Unstable, "it was well too late, or never for long enough");
    }
    Verdict::Wait { until }
}

fn wait(lacking: &Lacking, facts: &Facts, clock: &Clock, limits: &Limits) -> Verdict {
    let deadline = deadline(facts, clock, limits);
    if let Lacking::Heartbeats { since, .. } = lacking {
        if clock.bus_is_out {
            return Verdict::Hold { why: "workers of unchanged agents are silent too".to_owned() };
        }
        let until = *since + limits.silent;
        let until = after_hold(clock, limits).unwrap_or(until).max(until).min(deadline);
        return if clock.now < until { Verdict::Wait { until } } else { lacking.told(facts) };
    }
    // More time makes no other image of it.
    if clock.now < deadline && !matches!(lacking, Lacking::Image { .. }) {
        return Verdict::Wait { until: deadline };
    }
    match lacking {
        // Kubernetes itself does not get to it: that says nothing about a release.
        Lacking::Notice => {
            Verdict::Hold { why: "Kubernetes has not taken notice of the change".to_owned() }
        }
        lacking => lacking.told(facts),
    }
}

/// Put off by the time in which nothing could be known, also because nobody was there to look.
fn deadline(facts: &Facts, clock: &Clock, limits: &Limits) -> Instant {
    let late = facts.watched_since + available_after(facts) + LATE;
    clock.deadline.max(late).max(after_hold(clock, limits).unwrap_or(late))
}

fn after_hold(clock: &Clock, limits: &Limits) -> Option<Instant> {
    clock.held.map(|held| held + limits.after_hold)
}

/// What whoever comes late needs to see pods and hear workers.
const LATE: Duration = Duration::from_secs(2);

/// How long a pod is ready before Kubernetes calls it available.
fn available_after(facts: &Facts) -> Duration {
    Duration::from_secs(u64::try_from(facts.deployment.min_ready).unwrap_or_default())
}

/// The pods of the release that are there to stay.
fn standing(facts: &Facts) -> impl Iterator<Item = &Pod> {
    let is_over = |phase| matches!(phase, Phase::Failed | Phase::Succeeded);
    facts.pods.iter().filter(move |pod| !pod.going && !is_over(pod.phase))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod tables;
