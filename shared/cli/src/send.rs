use std::fs;
use std::io::{self, Read};
use std::time::Duration;

use bus::{Bus, MessageState, NewMessage, Published, Status};
use clap::Args;
use miette::{Context, IntoDiagnostic};
use model::{MessageId, Route, Tenant, TraceId, Traceparent, duration};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::ended::{Ended, NotFound, WrongUsage};
use crate::human;
use crate::out::aside;

/// Publish a message.
///
/// It is on disk when the command returns. Anything may be a payload that is JSON; what its stage
/// expects is the stage's own affair.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cogo bus send cogo/probe/0 '{\"text\": \"hello\"}'
  cogo bus send codegen/generate/0 @request.json --key order-17 --wait
  jq .next plan.json | cogo bus send codegen/generate/0/acme - --delay 5m")]
pub(crate) struct Send {
    /// Where to: service/role/shard, and a tenant if you like, as in codegen/generate/0/acme.
    route: Route,

    /// The payload as JSON; `@file` reads a file, `-` reads stdin.
    #[arg(default_value = "{}")]
    payload: String,

    /// Whose message it is, unless the route says so.
    #[arg(long)]
    tenant: Option<Tenant>,

    /// Idempotency key: a second message with the same key, route and tenant is not made.
    #[arg(long)]
    key: Option<String>,

    /// Not to be claimed before this long from now, as in 30s or 5m.
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
    delay: Option<Duration>,

    /// Fails with the reason `expired` if nobody has claimed it within this long.
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
    ttl: Option<Duration>,

    /// Higher is claimed first, within its tenant.
    #[arg(long, default_value = "0", value_name = "N", allow_negative_numbers = true)]
    priority: i16,

    /// Messages of one key are claimed one at a time, in order.
    #[arg(long, value_name = "KEY")]
    ordering_key: Option<String>,

    /// The trace it belongs to; a new one unless given.
    #[arg(long, value_name = "TRACE_ID", conflicts_with = "traceparent")]
    trace: Option<TraceId>,

    /// The W3C trace context it belongs to, which is carried along.
    #[arg(long)]
    traceparent: Option<Traceparent>,

    /// Attempts before it goes to the dead letters; the stage's number unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1000))]
    max_attempts: Option<i32>,

    /// Wait for its end; exits with 1 unless it is done.
    #[arg(long)]
    wait: bool,
}

/// The first looks come quickly, later ones spare the database.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const SLOWEST_LOOK: Duration = Duration::from_millis(500);
/// After this long it is fair to ask whether anybody works there.
const STILL_WAITING: Duration = Duration::from_secs(2);

impl Send {
    pub(crate) async fn run(
        self,
        to: &Connection,
        stop: CancellationToken,
    ) -> miette::Result<Ended> {
        let bus = to.bus()?;
        let published = bus.publish(self.message()?).await?;
        if !self.wait {
            to.out().answer(&answer(&self.route, published), Answer::text)?;
            return Ok(Ended::Well);
        }
        aside(&answer(&self.route, published).text());
        let Some(message) = wait_for_the_end(&bus, published.id, &stop).await? else {
            aside("stopped waiting; the message goes on without us");
            return Ok(Ended::Badly);
        };
        to.out().answer(&message, end)?;
        Ok(if message.status == Status::Done { Ended::Well } else { Ended::Badly })
    }

    fn message(&self) -> miette::Result<NewMessage> {
        let payload = json(&payload(&self.payload)?)?;
        let mut message =
            NewMessage::to(&self.route, &payload).into_diagnostic()?.priority(self.priority);
        if let Some(tenant) = &self.tenant {
            if self.route.tenant().is_some_and(|of_route| of_route != tenant) {
                return Err(WrongUsage {
                    what: format!("the route {} names another tenant than --tenant", self.route),
                    help: "say the tenant once".to_owned(),
                }
                .into());
            }
            message = message.tenant(tenant.clone());
        }
        if let Some(key) = &self.key {
            message = message.idempotency_key(key);
        }
        if let Some(key) = &self.ordering_key {
            message = message.ordering_key(key);
        }
        if let Some(delay) = self.delay {
            message = message.delay(delay);
        }
        if let Some(ttl) = self.ttl {
            message = message.ttl(ttl);
        }
        if let Some(trace) = self.trace {
            message = message.trace(trace);
        }
        if let Some(context) = self.traceparent {
            message = message.traceparent(context);
        }
        if let Some(attempts) = self.max_attempts {
            message = message.max_attempts(attempts);
        }
        Ok(message)
    }
}

