use bus::{NewEvent, Settle};
use messages::{Assignment, EventType, Execute, Intent};
use model::quote;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use telemetry::Chain;
use tracing::info;
use worker::{Cx, Failure, Received};

use crate::catalog::{Catalog, Found, KnownIntent};

/// Decides what becomes of an intent: an execution at its target, or a refusal that names its
/// reason. Either way the decision and all that follows from it are one settle.
pub(crate) async fn decide(
    intent: Received<Intent>,
    _: Cx,
    catalog: Catalog,
) -> Result<Settle, Failure> {
    let name = &intent.payload.intent;
    let decision = match catalog.find(name).await? {
        Found::Nothing(known) => Err(unknown(name, &known)),
        Found::Broken(error) => Err(Refusal {
            reason: "intent_broken",
            why: format!("the intent {} is set up wrongly: {}", quote(name), Chain(&error)),
        }),
        Found::Intent(known) => execution(name, &known, intent.payload.payload.as_deref()),
    };
    match decision {
        Ok(execute) => {
            info!(msg.id = %intent.id, trace.id = %intent.trace, "{} goes to {}", quote(name), execute.target);
            let decided = NewEvent::new(EventType::ORCHESTRATE_DECISION)
                .reason("intent_known")
                .payload(&json!({
                    "intent": name, "decision": "execute", "target": execute.target,
                    "assignment": execute.assignment,
                    "why": "the intent is known and enabled, and the payload satisfies its schema",
                }))?;
            let enqueued = NewEvent::new(EventType::ORCHESTRATE_ENQUEUED)
                .payload(&json!({ "intent": name, "target": execute.target }))?;
            let result = format!("to {}", execute.target);
            Ok(Settle::done().result(result).publish(&execute)?.note(decided).note(enqueued))
        }
        Err(Refusal { reason, why }) => {
            info!(msg.id = %intent.id, trace.id = %intent.trace, reason, "{} is refused", quote(name));
            let decided = NewEvent::new(EventType::ORCHESTRATE_DECISION)
                .reason(reason)
                .payload(&json!({ "intent": short(name), "decision": "refuse", "why": why }))?;
            Ok(Settle::fail(reason, why).note(decided))
        }
    }
}

/// Why an intent comes to nothing, for good.
#[derive(Debug)]
struct Refusal {
    reason: &'static str,
    why: String,
}

/// As many names as one reads at a glance.
const MOST_NAMES: usize = 3;

fn unknown(name: &str, known: &[String]) -> Refusal {
    let given = name.to_lowercase();
    let mut near: Vec<_> = known
        .iter()
        .map(|one| (strsim::normalized_damerau_levenshtein(&given, one), one))
        .collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let near: Vec<String> =
        near.into_iter().take(MOST_NAMES).map(|(_, name)| format!("`{name}`")).collect();
    let way_out = match near.as_slice() {
        [] => "none is enabled in the table intents".to_owned(),
        near => format!("the nearest known ones are {}", near.join(", ")),
    };
    Refusal {
        reason: "intent_unknown",
        why: format!("there is no intent {}; {way_out}", quote(name)),
    }
}

fn execution(
    name: &str,
    known: &KnownIntent,
    payload: Option<&RawValue>,
) -> Result<Execute, Refusal> {
    let invalid = |why: String| Refusal { reason: "payload_invalid", why };
    if !known.enabled {
        return Err(Refusal {
            reason: "intent_disabled",
            why: format!("the intent {} is disabled in the table intents", quote(name)),
        });
    }
    let payload = payload.map_or("{}", RawValue::get);
    let payload = serde_json::from_str(payload)
        .map_err(|error| invalid(format!("payload: {}", Chain(&error))))?;
    let Value::Object(mut payload) = payload else {
        return Err(invalid("payload: it must be an object".to_owned()));
    };
    let asked = payload.remove("__assignment");
    for (field, value) in &known.defaults {
        payload.entry(field).or_insert_with(|| value.clone());
    }
    let payload = Value::Object(payload);
    if let Some(faults) = faults(known, &payload) {
        return Err(invalid(faults));
    }
    let assignment = assignment(&known.default_assignment, asked)
        .map_err(|why| invalid(format!("payload.__assignment: {why}")))?;
    let payload = to_raw_value(&payload).expect("a value can be written");
    Ok(Execute { target: known.target.to_string(), assignment, payload: Some(payload) })
}

/// More than this nobody mends at once.
const MOST_FAULTS: usize = 5;

fn faults(known: &KnownIntent, payload: &Value) -> Option<String> {
    let faults: Vec<String> = known
        .schema
        .iter_errors(payload)
        .take(MOST_FAULTS)
        .map(|error| {
            let path = error.instance_path().to_string().replace('/', ".");
            // It quotes the value, which may be as large as a message.
            format!("payload{path}: {}", short(&error.to_string()))
        })
        .collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// What the caller asked for, over what the intent has by default.
fn assignment(default: &Value, asked: Option<Value>) -> Result<Assignment, String> {
    let mut merged = default.as_object().cloned().unwrap_or_default();
    match asked {
        None => {}
        Some(Value::Object(asked)) => merge(&mut merged, asked),
        Some(_) => return Err("it must be an object".to_owned()),
    }
    serde_json::from_value(Value::Object(merged)).map_err(|error| short(&error.to_string()))
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (field, value) in from {
        match (into.get_mut(&field), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (_, value) => {
                into.insert(field, value);
            }
        }
    }
}

fn short(text: &str) -> String {
    const LONGEST: usize = 300;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        let known = ["generate", "hello", "help", "yellow"].map(str::to_owned);
        let why = unknown("Helo", &known).why;
        assert_eq!(
            why,
            "there is no intent `Helo`; the nearest known ones are `hello`, `help`, `yellow`"
        );
        assert!(unknown("x", &[]).why.contains("none is enabled"));
    }

    #[test]
    fn an_assignment_is_the_default_with_what_was_asked_for() {
        let default = json!({ "model": "small", "budget": { "maxTokens": 10, "maxCostUsd": 1.0 } });
        let asked = json!({ "ttl_ms": 5, "budget": { "maxTokens": 20 } });
        let merged = assignment(&default, Some(asked)).unwrap();
        assert_eq!(merged.model.as_deref(), Some("small"));
        assert_eq!((merged.ttl_ms, merged.budget.max_tokens), (5, 20));
        assert!((merged.budget.max_cost_usd - 1.0).abs() < f64::EPSILON);
        assert_eq!(assignment(&json!({}), None).unwrap(), Assignment::default());
        assert!(assignment(&json!({}), Some(json!({ "tokens": 1 }))).is_err());
        assert!(assignment(&json!({}), Some(json!("all"))).is_err());
    }
}
