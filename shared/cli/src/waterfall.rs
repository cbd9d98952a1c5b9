use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bus::{EventRow, MessageState, Status, TraceHistory};
use model::MessageId;
use time::OffsetDateTime;

use crate::human::{between, count, cut, date, duration, route};

/// Draws a trace, `width` characters wide.
pub(crate) fn waterfall(trace: &TraceHistory, width: usize) -> String {
    let lines = lines(trace);
    let from = trace.messages.iter().map(|message| message.created_at).min();
    let from = from.or_else(|| trace.events.first().map(|event| event.created_at));
    let from = from.unwrap_or(trace.read_at);
    let to = lines.iter().map(|line| line.end).max().unwrap_or(from);

    let mut page = format!(
        "trace {}  {}  {}  {}\nbegan {} UTC\n",
        trace.trace_id,
        count(trace.messages.len(), "message"),
        duration(between(from, to)),
        verdict(&trace.messages),
        date(from),
    );
    if !lines.is_empty() {
        page.push('\n');
        page.push_str(&messages(&lines, from, to, width));
    }
    for line in &lines {
        if let Some(error) = &line.message.error {
            let error = cut(error, width.saturating_sub(20).max(40));
            page.push_str(&format!("#{}: {error}\n", line.message.id));
        }
    }
    if !trace.events.is_empty() {
        page.push_str("\nevents\n");
        page.push_str(&events(&trace.events, from, width));
    }
    page
}

/// A message, and where it stands in time and among its relatives.
struct Line<'a> {
    message: &'a MessageState,
    depth: usize,
    /// When waiting ended, and when all ended; for what goes on, now.
    claimed: OffsetDateTime,
    end: OffsetDateTime,
}

impl Line<'_> {
    fn wait(&self) -> Duration {
        between(self.message.created_at, self.claimed)
    }

    fn work(&self) -> Option<Duration> {
        self.message.claimed_at.map(|_| between(self.claimed, self.end))
    }
}

/// Every message below the one that published it, else in the order of their numbers.
fn lines(trace: &TraceHistory) -> Vec<Line<'_>> {
    let known: BTreeSet<MessageId> = trace.messages.iter().map(|message| message.id).collect();
    let mut children: BTreeMap<Option<MessageId>, Vec<&MessageState>> = BTreeMap::new();
    for message in &trace.messages {
        // A message is newer than its parent, so that nobody can be their own ancestor.
        let parent = message.parent_id.or(message.replay_of);
        let parent = parent.filter(|parent| known.contains(parent) && *parent < message.id);
        children.entry(parent).or_default().push(message);
    }
    let mut lines = Vec::new();
    let mut waiting: Vec<(usize, &MessageState)> = Vec::new();
    let push = |waiting: &mut Vec<_>, depth, of| {
        let next: &[&MessageState] = children.get(&of).map_or(&[], Vec::as_slice);
        waiting.extend(next.iter().rev().map(|message| (depth, *message)));
    };
    push(&mut waiting, 0, None);
    while let Some((depth, message)) = waiting.pop() {
        let end = message.done_at.unwrap_or(trace.read_at);
        lines.push(Line { message, depth, claimed: message.claimed_at.unwrap_or(end), end });
        push(&mut waiting, depth + 1, Some(message.id));
    }
    lines
}

fn verdict(messages: &[MessageState]) -> String {
    let with = |status| messages.iter().filter(|message| message.status == status).count();
    let (queued, claimed) = (with(Status::Queued), with(Status::Claimed));
    let (failed, cancelled) = (with(Status::Failed), with(Status::Cancelled));
    let mut parts = Vec::new();
    for (number, what) in
        [(queued, "queued"), (claimed, "claimed"), (failed, "failed"), (cancelled, "cancelled")]
    {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    if parts.is_empty() { "all done".to_owned() } else { parts.join(", ") }
}

const NARROWEST_BAR: usize = 10;

fn messages(lines: &[Line<'_>], from: OffsetDateTime, to: OffsetDateTime, width: usize) -> String {
    let rows: Vec<[String; 5]> = lines.iter().map(cells).collect();
    let headings = ["message", "state", "tries", "wait", "work"];
    let mut widths = headings.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let [name, state, tries, wait, work] = widths;
    let used = name + state + tries + wait + work + 5 * 2;
    let bar = width.saturating_sub(used).max(NARROWEST_BAR);
    let total = duration(between(from, to));
    let mut text = format!(
        "{:<name$}  {:<state$}  {:>tries$}  {:>wait$}  {:>work$}  0{total:>rest$}\n",
        headings[0],
        headings[1],
        headings[2],
        headings[3],
        headings[4],
        rest = bar - 1,
    );
    for ([a, b, c, d, e], line) in rows.iter().zip(lines) {
        let drawn = draw(line, from, to, bar);
        let row = format!("{a:<name$}  {b:<state$}  {c:>tries$}  {d:>wait$}  {e:>work$}  {drawn}");
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

fn cells(line: &Line<'_>) -> [String; 5] {
    let message = line.message;
    let again = message.replay_of.map_or_else(String::new, |of| format!(" (replay of {of})"));
    let route = route(&message.route);
    [
        format!("{}{} {route}{again}", "  ".repeat(line.depth.min(10)), message.id),
        message.status.to_string(),
        message.attempts.to_string(),
        duration(line.wait()),
        line.work().map_or_else(|| "–".to_owned(), duration),
    ]
}

/// Where a message waited and worked, on a scale from the beginning of the trace to its end.
fn draw(line: &Line<'_>, from: OffsetDateTime, to: OffsetDateTime, width: usize) -> String {
    let total = between(from, to).as_secs_f64();
    let place = |moment| {
        let share = if total > 0.0 { between(from, moment).as_secs_f64() / total } else { 0.0 };
        cell(share, width)
    };
    // At least one character each, so that nothing is invisible.
    let begin = place(line.message.created_at).min(width - 1);
    let claimed = place(line.claimed).clamp(begin, width - 1);
    let end = place(line.end).clamp(claimed, width);
    let works = line.message.claimed_at.is_some();
    let waited = if works { claimed - begin } else { (end - begin).max(1) };
    let worked = if works { (end - claimed).max(1) } else { 0 };
    format!("{}{}{}", " ".repeat(begin), "░".repeat(waited), "█".repeat(worked))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share of a screen's width"
)]
fn cell(share: f64, width: usize) -> usize {
    (share * width as f64).round() as usize
}

fn events(events: &[EventRow], from: OffsetDateTime, width: usize) -> String {
    let longest = |text: &dyn Fn(&EventRow) -> String| {
        events.iter().map(|event| text(event).chars().count()).max().unwrap_or_default()
    };
    let offset = |event: &EventRow| format!("+{}", duration(between(from, event.created_at)));
    let about = |event: &EventRow| event.message_id.map_or_else(String::new, |id| format!("#{id}"));
    let kind = |event: &EventRow| event.event_type.clone();
    let (offsets, kinds, abouts) = (longest(&offset), longest(&kind), longest(&about));
    let mut text = String::new();
    for event in events {
        let mut line = format!(
            "{:>offsets$}  {:<kinds$}  {:<abouts$}",
            offset(event),
            kind(event),
            about(event)
        );
        if let Some(reason) = &event.reason {
            line.push_str(&format!("  {reason}"));
        }
        let payload = event.payload.to_string();
        if payload != "{}" {
            line.push_str(&format!("  {payload}"));
        }
        text.push_str(cut(&line, width).trim_end());
        text.push('\n');
    }
    text
}
