use bus::{DeadLetter, Explained, Relative, Status};
use model::Tenant;

use super::attempts::{Attempt, How, attempts};
use super::story::Story;
use super::waiting::{keeper, seconds, waiting};
use crate::human::{between, count, cut, date, duration, route};

/// Errors and results are told whole by `cogo bus dlq show` and `--output json`.
const SHOWN: usize = 300;

pub(super) fn story(of: &Explained) -> Story {
    let message = &of.message;
    let mut story = Story::titled(format!(
        "message {}  {}  {}",
        message.id,
        route(&message.route),
        message.status
    ));
    let all = attempts(of);
    match message.status {
        Status::Queued => queued(of, &mut story),
        Status::Claimed => claimed(of, &mut story),
        Status::Done => done(of, &mut story),
        Status::Failed => failed(of, &mut story),
        Status::Cancelled => cancelled(of, &mut story),
    }
    steps(of, &all, &mut story);
    relatives(of, &mut story);
    story.say(format!("Its trace is {}.", message.trace_id));
    story.next(format!("cogo trace {}", message.id), "shows all that belongs to the same intent");
    story
}

fn queued(of: &Explained, story: &mut Story) {
    let waits = duration(between(of.message.created_at, of.facts.read_at));
    let tried = match of.message.attempts {
        0 => "has not been tried yet".to_owned(),
        n => format!("was tried {} of {} times", n, most(of)),
    };
    story.say(format!("It is queued, {waits} after it was published, and {tried}."));
    waiting(of, story);
}

fn most(of: &Explained) -> i32 {
    of.message.max_attempts.unwrap_or(of.facts.settings.max_attempts)
}

fn claimed(of: &Explained, story: &mut Story) {
    let (message, facts) = (&of.message, &of.facts);
    let Some(lease) = &facts.lease else { return };
    let worker = cut(&lease.worker, 80);
    let held = duration(between(lease.claimed_at, facts.read_at));
    story.say(format!(
        "{worker} has been working on it for {held}: attempt {} of {}.",
        message.attempts,
        most(of)
    ));
    if lease.cancel_requested {
        story.say("It was asked to stop, and has not yet.");
    }
    if lease.left_s >= 0.0 {
        story.say(format!(
            "Its lease lasts {} more, unless it is renewed, which a living worker does every {}.",
            seconds(lease.left_s),
            seconds(facts.settings.lease_s / 3.0)
        ));
    } else {
        story.say(format!(
            "Its lease ran out {} ago: the keeper gives the message to another.",
            seconds(-lease.left_s)
        ));
        keeper(facts, story);
    }
    match &facts.holder {
        None => story.say("No worker of that name is known."),
        Some(holder) if holder.state == "gone" => story.say("That worker is gone."),
        Some(holder) if holder.silent_s > 25.0 => story.say(format!(
            "That worker has been silent for {}: it may have died.",
            seconds(holder.silent_s)
        )),
        Some(_) => {}
    }
    if facts.holder.is_some() {
        story.next(format!("cogo explain worker:{worker}"), "tells what else that worker holds");
    }
    if !lease.cancel_requested {
        story.next(format!("cogo bus cancel {}", message.id), "asks its worker to stop");
    }
}

fn done(of: &Explained, story: &mut Story) {
    let Some(receipt) = &of.facts.receipt else { return };
    let took = receipt.claimed_at.map_or_else(String::new, |claimed| {
        let waited = duration(between(of.message.created_at, claimed));
        let worked = duration(between(claimed, receipt.done_at));
        format!(": it waited {waited} in all, and its last attempt took {worked}")
    });
    let again = match receipt.attempts {
        1 => "at the first attempt".to_owned(),
        n => format!("at attempt {n}"),
    };
    story.say(format!("It is done, {again}{took}."));
    if let Some(snippet) = &receipt.result_snippet {
        story.say(format!("What came of it: {}", cut(snippet, SHOWN)));
    }
    if let Some(url) = &receipt.result_url {
        story.say(format!("The rest is at {}", cut(url, SHOWN)));
    }
    story.next(format!("cogo bus replay {}", of.message.id), "does it again, as a new message");
}

