use std::fmt;

use messages::{Execute, Payload};
use model::Route;
use serde_json::value::RawValue;
use telemetry::Chain;

use bus::Message;

/// Why an execution is refused: a code for programs, and words for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) why: String,
}

/// Reads an execution and checks what can be told from the message alone. What depends on rows, as
/// the allow-list, the policy and the budget do, is checked where the rows are.
pub(crate) fn check(message: &Message) -> Result<(Execute, Route), Refusal> {
    let execute = message.parse::<Execute>().map_err(|error| {
        refused("payload_invalid", format_args!("the payload is no execution: {}", Chain(&error)))
    })?;
    let target: Route = execute.target.parse().map_err(|error| refused("target_invalid", error))?;
    if target.tenant().is_some() {
        let why = format_args!(
            "`{target}` names a tenant; leave it out, because an execution stays with the tenant \
             of its message"
        );
        return Err(refused("target_invalid", why));
    }
    if *target.stage() == Execute::stage() {
        let why = "an execution cannot be forwarded to the dispatcher itself; name the stage that \
                   does the work";
        return Err(refused("target_refused", why));
    }
    if execute.payload.as_deref().is_some_and(|payload| !is_object(payload)) {
        let why = "the payload for the target is not an object; the assignment travels in it";
        return Err(refused("payload_invalid", why));
    }
    Ok((execute, target))
}

fn refused(code: &'static str, why: impl fmt::Display) -> Refusal {
    Refusal { code, why: why.to_string() }
}

fn is_object(payload: &RawValue) -> bool {
    payload.get().trim_start().starts_with('{')
}
