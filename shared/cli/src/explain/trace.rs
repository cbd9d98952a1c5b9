use bus::{MessageState, Status, TraceHistory};

use super::story::Story;
use crate::human::{between, count, cut, duration, route};

/// How a trace stands; `cogo trace` draws all of it.
pub(super) fn story(history: &TraceHistory) -> Story {
    let messages = &history.messages;
    let of = |status| messages.iter().filter(move |message| message.status == status);
    let open = of(Status::Queued).count() + of(Status::Claimed).count();
    let outcome = match (messages.len(), open, of(Status::Failed).count()) {
        (0, _, _) => "events only",
        (_, 1.., _) => "under way",
        (_, 0, 1..) => "failed",
        _ if of(Status::Cancelled).next().is_some() => "cancelled",
        _ => "done",
    };
    let mut story = Story::titled(format!("trace {}  {outcome}", history.trace_id));
    let began = messages.iter().map(|message| message.created_at).min();
    let ended = messages.iter().filter_map(|message| message.done_at).max();
    if let Some(began) = began {
        let until = if open > 0 { history.read_at } else { ended.unwrap_or(history.read_at) };
        let counts: Vec<String> =
            [Status::Done, Status::Queued, Status::Claimed, Status::Failed, Status::Cancelled]
                .into_iter()
                .map(|status| (status, of(status).count()))
                .filter(|(_, number)| *number > 0)
                .map(|(status, number)| format!("{number} {status}"))
                .collect();
        let so_far = if open > 0 { " so far" } else { "" };
        story.say(format!(
            "{} in {}{so_far}: {}.",
            count(messages.len(), "message"),
            duration(between(began, until)),
            counts.join(", ")
        ));
    }
    if history.truncated {
        story.say("It is too long to be read whole; this is of its beginning.");
    }
    // The first is most often the cause of what came after.
    if let Some(failed) = of(Status::Failed).min_by_key(|message| message.done_at) {
        let error =
            failed.error.as_deref().map_or_else(String::new, |it| format!(": {}", cut(it, 200)));
        story.say(format!("The first that failed was {}{error}", short(failed)));
        story.next(format!("cogo explain {}", failed.id), "tells why that one failed");
    }
    for waiting in of(Status::Queued).chain(of(Status::Claimed)).take(MOST) {
        story.say(format!("{} is {}.", capital(&short(waiting)), waiting.status));
        let why = match waiting.status {
            Status::Claimed => "tells who works on it",
            _ => "tells what it waits for",
        };
        story.next(format!("cogo explain {}", waiting.id), why);
    }
    story.next(
        format!("cogo trace {}", history.trace_id),
        "draws all of it, with waits and durations",
    );
    if open > 0 {
        story.next(format!("cogo bus cancel {}", history.trace_id), "ends what has not ended");
    }
    story
}

const MOST: usize = 3;

fn short(message: &MessageState) -> String {
    format!("message {} at {}", message.id, route(&message.route))
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next()
        .map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), rest.as_str()))
}