fn payload(argument: &str) -> miette::Result<String> {
    if argument == "-" {
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .into_diagnostic()
            .wrap_err("could not read the payload from stdin")?;
        return Ok(text);
    }
    match argument.strip_prefix('@') {
        Some(path) => fs::read_to_string(path)
            .into_diagnostic()
            .wrap_err_with(|| format!("could not read the payload from {path}")),
        None => Ok(argument.to_owned()),
    }
}

fn json(text: &str) -> miette::Result<Box<RawValue>> {
    serde_json::from_str(text).map_err(|error| {
        let help = "quote it for the shell, as in '{\"text\": \"hello\"}', or read it from a file \
                    with @file or from stdin with -";
        WrongUsage { what: format!("the payload is not JSON: {error}"), help: help.to_owned() }
            .into()
    })
}

#[derive(Serialize)]
struct Answer {
    id: MessageId,
    route: Route,
    trace_id: TraceId,
    /// An earlier message has the same key, and this is that one.
    attached: bool,
}

fn answer(route: &Route, published: Published) -> Answer {
    let Published { id, trace, attached } = published;
    Answer { id, route: route.clone(), trace_id: trace, attached }
}

impl Answer {
    fn text(&self) -> String {
        let Self { id, route, trace_id, attached } = self;
        let what = if *attached {
            format!("message {id} on {route} has this key already; nothing was published")
        } else {
            format!("published message {id} on {route}")
        };
        format!("{what}\ntrace {trace_id}; see it with `cogo trace {id}`")
    }
}

/// `None` when we were stopped first.
async fn wait_for_the_end(
    bus: &Bus,
    id: MessageId,
    stop: &CancellationToken,
) -> miette::Result<Option<MessageState>> {
    let (mut look, started, mut asked) = (FIRST_LOOK, Instant::now(), false);
    loop {
        let Some(message) = bus.message(id).await? else {
            return Err(NotFound {
                what: format!("message {id} is gone"),
                help: "somebody deleted it while we waited".to_owned(),
            }
            .into());
        };
        if message.status.is_final() {
            return Ok(Some(message));
        }
        if !asked && message.status == Status::Queued && started.elapsed() > STILL_WAITING {
            asked = true;
            tell_if_nobody_works_there(bus, &message).await?;
        }
        tokio::select! {
            () = sleep(look) => {}
            () = stop.cancelled() => return Ok(None),
        }
        look = (look * 2).min(SLOWEST_LOOK);
    }
}

async fn tell_if_nobody_works_there(bus: &Bus, message: &MessageState) -> miette::Result<()> {
    let stage = message.route.stage();
    let works_there = |service: &Option<String>, role: &Option<String>| {
        service.as_deref().is_none_or(|service| service == stage.service().as_str())
            && role.as_deref().is_none_or(|role| role == stage.role().as_str())
    };
    let fleet = bus.fleet().await?;
    if !fleet.iter().any(|seen| seen.state == "ready" && works_there(&seen.service, &seen.role)) {
        aside(&format!("still queued: no worker of {stage} is ready; see `cogo workers list`"));
    }
    Ok(())
}

fn end(message: &MessageState) -> String {
    let MessageState { id, status, attempts, created_at, done_at, .. } = message;
    let took = done_at.map_or_else(String::new, |done_at| {
        format!(" after {}", human::duration(human::between(*created_at, done_at)))
    });
    let attempts = human::count(usize::try_from(*attempts).unwrap_or_default(), "attempt");
    let mut text = format!("message {id} is {status}{took}, {attempts}");
    for told in [&message.result_snippet, &message.result_url, &message.error].into_iter().flatten()
    {
        text.push('\n');
        text.push_str(told);
    }
    text
}
