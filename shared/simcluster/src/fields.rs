//! Who wrote which field: the paths of an object, and the form that `managedFields` has for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

use crate::schema::{Listed, default_of_key, is_whole, listed};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Field(String),
    /// An item of a keyed list: the JSON of its keys.
    Item(String),
    /// A member of a set: its JSON.
    Member(String),
}

pub(crate) type Path = Vec<Step>;
pub(crate) type Fields = BTreeSet<Path>;

/// Two items of a keyed list have the same key.
#[derive(Debug)]
pub(crate) struct Duplicate(pub(crate) String);

/// What the server itself writes belongs to nobody.
const SERVERS: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// All leaves of an object with what they hold; an item of a list holds nothing itself.
pub(crate) fn leaves(object: &Value) -> Result<BTreeMap<Path, Value>, Duplicate> {
    let mut found = BTreeMap::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                let at = vec![Step::Field(name.clone())];
                for (name, value) in value.as_object().into_iter().flatten() {
                    if !SERVERS.contains(&name.as_str()) {
                        field(name, value, &at, &mut found)?;
                    }
                }
            }
            _ => field(name, value, &Vec::new(), &mut found)?,
        }
    }
    Ok(found)
}

fn field(
    name: &str,
    value: &Value,
    at: &Path,
    found: &mut BTreeMap<Path, Value>,
) -> Result<(), Duplicate> {
    let path = longer(at, Step::Field(name.to_owned()));
    match value {
        Value::Object(inner) if !inner.is_empty() && !is_whole(name) => {
            inner.iter().try_for_each(|(name, value)| field(name, value, &path, found))
        }
        Value::Array(items) => match listed(name) {
            Listed::By(keys) if items.iter().all(Value::is_object) => {
                items.iter().try_for_each(|item| {
                    let path = longer(&path, Step::Item(key_of(item, keys)));
                    if found.insert(path.clone(), Value::Null).is_some() {
                        return Err(Duplicate(shown(&path)));
                    }
                    let inner = item.as_object().into_iter().flatten();
                    for (name, value) in inner {
                        field(name, value, &path, found)?;
                    }
                    Ok(())
                })
            }
            Listed::Set => {
                for item in items {
                    found.insert(longer(&path, Step::Member(item.to_string())), Value::Null);
                }
                Ok(())
            }
            _ => {
                found.insert(path, value.clone());
                Ok(())
            }
        },
        _ => {
            found.insert(path, value.clone());
            Ok(())
        }
    }
}

pub(crate) fn key_of(item: &Value, keys: &[&str]) -> String {
    let held: BTreeMap<&str, Value> = keys
        .iter()
        .map(|key| (*key, item.get(*key).cloned().unwrap_or_else(|| default_of_key(key))))
        .collect();
    json!(held).to_string()
}

pub(crate) fn longer(path: &Path, step: Step) -> Path {
    let mut path = path.clone();
    path.push(step);
    path
}

/// What differs between two states of an object.
pub(crate) struct Difference {
    /// What is new or holds something else.
    pub(crate) written: Fields,
    pub(crate) removed: Fields,
}

