use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Value, json};

use super::answer::{Answer, Ask, seconds};
use super::state::State;

pub(super) enum Store {
    V1(BTreeMap<String, Value>),
    V2(BTreeMap<String, Vec<Version>>),
}

pub(super) struct Version {
    data: Value,
    gone: Option<Gone>,
}

#[derive(Clone, Copy, PartialEq)]
enum Gone {
    Deleted,
    Destroyed,
}

const CREATED: &str = "2026-11-20T10:00:00.000000000Z";
const DELETED: &str = "2026-11-20T11:00:00.000000000Z";
/// What Vault says of a secret without a `ttl` of its own: 768 hours.
const LONG: u64 = 2_764_800;

impl Store {
    pub(super) fn new(versioned: bool) -> Self {
        if versioned { Self::V2(BTreeMap::new()) } else { Self::V1(BTreeMap::new()) }
    }

    pub(super) fn answer(&mut self, path: &str, ask: &Ask) -> Answer {
        let secrets = match self {
            Self::V1(secrets) => return answer_v1(secrets, path, ask),
            Self::V2(secrets) => secrets,
        };
        match path.split_once('/') {
            Some(("data", path)) if ask.writes() => write(secrets, path, ask),
            Some(("data", path)) if ask.method == Method::DELETE => {
                let latest = secrets.get_mut(path).and_then(|versions| versions.last_mut());
                latest.into_iter().for_each(|latest| latest.gone = Some(Gone::Deleted));
                Answer::done()
            }
            Some(("data", path)) => read(secrets, path, ask.version),
            Some(("destroy", path)) => {
                let versions = secrets.get_mut(path).into_iter().flatten();
                let wanted = ask.body["versions"].as_array().cloned().unwrap_or_default();
                for (number, version) in (1_u64..).zip(versions) {
                    if wanted.contains(&json!(number)) {
                        *version = Version { data: Value::Null, gone: Some(Gone::Destroyed) };
                    }
                }
                Answer::done()
            }
            _ => {
                let warning = "Invalid path for a versioned K/V secrets engine. See the API docs \
                               for the appropriate API endpoints to use. If using the Vault CLI, \
                               use 'vault kv get' for this operation.";
                Answer::of(404, "warnings", json!([warning]))
            }
        }
    }
}

impl State {
    pub(super) fn put(&mut self, mount: &str, path: &str, data: &Value) {
        let store = self.stores.entry(mount.to_owned()).or_insert_with(|| Store::new(true));
        let Store::V2(secrets) = store else { panic!("{mount} keeps no versions") };
        let versions = secrets.entry(path.to_owned()).or_default();
        versions.push(Version { data: data.clone(), gone: None });
    }
}

fn answer_v1(secrets: &mut BTreeMap<String, Value>, path: &str, ask: &Ask) -> Answer {
    if ask.writes() {
        secrets.insert(path.to_owned(), ask.body.clone());
        return Answer::done();
    }
    let Some(data) = secrets.get(path) else { return Answer::nothing() };
    let lease = if data["ttl"].is_null() { LONG } else { seconds(&data["ttl"]) };
    let mut answer = Answer::data(data.clone());
    answer.body["lease_duration"] = json!(lease);
    answer
}

fn write(secrets: &mut BTreeMap<String, Vec<Version>>, path: &str, ask: &Ask) -> Answer {
    let versions = secrets.entry(path.to_owned()).or_default();
    let expected = ask.body["options"]["cas"].as_u64();
    if expected.is_some_and(|expected| expected != versions.len() as u64) {
        return Answer::error(400, "check-and-set parameter did not match the current version");
    }
    versions.push(Version { data: ask.body["data"].clone(), gone: None });
    Answer::data(metadata(versions.len() as u64, None))
}

fn read(secrets: &BTreeMap<String, Vec<Version>>, path: &str, version: Option<u64>) -> Answer {
    let Some(versions) = secrets.get(path) else { return Answer::nothing() };
    let number = version.filter(|version| *version > 0).unwrap_or(versions.len() as u64);
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let Some(version) = index.and_then(|index| versions.get(index)) else {
        return Answer::nothing();
    };
    let (status, data) = match version.gone {
        None => (200, version.data.clone()),
        Some(_) => (404, Value::Null),
    };
    let metadata = metadata(number, version.gone);
    Answer::of(status, "data", json!({ "data": data, "metadata": metadata }))
}

fn metadata(version: u64, gone: Option<Gone>) -> Value {
    json!({
        "created_time": CREATED,
        "deletion_time": if gone == Some(Gone::Deleted) { DELETED } else { "" },
        "destroyed": gone == Some(Gone::Destroyed),
        "version": version,
    })
}
