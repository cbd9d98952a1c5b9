use std::time::Duration;

use bus::{MessageState, WorkerSeen};

use super::story::Story;
use crate::human::{between, count, cut, duration, route};

/// Messages that are named; a worker may hold thousands.
pub(super) const SHOWN: u32 = 20;

const SILENT: Duration = Duration::from_secs(25);
const KEEPER_IS_LATE: Duration = Duration::from_secs(15);

pub(super) fn story(seen: &WorkerSeen, held: &[MessageState], keeper: Option<Duration>) -> Story {
    let id = cut(&seen.id, 255);
    let mut story =
        Story::titled(format!("worker {id}  {}  {}", cut(&seen.agent_name, 63), seen.state));
    let silent = seen.silent.unwrap_or_default();
    let serves = match (&seen.service, &seen.role) {
        (Some(service), Some(role)) => format!("{service}/{role}"),
        _ => "several stages".to_owned(),
    };
    let where_ =
        seen.host.as_deref().map_or_else(String::new, |host| format!(", on {}", cut(host, 80)));
    let version =
        seen.version.as_deref().map_or_else(String::new, |it| format!(", version {}", cut(it, 40)));
    story.say(format!("It serves {serves}{where_}{version}."));
    let up = duration(between(seen.started_at, seen.seen_at));
    story.say(match seen.state.as_str() {
        "gone" => format!("It is gone: after {up} it was last heard of {} ago.", duration(silent)),
        _ if silent > SILENT => format!(
            "It has been silent for {}, and may have died; a minute after its last word it counts as gone.",
            duration(silent)
        ),
        _ => format!("It was last heard of {} ago, after {up}.", duration(silent)),
    });
    if seen.drain_requested && seen.state != "gone" {
        story.say("It was asked to finish what it holds and leave.");
    }
    if held.is_empty() {
        story.say("It holds no message.");
    } else {
        let more = if held.len() >= SHOWN as usize { "at least " } else { "" };
        story.say(format!("It holds {more}{}:", count(held.len(), "message")));
        for message in held {
            story.say(format!(
                "  {} at {}, attempt {}",
                message.id,
                route(&message.route),
                message.attempts
            ));
        }
        if seen.state == "gone" || silent > SILENT {
            story.say("When their leases run out, the keeper gives them to others.");
            if keeper.is_none_or(|silent| silent > KEEPER_IS_LATE) {
                story.say("But no bus-keeper sweeps at the moment.");
                story.next("cogo run bus-keeper", "gives back what dead workers held");
            }
        }
        story.next(format!("cogo explain {}", held[0].id), "tells how far the oldest of them is");
    }
    if let Some(release) = &seen.release_id {
        story.next(
            format!("cogo explain {}", cut(release, 80)),
            "tells of the release that it runs for",
        );
    }
    if seen.state == "ready" && !seen.drain_requested {
        story.next(format!("cogo workers drain {id}"), "has it finish what it holds and leave");
    }
    story.next("cogo workers list", "shows the others");
    story
}
