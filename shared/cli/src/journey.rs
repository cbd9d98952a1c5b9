use std::collections::BTreeSet;
use std::time::Duration;

use bus::{Bus, EventRow, MessageState, TraceHistory};
use miette::miette;
use model::{MessageId, TraceId};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};

use crate::human::{between, cut, duration, route};

/// Follows a trace to its end and tells what happens on the way, one line each.
pub(crate) async fn follow(
    bus: &Bus,
    trace: TraceId,
    tell: impl Fn(&str),
) -> miette::Result<TraceHistory> {
    let mut told = BTreeSet::new();
    let began = Instant::now();
    let mut quiet_since = None;
    loop {
        if let Some(history) = bus.trace(trace).await? {
            let news = news(&history, &mut told);
            for line in &news {
                tell(line);
            }
            let over = history.messages.iter().all(|message| message.status.is_final());
            if !over || !news.is_empty() {
                quiet_since = None;
            } else if quiet_since.get_or_insert_with(Instant::now).elapsed() > AFTERWORDS {
                return Ok(history);
            }
        }
        if began.elapsed() > PATIENCE {
            let help = "`cogo trace` shows where it stands";
            return Err(miette!(help = help, "the trace {trace} did not end in {PATIENCE:?}"));
        }
        sleep(LOOK_EVERY).await;
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(40);
/// How long after the last message an event about all of them may still come.
const AFTERWORDS: Duration = Duration::from_millis(1500);
/// A first build of a program takes seconds; ten minutes are a mistake.
const PATIENCE: Duration = Duration::from_secs(600);

/// In the order in which they are told when they happened in one moment, as what a settle does: its
/// events, the end of its message, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Event(i64),
    Ended(MessageId),
    Published(MessageId),
    Claimed(MessageId, i32),
}

/// What has not been told yet, in the order of time.
fn news(history: &TraceHistory, told: &mut BTreeSet<Key>) -> Vec<String> {
    let mut all: Vec<(OffsetDateTime, Key, String)> = Vec::new();
    for message in &history.messages {
        all.extend(steps(message));
    }
    for event in &history.events {
        all.push((event.created_at, Key::Event(event.id), happened(event)));
    }
    all.retain(|(_, key, _)| told.insert(*key));
    all.sort_by_key(|(when, key, _)| (*when, *key));
    let from = history.messages.iter().map(|message| message.created_at).min();
    let from = from.unwrap_or(history.read_at);
    all.iter().map(|(when, _, what)| format!("{:>9}  {what}", since(from, *when))).collect()
}

fn since(from: OffsetDateTime, when: OffsetDateTime) -> String {
    format!("{:.3} s", between(from, when).as_secs_f64())
}

fn steps(message: &MessageState) -> Vec<(OffsetDateTime, Key, String)> {
    let MessageState { id, attempts, claimed_by, created_at, claimed_at, done_at, .. } = message;
    let stage = route(&message.route);
    let line = |what: &str| format!("{stage:<22}  {what}");
    let mut steps = vec![(*created_at, Key::Published(*id), line(&format!("message {id}")))];
    if let Some(claimed_at) = claimed_at {
        let who = claimed_by.as_deref().unwrap_or("a worker");
        let again = if *attempts > 1 { format!(", attempt {attempts}") } else { String::new() };
        let what = format!("  claimed by {who}{again}");
        steps.push((*claimed_at, Key::Claimed(*id, *attempts), line(&what)));
    }
    if let Some(done_at) = done_at.filter(|_| message.status.is_final()) {
        let took = duration(between(claimed_at.unwrap_or(*created_at), done_at));
        let told = [&message.error, &message.result_snippet].into_iter().flatten().next();
        let told = told.map_or_else(String::new, |told| format!(": {}", cut(&in_words(told), 80)));
        let what = format!("  {} in {took}{told}", message.status);
        steps.push((done_at, Key::Ended(*id), line(&what)));
    }
    steps
}

fn happened(event: &EventRow) -> String {
    let stage = event.route.as_ref().map(route).unwrap_or_default();
    // What a program prints on its way is read as it is, and in a place of its own.
    if let Some(text) = event.payload.get("text").and_then(Value::as_str) {
        let indent = format!("{:>9}  {stage:<22}      │ ", "");
        let lines: Vec<String> = text.lines().map(|line| cut(line, 80)).collect();
        return format!("{stage:<22}      │ {}", lines.join(&format!("\n{indent}")));
    }
    let mut what = format!("{stage:<22}    {}", event.event_type);
    if let Some(reason) = &event.reason {
        what += &format!(": {}", cut(reason, 80));
    }
    if let Value::Object(payload) = &event.payload {
        what += &format!("  {}", cut(&pairs(payload), 90));
    }
    what.trim_end().to_owned()
}

/// A result that was written for programs, for people; any other is left as it is.
fn in_words(text: &str) -> String {
    serde_json::from_str(text).map_or_else(|_| text.to_owned(), |object| pairs(&object))
}

/// `passed true, tests 3`: what is nested is told by `cogo trace`.
fn pairs(object: &Map<String, Value>) -> String {
    let simple = object.iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some(format!("{name} {}", cut(text, 40))),
        Value::Number(_) | Value::Bool(_) => Some(format!("{name} {value}")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    });
    simple.collect::<Vec<_>>().join(", ")
}
