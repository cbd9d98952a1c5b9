//! Server-side apply and `metadata.managedFields`: every field belongs to whoever wrote it last.

use serde_json::{Value, json};

use crate::fields::{Difference, Duplicate, Fields, difference, from_json, leaves, shown, to_json};
use crate::merge::{is_within, merge, prune};
use crate::refusal::Refusal;

/// Who writes, and by which way: all three together own fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) manager: String,
    pub(crate) applies: bool,
    pub(crate) subresource: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Manager {
    writer: Writer,
    api_version: String,
    time: String,
    fields: Fields,
}

impl Writer {
    pub(crate) fn update(manager: &str, subresource: &str) -> Self {
        let (manager, subresource) = (manager.to_owned(), subresource.to_owned());
        Self { manager, applies: false, subresource }
    }

    pub(crate) fn apply(manager: &str, subresource: &str) -> Self {
        Self { applies: true, ..Self::update(manager, subresource) }
    }
}

/// What an object becomes when somebody applies their part of it.
pub(crate) fn apply(
    live: &Value,
    config: &Value,
    writer: &Writer,
    force: bool,
) -> Result<Value, Refusal> {
    let mine: Fields = leaves(config).map_err(|two| duplicate(live, &two))?.into_keys().collect();
    let mut managers = managers_of(live);
    let before = managers.iter().find(|one| one.writer == *writer).cloned();
    let last = before.as_ref().map(|one| one.fields.clone()).unwrap_or_default();
    managers.retain(|one| one.writer != *writer);

    let mut merged = merge(live, config);
    // An item of a list goes before its fields: without its key it would not be found.
    for path in last.difference(&mine) {
        let claimed = |one: &Manager| one.fields.iter().any(|held| is_within(held, path));
        let still_mine = mine.iter().any(|held| is_within(held, path));
        if !still_mine && !managers.iter().any(claimed) {
            prune(&mut merged, path);
        }
    }

    let Difference { written, removed } =
        difference(live, &merged).map_err(|two| duplicate(live, &two))?;
    let conflicts: Vec<(&Manager, Fields)> = managers
        .iter()
        .map(|one| (one, one.fields.intersection(&written).cloned().collect::<Fields>()))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    if !force && !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    for one in &mut managers {
        one.fields.retain(|path| !written.contains(path) && !removed.contains(path));
    }
    let same = before.as_ref().is_some_and(|one| one.fields == mine);
    let time = before.filter(|_| same && written.is_empty()).map_or_else(now, |one| one.time);
    managers.push(Manager {
        writer: writer.clone(),
        api_version: config["apiVersion"].as_str().unwrap_or_default().to_owned(),
        time,
        fields: mine,
    });
    set_managers(&mut merged, managers);
    Ok(merged)
}

/// Notes who wrote what differs, when somebody did not apply but update or patch.
pub(crate) fn note_update(before: &Value, after: &mut Value, writer: &Writer) {
    // What an object of ours cannot be told apart by is not owned by anybody.
    let Ok(Difference { written, removed }) = difference(before, after) else { return };
    let mut managers = managers_of(before);
    if written.is_empty() && removed.is_empty() {
        set_managers(after, managers);
        return;
    }
    for one in &mut managers {
        one.fields.retain(|path| {
            let taken = written.contains(path) && one.writer != *writer;
            !taken && !removed.contains(path)
        });
    }
    match managers.iter_mut().find(|one| one.writer == *writer) {
        Some(held) => {
            held.fields.extend(written);
            held.time = now();
        }
        None => managers.push(Manager {
            writer: writer.clone(),
            api_version: after["apiVersion"].as_str().unwrap_or_default().to_owned(),
            time: now(),
            fields: written,
        }),
    }
    set_managers(after, managers);
}

fn managers_of(object: &Value) -> Vec<Manager> {
    let held = object["metadata"]["managedFields"].as_array();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    held.into_iter()
        .flatten()
        .map(|one| Manager {
            writer: Writer {
                manager: text(one, "manager"),
                applies: one["operation"] == "Apply",
                subresource: text(one, "subresource"),
            },
            api_version: text(one, "apiVersion"),
            time: text(one, "time"),
            fields: from_json(&one["fieldsV1"]),
        })
        .collect()
}

fn set_managers(object: &mut Value, mut managers: Vec<Manager>) {
    managers.retain(|one| !one.fields.is_empty() || one.writer.applies);
    // Appliers come first, as the real server sorts them.
    managers.sort_by(|one, other| {
        let by =
            |one: &Manager| (!one.writer.applies, one.time.clone(), one.writer.manager.clone());
        by(one).cmp(&by(other))
    });
    let told: Vec<Value> = managers
        .iter()
        .map(|one| {
            let mut told = json!({
                "manager": one.writer.manager,
                "operation": if one.writer.applies { "Apply" } else { "Update" },
                "apiVersion": one.api_version,
                "time": one.time,
                "fieldsType": "FieldsV1",
                "fieldsV1": to_json(&one.fields),
            });
            if !one.writer.subresource.is_empty() {
                told["subresource"] = one.writer.subresource.clone().into();
            }
            told
        })
        .collect();
    object["metadata"]["managedFields"] = told.into();
}