pub(crate) fn difference(before: &Value, after: &Value) -> Result<Difference, Duplicate> {
    // Most writes are of a status: what is the same need not be taken apart.
    let without_same = |one: &Value, other: &Value| -> Value {
        let fields = one.as_object().into_iter().flatten();
        let differing = fields.filter(|(name, value)| other.get(name) != Some(*value));
        differing.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let changed = (without_same(before, after), without_same(after, before));
    let (before, after) = (leaves(&changed.0)?, leaves(&changed.1)?);
    let written = after
        .iter()
        .filter(|(path, value)| before.get(*path) != Some(*value))
        .map(|(path, _)| path.clone())
        .collect();
    let removed = before.keys().filter(|path| !after.contains_key(*path)).cloned().collect();
    Ok(Difference { written, removed })
}

/// As `managedFields` has it: `{"f:spec": {"f:replicas": {}}}`.
pub(crate) fn to_json(fields: &Fields) -> Value {
    let mut root = Map::new();
    for path in fields {
        let mut at = &mut root;
        for (depth, step) in path.iter().enumerate() {
            let inner = at.entry(step.to_string()).or_insert_with(|| json!({}));
            at = inner.as_object_mut().expect("only objects are put in");
            let holds_more = || {
                let mut others = fields.range(path.clone()..).skip(1);
                others.next().is_some_and(|next| next.starts_with(path))
            };
            if depth + 1 == path.len() && holds_more() {
                at.insert(".".to_owned(), json!({}));
            }
        }
    }
    Value::Object(root)
}

pub(crate) fn from_json(held: &Value) -> Fields {
    let mut found = Fields::new();
    read(held, &Vec::new(), &mut found);
    found
}

fn read(held: &Value, at: &Path, found: &mut Fields) {
    let Some(inner) = held.as_object() else { return };
    if !at.is_empty() && (inner.is_empty() || inner.contains_key(".")) {
        found.insert(at.clone());
    }
    for (name, value) in inner {
        if let Some(step) = Step::parse(name) {
            read(value, &longer(at, step), found);
        }
    }
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => Some(Self::Item(rest.to_owned())),
            "v" => Some(Self::Member(rest.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(out, "f:{name}"),
            Self::Item(key) => write!(out, "k:{key}"),
            Self::Member(value) => write!(out, "v:{value}"),
        }
    }
}

/// As people are told: `.spec.template.spec.containers[name="worker"].image`.
pub(crate) fn shown(path: &Path) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Field(name) => format!(".{name}"),
        Step::Item(key) => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(key).unwrap_or_default();
            let keys: Vec<String> =
                keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Step::Member(value) => format!("[={value}]"),
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_back() {
        let object = json!({
            "apiVersion": "apps/v1",
            "metadata": { "name": "x", "labels": { "a.b/c": "d" }, "finalizers": ["cogo.dev/x"] },
            "spec": { "replicas": 2, "selector": { "matchLabels": { "a": "b" } }, "template": {
                "spec": { "containers": [{
                    "name": "worker", "image": "i", "env": [{ "name": "A", "value": "1" }],
                    "ports": [{ "containerPort": 80 }], "args": ["a"], "resources": {},
                }] },
            } },
        });
        let fields: Fields = leaves(&object).unwrap().into_keys().collect();
        assert_eq!(from_json(&to_json(&fields)), fields);
        let told: Vec<String> = fields.iter().map(shown).collect();
        assert_eq!(
            told,
            [
                ".metadata.finalizers[=\"cogo.dev/x\"]",
                ".metadata.labels.a.b/c",
                ".spec.replicas",
                ".spec.selector",
                ".spec.template.spec.containers[name=\"worker\"]",
                ".spec.template.spec.containers[name=\"worker\"].args",
                ".spec.template.spec.containers[name=\"worker\"].env[name=\"A\"]",
                ".spec.template.spec.containers[name=\"worker\"].env[name=\"A\"].name",
                ".spec.template.spec.containers[name=\"worker\"].env[name=\"A\"].value",
                ".spec.template.spec.containers[name=\"worker\"].image",
                ".spec.template.spec.containers[name=\"worker\"].name",
                ".spec.template.spec.containers[name=\"worker\"].ports[containerPort=80,protocol=\"TCP\"]",
                ".spec.template.spec.containers[name=\"worker\"].ports[containerPort=80,protocol=\"TCP\"].containerPort",
                ".spec.template.spec.containers[name=\"worker\"].resources",
            ]
        );
    }

    #[test]
    fn two_items_with_one_key_are_refused() {
        let object = json!({ "spec": { "env": [{ "name": "A" }, { "name": "A" }] } });
        assert!(leaves(&object).is_err());
    }
}