fn failed(of: &Explained, story: &mut Story) {
    let Some(receipt) = &of.facts.receipt else { return };
    let reason = receipt.reason.as_deref().unwrap_or("failed");
    let ago = duration(between(receipt.done_at, of.facts.read_at));
    let tries = count(usize::try_from(receipt.attempts).unwrap_or_default(), "attempt");
    story.say(format!("It failed for good {ago} ago, after {tries}: {}.", in_words(reason)));
    if let Some(error) = &receipt.error {
        story.say(format!("It says: {}", cut(error, SHOWN)));
    }
    let replayed_as = of.facts.letter.as_ref().map(|letter| letter.replayed_as);
    after_death(story, of.message.id, reason, of.message.route.stage(), replayed_as);
}

/// `replayed_as`: of its dead letter, where there still is one.
fn after_death(
    story: &mut Story,
    id: model::MessageId,
    reason: &str,
    stage: &model::Stage,
    replayed_as: Option<Option<model::MessageId>>,
) {
    match replayed_as {
        Some(Some(new)) => {
            story.say(format!("It was replayed as message {new}."));
            story.next(format!("cogo explain {new}"), "tells what became of that");
        }
        Some(None) => {
            story.say("It is among the dead letters, and nobody has replayed it.");
            story.next(format!("cogo bus dlq show {id}"), "shows its payload and its whole error");
            story.next(format!("cogo bus replay {id}"), "does it again, once the cause is mended");
            if plain(reason) {
                story.next(
                    format!("cogo bus dlq replay --matching --stage {stage} --reason {reason}"),
                    "the same for all that failed there for this reason",
                );
            }
        }
        None => story.say("Its dead letter has been removed."),
    }
}

/// Whether it can be typed as it is.
fn plain(reason: &str) -> bool {
    !reason.is_empty()
        && reason.chars().all(|mark| mark.is_ascii_alphanumeric() || "_-.".contains(mark))
}

fn in_words(reason: &str) -> String {
    match reason {
        "attempts_exhausted" => "every attempt failed (attempts_exhausted)".to_owned(),
        "lease_lost" => "its worker died or stalled at the last attempt (lease_lost)".to_owned(),
        "expired" => "nobody claimed it before it expired (expired)".to_owned(),
        other => format!("its handler gave up with `{}`", cut(other, 80)),
    }
}

fn cancelled(of: &Explained, story: &mut Story) {
    let Some(receipt) = &of.facts.receipt else { return };
    let ago = duration(between(receipt.done_at, of.facts.read_at));
    let when = match receipt.claimed_at {
        Some(_) => "while a worker was at it",
        None => "while it was queued",
    };
    let why = match receipt.reason.as_deref() {
        None | Some("cancelled") => String::new(),
        Some(reason) => format!(": {}", cut(reason, 80)),
    };
    story.say(format!("It was cancelled {ago} ago, {when}{why}."));
    story.next(format!("cogo bus replay {}", of.message.id), "does it after all, as a new message");
}