fn conflict(conflicts: &[(&Manager, Fields)]) -> Refusal {
    let who = |one: &Manager| {
        let mut who = format!("\"{}\"", one.writer.manager);
        if !one.writer.subresource.is_empty() {
            who.push_str(&format!(" with subresource \"{}\"", one.writer.subresource));
        }
        if !one.writer.applies {
            who.push_str(&format!(" using {}", one.api_version));
            who.push_str(&format!(" at {}", one.time));
        }
        who
    };
    let all: usize = conflicts.iter().map(|(_, fields)| fields.len()).sum();
    let message = match conflicts {
        [(one, fields)] if fields.len() == 1 => {
            let path = fields.first().map(shown).unwrap_or_default();
            format!("Apply failed with 1 conflict: conflict with {}: {path}", who(one))
        }
        several => {
            let mut lines = Vec::new();
            for (one, fields) in several {
                lines.push(format!("conflicts with {}:", who(one)));
                lines.extend(fields.iter().map(|path| format!("- {}", shown(path))));
            }
            format!("Apply failed with {all} conflicts: {}", lines.join("\n"))
        }
    };
    let causes: Vec<Value> = conflicts
        .iter()
        .flat_map(|(one, fields)| {
            let why = format!("conflict with {}", who(one));
            fields.iter().map(move |path| {
                json!({ "reason": "FieldManagerConflict", "message": why, "field": shown(path) })
            })
        })
        .collect();
    Refusal::new(409, "Conflict", message).with_details(json!({ "causes": causes }))
}

fn duplicate(object: &Value, two: &Duplicate) -> Refusal {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let message =
        format!("failed to create typed patch object ({name}): {}: duplicate entries", two.0);
    Refusal::new(500, "", message)
}

pub(crate) fn now() -> String {
    let now = time::OffsetDateTime::now_utc().replace_nanosecond(0).expect("zero is in range");
    now.format(&time::format_description::well_known::Rfc3339).expect("a year of four digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: &Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "Thing", "metadata": { "name": "x" }, "spec": spec })
    }

    fn applied(live: &Value, manager: &str, spec: &Value) -> Result<Value, Refusal> {
        apply(live, &object(spec), &Writer::apply(manager, ""), false)
    }

    #[test]
    fn what_an_applier_no_longer_mentions_goes() {
        let empty = object(&json!({}));
        let one = applied(&empty, "a", &json!({ "x": 1, "y": { "z": 2 } })).unwrap();
        let two = applied(&one, "a", &json!({ "x": 1 })).unwrap();
        assert_eq!(two["spec"], json!({ "x": 1 }));
    }

    #[test]
    fn what_another_also_applied_stays() {
        let empty = object(&json!({}));
        let one = applied(&empty, "a", &json!({ "x": 1, "y": 2 })).unwrap();
        let two = applied(&one, "b", &json!({ "y": 2 })).unwrap();
        let three = applied(&two, "a", &json!({ "x": 1 })).unwrap();
        assert_eq!(three["spec"], json!({ "x": 1, "y": 2 }));
    }

    #[test]
    fn another_value_for_a_field_of_another_is_a_conflict_unless_forced() {
        let one = applied(&object(&json!({})), "a", &json!({ "x": 1 })).unwrap();
        let refused = applied(&one, "b", &json!({ "x": 2 })).unwrap_err();
        assert_eq!(refused.code, 409);
        assert_eq!(refused.message, "Apply failed with 1 conflict: conflict with \"a\": .spec.x");
        let forced =
            apply(&one, &object(&json!({ "x": 2 })), &Writer::apply("b", ""), true).unwrap();
        assert_eq!(forced["spec"]["x"], 2);
        // It is b's now, so a has nothing left to say.
        assert_eq!(applied(&forced, "a", &json!({ "x": 1 })).unwrap_err().code, 409);
    }

    #[test]
    fn what_was_updated_belongs_to_who_updated_it() {
        let one = applied(&object(&json!({})), "a", &json!({ "x": 1 })).unwrap();
        let mut two = one.clone();
        two["spec"]["x"] = 5.into();
        note_update(&one, &mut two, &Writer::update("kubectl", "scale"));
        let refused = applied(&two, "a", &json!({ "x": 1 })).unwrap_err();
        assert!(refused.message.contains("\"kubectl\" with subresource \"scale\" using v1 at"));
        assert_eq!(applied(&two, "a", &json!({})).unwrap()["spec"]["x"], 5);
    }

    #[test]
    fn applying_the_same_again_changes_nothing() {
        let one = applied(&object(&json!({})), "a", &json!({ "x": 1 })).unwrap();
        assert_eq!(applied(&one, "a", &json!({ "x": 1 })).unwrap(), one);
    }
}
