use std::sync::Arc;
use std::time::Duration;

use bus::{Message, NewEvent};
use db::{DbError, Disposition, Json, Statement, Type};
use messages::{Budget, EventType, Execute};
use model::Route;
use serde_json::json;
use telemetry::Chain;
use tokio::sync::Notify;
use tracing::{debug, warn};
use worker::{Cx, Failure, Settle};

use crate::check::{Refusal, check};

pub(crate) static FORWARD: Statement = Statement {
    name: "execution.forward",
    sql:
        "select verdict, reason, target_id from public.execution_forward(p_worker => $1, p_id => $2,
        p_lease => $3, p_target => $4, p_assignment => $5, p_default_budget => $6)",
    types: &[Type::TEXT, Type::INT8, Type::UUID, Type::TEXT, Type::JSONB, Type::JSONB],
};

/// The database could not be asked; whatever ails it, this is not the message's failure.
const UNREACHED: Duration = Duration::from_secs(1);

/// Forwards one execution to its target, lets it wait for the target's circuit, or refuses it.
pub(crate) async fn handle(
    message: Message,
    cx: Cx,
    forwarded: Arc<Notify>,
) -> Result<Settle, Failure> {
    let (execute, target) = match check(&message) {
        Ok(checked) => checked,
        Err(refusal) => return refuse(&message, &refusal),
    };
    match ask(&message, &cx, &execute, &target).await {
        Ok(Verdict::Settled(what)) => {
            cx.was_settled();
            // Also when it waits: the waiting are open, and their end is told like any other.
            forwarded.notify_one();
            debug!(verdict = what, "an execution for {target}: {what}");
            Ok(Settle::done())
        }
        // Another has it by now; the settle of this is refused.
        Ok(Verdict::Lost) => Err(Failure::retry("the lease was lost")),
        Err(error) => failed(&message, &error),
    }
}

enum Verdict {
    Settled(String),
    Lost,
}

async fn ask(
    message: &Message,
    cx: &Cx,
    execute: &Execute,
    target: &Route,
) -> Result<Verdict, DbError> {
    let (worker, target) = (cx.worker(), target.to_string());
    let (assignment, default) = (Json(&execute.assignment), Json(Budget::default()));
    let parameters: [&dyn db::Parameter; 6] =
        [&worker, &message.id, &cx.lease(), &target, &assignment, &default];
    let row = cx.bus().db().query_one(&FORWARD, &parameters).await?;
    let (verdict, reason): (String, Option<String>) = (row.get(0), row.get(1));
    Ok(match (verdict.as_str(), reason) {
        ("lost", _) => Verdict::Lost,
        (_, Some(reason)) => Verdict::Settled(reason),
        (_, None) => Verdict::Settled(verdict),
    })
}

/// What the message itself is to blame for; the event goes with the end of the message.
fn refuse(message: &Message, refusal: &Refusal) -> Result<Settle, Failure> {
    let Refusal { code, why } = refusal;
    debug!(reason = code, "refused: {why}");
    // As it was written, since it may be what is wrong.
    let written: Option<serde_json::Value> = message.parse().ok();
    let target = written.as_ref().and_then(|payload| payload.get("target"));
    let target = target.and_then(serde_json::Value::as_str).map(short);
    let event = NewEvent::new(EventType::EXECUTE_FAILED).reason(*code);
    let event = event.payload(&json!({ "target": target }))?;
    Ok(Settle::fail(*code, why).note(event))
}

/// No route is longer than a few words.
fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

fn failed(message: &Message, error: &DbError) -> Result<Settle, Failure> {
    if error.disposition() == Disposition::Retry {
        warn!(error = %Chain(error), "could not forward an execution; trying again");
        return Ok(Settle::release().after(UNREACHED));
    }
    // Bad data: the target's stage does not take this payload.
    match error.server() {
        Some(said) if said.code.code().starts_with("22") => {
            let why = format!("the target does not take it: {said}");
            refuse(message, &Refusal { code: "payload_invalid", why })
        }
        _ => Err(Failure::retry(Chain(error).to_string())),
    }
}
