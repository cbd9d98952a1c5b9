use std::collections::BTreeMap;
use std::time::Duration;

use bus::{Bus, BusError, EventRow, Follow, MessageState, Status};
use clap::Args;
use db::Disposition;
use messages::EventType;
use model::{MessageId, Stage, TraceId};
use serde::Serialize;
use telemetry::Chain;
use time::OffsetDateTime;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::connection::Connection;
use crate::ended::Ended;
use crate::human::{between, clock, cut, duration, route};

/// Show events as they happen, until Ctrl-C.
///
/// Starts with the latest that fit the filters. No event is missed, also not one whose transaction
/// was slow to commit. Times are in UTC.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cogo bus tail                                  every event
  cogo bus tail --messages --route codegen/generate
  cogo bus tail --type codegen_done --output json | jq .payload")]
pub(crate) struct Tail {
    /// Only of this trace.
    #[arg(long, value_name = "TRACE_ID")]
    trace: Option<TraceId>,

    /// Only of this stage, as in codegen/generate.
    #[arg(long, value_name = "STAGE")]
    route: Option<Stage>,

    /// Only events of this type, as in codegen_done.
    #[arg(long = "type", value_name = "EVENT_TYPE")]
    event_type: Option<EventType>,

    /// Also show messages that are published from now on, and how they fare.
    #[arg(long)]
    messages: bool,

    /// How many of the latest events to start with.
    #[arg(long, value_name = "N", default_value = "10")]
    last: usize,
}

const LOOK_EVERY: Duration = Duration::from_millis(200);
const AFTER_TROUBLE: Duration = Duration::from_secs(1);
/// Whoever floods the bus cannot make us ask about more messages than this each time.
const MOST_FOLLOWED: usize = 5_000;

/// What a line in JSON is about.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Event(&'a EventRow),
    Message(&'a News),
}

impl Tail {
    /// Everything, and nothing of the past.
    pub(crate) fn from_now() -> Self {
        Self { trace: None, route: None, event_type: None, messages: false, last: 0 }
    }

    pub(crate) async fn run(
        self,
        to: &Connection,
        stop: CancellationToken,
    ) -> miette::Result<Ended> {
        self.watch(to, stop, || {}).await
    }