fn steps(of: &Explained, all: &[Attempt], story: &mut Story) {
    let message = &of.message;
    let from = match (of.facts.parents.last(), message.replay_of) {
        (_, Some(replayed)) => format!(", as a replay of message {replayed}"),
        (Some(parent), None) => format!(", following from {}", short(parent)),
        (None, None) => String::new(),
    };
    story.step(message.created_at, format!("published{from}"));
    for attempt in all {
        // It has no time that one could tell.
        let Some(at) = attempt.began.or(attempt.ended) else { continue };
        let waited = match (attempt.ready, attempt.began) {
            (Some(ready), Some(began)) => {
                format!(" after waiting {}", duration(between(ready, began)))
            }
            _ => String::new(),
        };
        let who = attempt.worker.as_deref().map_or("a worker".to_owned(), |worker| cut(worker, 80));
        let worked = attempt.began.zip(attempt.ended).map(|(from, to)| duration(between(from, to)));
        let after = worked.map_or_else(String::new, |worked| format!(" after {worked}"));
        let number = attempt.number;
        let how = match &attempt.how {
            How::Running => "still at it".to_owned(),
            How::Done => format!("done{after}"),
            How::Cancelled => format!("cancelled{after}"),
            How::Failed => format!("failed for good{after}"),
            How::Lost => format!("stopped renewing its lease{after}, and lost it"),
            How::Retried { error, again } => {
                let error =
                    error.as_deref().map_or_else(String::new, |it| format!(": {}", cut(it, SHOWN)));
                let again = again.zip(attempt.ended).map_or_else(String::new, |(again, ended)| {
                    format!("; the next one {} later", duration(between(ended, again)))
                });
                format!("failed{after}{again}{error}")
            }
            How::Forgotten => unreachable!("it has no time"),
        };
        story.step(at, format!("attempt {number}, {who}{waited}: {how}"));
    }
    let forgotten = all.iter().filter(|attempt| attempt.how == How::Forgotten).count();
    if forgotten > 0 {
        story.say(format!("Of {} no record is left.", count(forgotten, "earlier attempt")));
    }
    if let Some(receipt) = of.facts.receipt.as_ref().filter(|receipt| receipt.claimed_at.is_none())
    {
        story.step(receipt.done_at, message.status.to_string());
    }
    let shown = ["retried", "reclaimed", "dead_lettered", "expired", "cancelled"];
    for event in of.facts.events.iter().filter(|event| !shown.contains(&event.event_type.as_str()))
    {
        let reason =
            event.reason.as_deref().map_or_else(String::new, |it| format!(": {}", cut(it, 80)));
        story.step(event.created_at, format!("{}{reason}", event.event_type));
    }
    story.steps.sort_by_key(|step| step.at);
}

fn relatives(of: &Explained, story: &mut Story) {
    let facts = &of.facts;
    if !facts.follow_ups.is_empty() {
        let list = list(&facts.follow_ups);
        story.say(format!("From it followed {list}."));
    }
    // What a dead letter was replayed as has been told.
    let told = facts.letter.as_ref().and_then(|letter| letter.replayed_as);
    let replays: Vec<Relative> =
        facts.replays.iter().filter(|replay| Some(replay.id) != told).cloned().collect();
    if !replays.is_empty() {
        story.say(format!("It was replayed as {}.", list(&replays)));
    }
    let stuck =
        facts.follow_ups.iter().find(|one| one.status == "failed" || one.status == "queued");
    if let Some(stuck) = stuck {
        story.next(
            format!("cogo explain {}", stuck.id),
            format!("tells of what followed and is {}", stuck.status),
        );
    }
}

fn list(relatives: &[Relative]) -> String {
    const MOST: usize = 5;
    let mut told: Vec<String> = relatives.iter().take(MOST).map(short).collect();
    if relatives.len() > MOST {
        told.push(format!("{} more", relatives.len() - MOST));
    }
    told.join(", ")
}

/// `message 41 (codegen/generate/0, done)`.
fn short(relative: &Relative) -> String {
    let default = format!("/{}", Tenant::default());
    let route = relative.route.strip_suffix(&default).unwrap_or(&relative.route);
    format!("message {} ({route}, {})", relative.id, relative.status)
}

/// Of a message that retention has removed before its dead letter.
pub(super) fn of_letter(letter: &DeadLetter) -> Story {
    let id = letter.message_id;
    let mut story = Story::titled(format!("message {id}  {}  failed", route(&letter.route)));
    let tries = count(usize::try_from(letter.attempts).unwrap_or_default(), "attempt");
    story.say(format!(
        "It failed for good at {} UTC, after {tries}: {}.",
        date(letter.died_at),
        in_words(&letter.reason)
    ));
    if let Some(error) = &letter.error {
        story.say(format!("It says: {}", cut(error, SHOWN)));
    }
    story.say("The message itself has been removed by retention; its dead letter is what is left.");
    after_death(&mut story, id, &letter.reason, letter.route.stage(), Some(letter.replayed_as));
    story
}
