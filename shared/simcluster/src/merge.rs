//! Lays one object over another by what the schema says of its lists, and takes fields out.

use serde_json::{Map, Value};

use crate::fields::{Path, Step, key_of};
use crate::schema::{Listed, is_whole, listed};

/// What `over` says wins; what it does not mention stays.
pub(crate) fn merge(under: &Value, over: &Value) -> Value {
    merge_field("", under, over)
}

fn merge_field(name: &str, under: &Value, over: &Value) -> Value {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) if !is_whole(name) => {
            let mut merged = under.clone();
            for (name, value) in over {
                let value = match under.get(name) {
                    Some(held) => merge_field(name, held, value),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(under), Value::Array(over)) => match listed(name) {
            Listed::By(keys) => Value::Array(merge_items(under, over, keys)),
            Listed::Set => {
                let mut merged = under.clone();
                merged.extend(over.iter().filter(|one| !under.contains(one)).cloned());
                Value::Array(merged)
            }
            Listed::Whole => Value::Array(over.clone()),
        },
        _ => over.clone(),
    }
}

/// What is there keeps its place, what is new comes last.
fn merge_items(under: &[Value], over: &[Value], keys: &[&str]) -> Vec<Value> {
    let mut merged = under.to_vec();
    for item in over {
        let key = key_of(item, keys);
        match merged.iter_mut().find(|one| key_of(one, keys) == key) {
            Some(held) => *held = merge_field("", held, item),
            None => merged.push(item.clone()),
        }
    }
    merged
}

/// Takes a field out, and what is left empty by that.
pub(crate) fn prune(object: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (step, object) {
        (Step::Field(name), Value::Object(fields)) => {
            prune_field(fields, name, rest);
        }
        (Step::Item(key), Value::Array(items)) => {
            let keys = keys_of(key);
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let Some(at) = items.iter().position(|one| key_of(one, &keys) == *key) else { return };
            if rest.is_empty() {
                items.remove(at);
            } else {
                prune(&mut items[at], rest);
            }
        }
        (Step::Member(value), Value::Array(items)) => {
            let member: Value = serde_json::from_str(value).unwrap_or_default();
            items.retain(|one| *one != member);
        }
        _ => {}
    }
}

fn prune_field(fields: &mut Map<String, Value>, name: &str, rest: &[Step]) {
    if rest.is_empty() {
        fields.remove(name);
        return;
    }
    let Some(inner) = fields.get_mut(name) else { return };
    prune(inner, rest);
    let empty = match inner {
        Value::Object(left) => left.is_empty(),
        Value::Array(left) => left.is_empty(),
        _ => false,
    };
    if empty {
        fields.remove(name);
    }
}

fn keys_of(key: &str) -> Vec<String> {
    let keys: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
    keys.into_iter().map(|(name, _)| name).collect()
}

/// Whether one path leads to the other or into it.
pub(crate) fn is_within(inner: &Path, outer: &Path) -> bool {
    inner.starts_with(outer)
}