    /// Calls `watching` when whatever happens from then on will be shown.
    pub(crate) async fn watch(
        self,
        to: &Connection,
        stop: CancellationToken,
        watching: impl FnOnce(),
    ) -> miette::Result<Ended> {
        let bus = to.bus()?;
        let mut watch = Watch { to, tail: &self, events: Follow::new(), messages: None };
        // The first look must succeed: a wrong address is no reason to try for ever.
        let mut past = watch.bus_events(&bus).await?;
        past.drain(..past.len().saturating_sub(self.last));
        for event in &past {
            to.out().line(&Line::Event(event), Line::text)?;
        }
        if self.messages {
            watch.messages = Some(Followed::from_now(&bus).await?);
        }
        watching();
        while !stop.is_cancelled() {
            let wait = match watch.look(&bus).await? {
                Ok(()) => LOOK_EVERY,
                Err(error) if error.disposition() == Disposition::Retry => {
                    warn!(error = %Chain(&error), "could not look; trying again");
                    AFTER_TROUBLE
                }
                Err(error) => return Err(error.into()),
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(Ended::Well)
    }

    fn wants_event(&self, event: &EventRow) -> bool {
        self.trace.is_none_or(|trace| trace == event.trace_id)
            && self.route.as_ref().is_none_or(|stage| Some(stage) == event.stage.as_ref())
            && self.event_type.as_ref().is_none_or(|wanted| wanted.as_str() == event.event_type)
    }

    fn wants_message(&self, message: &MessageState) -> bool {
        self.trace.is_none_or(|trace| trace == message.trace_id)
            && self.route.as_ref().is_none_or(|stage| stage == message.route.stage())
    }
}

struct Watch<'a> {
    to: &'a Connection,
    tail: &'a Tail,
    events: Follow,
    messages: Option<Followed>,
}

/// Messages that were published while we watch, and how each was when we last looked.
struct Followed {
    cursor: Follow,
    unfinished: BTreeMap<MessageId, (Status, i32)>,
}

impl Followed {
    async fn from_now(bus: &Bus) -> Result<Self, BusError> {
        let mut cursor = Follow::new();
        // What the first look brings was there before us.
        bus.messages_since(&mut cursor).await?;
        Ok(Self { cursor, unfinished: BTreeMap::new() })
    }
}

impl Watch<'_> {
    /// The outer error is of the screen, the inner one of the database.
    async fn look(&mut self, bus: &Bus) -> miette::Result<Result<(), BusError>> {
        let (messages, events) = match self.news(bus).await {
            Ok(news) => news,
            Err(error) => return Ok(Err(error)),
        };
        let mut lines: Vec<(OffsetDateTime, Line<'_>)> = Vec::new();
        lines.extend(messages.iter().map(|news| (news.when(), Line::Message(news))));
        lines.extend(events.iter().map(|event| (event.created_at, Line::Event(event))));
        // Stable, so that what happened to one message in one moment stays in its order.
        lines.sort_by_key(|(when, _)| *when);
        for (_, line) in &lines {
            self.to.out().line(line, Line::text)?;
        }
        Ok(Ok(()))
    }

    async fn news(&mut self, bus: &Bus) -> Result<(Vec<News>, Vec<EventRow>), BusError> {
        let messages = self.message_news(bus).await?;
        Ok((messages, self.bus_events(bus).await?))
    }

    async fn bus_events(&mut self, bus: &Bus) -> Result<Vec<EventRow>, BusError> {
        let mut events = bus.events_since(&mut self.events).await?;
        events.retain(|event| self.tail.wants_event(event));
        Ok(events)
    }

    /// New messages, and those that stand elsewhere than before.
    async fn message_news(&mut self, bus: &Bus) -> Result<Vec<News>, BusError> {
        let Some(followed) = &mut self.messages else { return Ok(Vec::new()) };
        let mut news = Vec::new();
        let ids: Vec<MessageId> = followed.unfinished.keys().copied().collect();
        let states = if ids.is_empty() { Vec::new() } else { bus.states(&ids).await? };
        for message in states {
            let now = (message.status, message.attempts);
            let was = followed.unfinished.insert(message.id, now);
            if message.status.is_final() {
                followed.unfinished.remove(&message.id);
            }
            if was.is_some_and(|was| was != now) {
                news.push(News { what: message.status.into(), message });
            }
        }
        for message in bus.messages_since(&mut followed.cursor).await? {
            if !self.tail.wants_message(&message) {
                continue;
            }
            news.push(News { what: What::Published, message: message.clone() });
            if message.status.is_final() {
                news.push(News { what: message.status.into(), message });
            } else if followed.unfinished.len() < MOST_FOLLOWED {
                // As if it had just been queued: when it is claimed already, that is the next news.
                followed.unfinished.insert(message.id, (Status::Queued, 0));
            }
        }
        Ok(news)
    }
}

/// Something that happened to a message, which looked like this when we heard of it.
#[derive(Serialize)]
struct News {
    what: What,
    #[serde(flatten)]
    message: MessageState,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Published,
    QueuedAgain,
    Claimed,
    Ended,
}

impl From<Status> for What {
    fn from(status: Status) -> Self {
        match status {
            Status::Queued => Self::QueuedAgain,
            Status::Claimed => Self::Claimed,
            Status::Done | Status::Failed | Status::Cancelled => Self::Ended,
        }
    }
}

impl News {
    fn when(&self) -> OffsetDateTime {
        let moment = match self.what {
            What::Published => None,
            What::QueuedAgain => self.message.last_error_at,
            What::Claimed => self.message.claimed_at,
            What::Ended => self.message.done_at,
        };
        moment.unwrap_or(self.message.created_at)
    }

    fn told(&self) -> String {
        let MessageState { status, attempts, error, created_at, .. } = &self.message;
        match self.what {
            What::Published => "published".to_owned(),
            What::QueuedAgain => {
                format!("queued again: {}", cut(error.as_deref().unwrap_or("given back"), 80))
            }
            What::Claimed => {
                let worker = self.message.claimed_by.as_deref().unwrap_or("somebody");
                format!("claimed by {worker}, attempt {attempts}")
            }
            What::Ended => {
                let took = duration(between(*created_at, self.when()));
                let tries =
                    if *attempts > 1 { format!(", attempt {attempts}") } else { String::new() };
                let why = match (status, error) {
                    (Status::Failed, Some(error)) => format!(": {}", cut(error, 80)),
                    _ => String::new(),
                };
                format!("{status} after {took}{tries}{why}")
            }
        }
    }
}

impl Line<'_> {
    fn text(&self) -> String {
        match self {
            Self::Event(event) => event_line(event),
            Self::Message(news) => {
                let MessageState { id, trace_id, .. } = news.message;
                let (when, route) = (clock(news.when()), route(&news.message.route));
                let told = news.told();
                format!("{when}  {:<18}  #{id}  {route}  {told}  trace {trace_id}", "message")
            }
        }
    }
}

fn event_line(event: &EventRow) -> String {
    let mut line = format!("{}  {:<18}", clock(event.created_at), event.event_type);
    if let Some(id) = event.message_id {
        line += &format!("  #{id}");
    }
    if let Some(route) = &event.route {
        line += &format!("  {route}");
    } else if let Some(stage) = &event.stage {
        line += &format!("  {stage}");
    }
    if event.tenant.as_str() != "default" {
        line += &format!("  {}", event.tenant);
    }
    if let Some(reason) = &event.reason {
        line += &format!("  {}", cut(reason, 60));
    }
    let payload = event.payload.to_string();
    if payload != "{}" {
        line += &format!("  {}", cut(&payload, 120));
    }
    line + &format!("  trace {}", event.trace_id)
}
