mod attempts;
mod event;
mod message;
mod release;
mod story;
mod trace;
mod waiting;
mod what;
mod worker;

use bus::Bus;
use clap::Args;
use miette::IntoDiagnostic;
use model::{AgentName, MessageId, Tag, TraceId};
use registry::{Registry, Release};
use serde::Serialize;
use serde_json::{Value, json};

use self::story::Story;
pub(crate) use self::what::What;
use crate::agents::named;
use crate::connection::Connection;
use crate::ended::{Ended, NotFound, WrongUsage};

/// Tell in words what happened to a thing, why, and what can be done about it.
///
/// Everything that is told comes from rows: the message and its place in the queue, its attempts,
/// its route's settings, the workers that could take it; a release's steps, its verdict and what
/// came back; an event and what it is about.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cogo explain 42                                    message 42: where it stands, and why
  cogo explain cogo-codegen-worker                   the latest release of an agent
  cogo explain cogo-codegen-worker v1.4.0            that release; its id does as well
  cogo explain event:1234                            an event, as `cogo bus tail` numbers them
  cogo explain 4bf92f3577b34da6a3ce929d0e0e4736      how a trace stands
  cogo explain worker:codegen-worker-7f9c            a worker, and what it holds")]
pub(crate) struct Explain {
    /// A message's number, a release's id, an agent's name, event:<number>, a trace id, or worker:<id>.
    what: What,

    /// Of an agent: the tag that is meant, if it is not the latest.
    tag: Option<Tag>,

    #[command(flatten)]
    connection: Connection,
}

/// What is told of a thing, and the facts that it is told from.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    kind: &'static str,
    #[serde(flatten)]
    pub(crate) story: Story,
    facts: Value,
}

impl Explain {
    pub(crate) async fn run(self) -> miette::Result<Ended> {
        let to = &self.connection;
        if self.tag.is_some() && !matches!(self.what, What::Agent(_)) {
            let what = "only of an agent a tag can be named".to_owned();
            let help = "as in `cogo explain cogo-codegen-worker v1.4.0`".to_owned();
            return Err(WrongUsage { what, help }.into());
        }
        let told = told(&to.bus()?, &to.registry()?, &self.what, self.tag.as_ref()).await?;
        to.out().answer(&told, |told| told.story.text())?;
        Ok(Ended::Well)
    }
}

/// All that rows tell of a thing. `tag`: of an agent, if not its latest is meant.
pub(crate) async fn told(
    bus: &Bus,
    registry: &Registry,
    what: &What,
    tag: Option<&Tag>,
) -> miette::Result<Told> {
    match what {
        What::Message(id) => of_message(bus, *id).await,
        What::Event(id) => of_event(bus, *id).await,
        What::Trace(trace) => of_trace(bus, *trace).await,
        What::Worker(id) => of_worker(bus, id).await,
        What::Release(id) => {
            let help = "`cogo images list --output json` shows the ids of the newest";
            let release = registry.release(*id).await?;
            let release =
                release.ok_or_else(|| missing(format!("there is no release {id}"), help))?;
            of_release(bus, registry, release).await
        }
        What::Agent(name) => {
            let release = release_of(registry, name, tag).await?;
            of_release(bus, registry, release).await
        }
    }
}

fn tell(kind: &'static str, story: Story, facts: &impl Serialize) -> miette::Result<Told> {
    Ok(Told { kind, story, facts: serde_json::to_value(facts).into_diagnostic()? })
}

fn missing(what: String, help: &str) -> miette::Report {
    NotFound { what, help: help.to_owned() }.into()
}

/// Of whatever retention removes.
const REMOVED: &str =
    "it may have been removed by retention, or DATABASE_URL names another database";

async fn of_message(bus: &Bus, id: MessageId) -> miette::Result<Told> {
    if let Some(explained) = bus.explain(id).await? {
        return tell("message", message::story(&explained), &explained);
    }
    // A dead letter outlives its message.
    if let Some(letter) = bus.dead_letter(id).await? {
        return tell("dead_letter", message::of_letter(&letter), &letter);
    }
    Err(missing(format!("there is no message {id}"), REMOVED))
}

async fn of_event(bus: &Bus, id: i64) -> miette::Result<Told> {
    let event = bus.event(id).await?;
    let event = event.ok_or_else(|| missing(format!("there is no event {id}"), REMOVED))?;
    let about = match event.message_id {
        Some(message) => bus.states(&[message]).await?.pop(),
        None => None,
    };
    tell("event", event::story(&event, about.as_ref()), &event)
}

async fn of_trace(bus: &Bus, trace: TraceId) -> miette::Result<Told> {
    let nothing = || missing(format!("nothing belongs to the trace {trace}"), REMOVED);
    let history = bus.trace(trace).await?.ok_or_else(nothing)?;
    tell("trace", trace::story(&history), &history)
}

async fn of_worker(bus: &Bus, id: &str) -> miette::Result<Told> {
    let fleet = bus.fleet().await?;
    let Some(seen) = fleet.iter().find(|seen| seen.id == id) else {
        let near = model::nearest(id, fleet.iter().map(|seen| seen.id.as_str()));
        let help = match near {
            Some(near) => format!("did you mean worker:{near}?"),
            None => "`cogo workers list --all` lists those that are known".to_owned(),
        };
        return Err(missing(format!("there is no worker {}", model::quote(id)), &help));
    };
    let held = bus.held(id, worker::SHOWN).await?;
    let keeper = bus.keeper().await?;
    let facts = json!({ "worker": seen, "held": &held });
    tell("worker", worker::story(seen, &held, keeper.silent), &facts)
}

async fn of_release(bus: &Bus, registry: &Registry, release: Release) -> miette::Result<Told> {
    let gone = || missing(format!("there is no release {}", release.id), REMOVED);
    let facts = registry.explain(release.id).await?.ok_or_else(gone)?;
    let agent = registry.agent(&release.agent_name).await?.ok_or_else(gone)?;
    let events = steps(bus, &release).await?;
    let facts = release::Facts { release, facts, agent, events };
    tell("release", release::story(&facts), &facts)
}

/// Its own events: a build may have recorded it under a trace of more.
async fn steps(bus: &Bus, release: &Release) -> miette::Result<Vec<bus::EventRow>> {
    let Some(history) = bus.trace(release.trace_id).await? else { return Ok(Vec::new()) };
    let id = release.id.to_string();
    let own = |event: &bus::EventRow| {
        event.payload.get("release_id").and_then(serde_json::Value::as_str) == Some(id.as_str())
    };
    Ok(history.events.into_iter().filter(own).collect())
}

/// As far back as one looks for a tag.
const TAGS: i32 = 10_000;

async fn release_of(
    registry: &Registry,
    name: &AgentName,
    tag: Option<&Tag>,
) -> miette::Result<Release> {
    named(registry, name).await?;
    let newest = registry.releases(Some(name), tag.map_or(1, |_| TAGS)).await?;
    let found = newest.into_iter().find(|release| tag.is_none_or(|tag| *tag == release.tag));
    let what = match tag {
        Some(tag) => format!("no tag {tag} of {name} is recorded"),
        None => format!("no tag of {name} is recorded"),
    };
    found.ok_or_else(|| {
        missing(what, "`cogo images list` shows what is, and `cogo images record` records one")
    })
}
