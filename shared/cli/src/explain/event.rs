use bus::{EventRow, MessageState};
use messages::EventType;
use serde_json::Value;

use super::story::Story;
use crate::human::{cut, date, route};

pub(super) fn story(event: &EventRow, about: Option<&MessageState>) -> Story {
    let kind = &event.event_type;
    let mut story = Story::titled(format!(
        "event {}  {}  {} UTC",
        event.id,
        cut(kind, 63),
        date(event.created_at)
    ));
    let meaning = kind.parse::<EventType>().ok().and_then(|known| known.meaning());
    story.say(
        meaning.unwrap_or("It is none of those that Cogo itself writes: a stage of yours told it."),
    );
    if let Some(reason) = &event.reason {
        story.say(format!("The reason: {}", cut(reason, 120)));
    }
    match (about, event.message_id, &event.stage) {
        (Some(message), _, _) => {
            story.say(format!(
                "It is about message {} at {}, which is {} now.",
                message.id,
                route(&message.route),
                message.status
            ));
            story.next(format!("cogo explain {}", message.id), "tells the message's whole story");
        }
        (None, Some(id), _) => {
            story.say(format!("It is about message {id}, which has been removed."));
        }
        (None, None, Some(stage)) => {
            story.say(format!("It is about the stage {stage}."));
            story.next(format!("cogo bus stats {stage}"), "shows what stands there");
        }
        (None, None, None) => {}
    }
    if event.tenant.as_str() != "default" {
        story.say(format!("It belongs to the tenant {}.", event.tenant));
    }
    if let Value::Object(payload) = &event.payload {
        for (name, value) in payload {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            story.say(format!("  {name:<14} {}", cut(&value, 200)));
        }
    }
    let release = event.payload.get("release_id").and_then(Value::as_str);
    if let Some(release) = release.filter(|id| id.len() == 36 && !id.contains(char::is_whitespace))
    {
        story.next(format!("cogo explain {release}"), "tells the release's whole story");
    }
    story.next(format!("cogo trace {}", event.trace_id), "shows what else happened in its trace");
    story
}
