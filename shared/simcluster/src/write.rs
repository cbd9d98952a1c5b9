//! Creating, changing and deleting objects by the rules that hold for all of them.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::check::check;
use crate::defaults;
use crate::kind::{DEPLOYMENT, Kind, NAMESPACE, POD, REPLICA_SET};
use crate::look;
use crate::managed::{self, Writer, now};
use crate::names;
use crate::refusal::Refusal;
use crate::store::{Key, Store};

/// Which part of an object a request writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Status,
    /// Spec and status at once, as only controllers of ours do.
    Both,
}

/// What somebody who deletes wants to hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deletion {
    pub(crate) grace: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) policy: Option<String>,
}

pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";

impl Store {
    /// `owned` says whether the fields' owners are already noted, as after an apply.
    pub(crate) fn create(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        mut object: Value,
        writer: &Writer,
        dry: bool,
    ) -> Result<Arc<Value>, Refusal> {
        if !look::text(&object, "/metadata/resourceVersion").is_empty() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Refusal::new(500, "InternalError", message));
        }
        self.place(kind, namespace, &mut object)?;
        let name = look::name(&object).to_owned();
        if self.get(kind, namespace, &name).is_some() {
            return Err(Refusal::exists(kind, &name));
        }
        let given = object.clone();
        defaults::fill(kind, &mut object);
        object["metadata"]["uid"] = Uuid::new_v4().to_string().into();
        object["metadata"]["creationTimestamp"] = now().into();
        if kind.counts {
            object["metadata"]["generation"] = 1.into();
        }
        if *kind == DEPLOYMENT || *kind == REPLICA_SET {
            object["status"] = match kind.kind {
                "ReplicaSet" => json!({ "replicas": 0 }),
                _ => json!({}),
            };
        }
        for server in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            object["metadata"].as_object_mut().map(|metadata| metadata.remove(server));
        }
        check(kind, None, &object)?;
        if !writer.applies {
            let nothing = json!({ "metadata": {} });
            let mut noted = given;
            noted["apiVersion"] = object["apiVersion"].clone();
            managed::note_update(&nothing, &mut noted, writer);
            object["metadata"]["managedFields"] = noted["metadata"]["managedFields"].clone();
        }
        if dry {
            return Ok(Arc::new(object));
        }
        Ok(self.put(kind, object))
    }

    /// Puts the object's namespace and name in, as the path and the object say.
    fn place(
        &self,
        kind: &'static Kind,
        namespace: &str,
        object: &mut Value,
    ) -> Result<(), Refusal> {
        let metadata = look::map_at(object, "metadata");
        if kind.namespaced {
            let said = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
            if !said.is_empty() && said != namespace {
                return Err(Refusal::bad_request(
                    "the namespace of the provided object does not match the namespace sent on \
                     the request",
                ));
            }
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        let named = metadata.get("name").and_then(Value::as_str).is_some_and(|one| !one.is_empty());
        if !named {
            let Some(prefix) = metadata.get("generateName").and_then(Value::as_str) else {
                let message = format!(
                    "{} \"\" is invalid: metadata.name: Required value: name or generateName is required",
                    kind.qualified_kind()
                );
                return Err(Refusal::new(422, "Invalid", message));
            };
            let name = format!("{prefix}{}", names::suffix());
            metadata.insert("name".to_owned(), name.into());
        }
        if !kind.namespaced {
            return Ok(());
        }
        let name = look::name(object).to_owned();
        match self.get(&NAMESPACE, "", namespace) {
            None => Err(Refusal::not_found(&NAMESPACE, namespace)),
            Some(held) if look::is_leaving(held) => {
                let why = format!(
                    "unable to create new content in namespace {namespace} because it is being \
                     terminated"
                );
                Err(Refusal::forbidden(kind, &name, &why))
            }
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn update(
        &mut self,
        kind: &'static Kind,
        before: &Arc<Value>,
        mut after: Value,
        part: Part,
        writer: &Writer,
        dry: bool,
    ) -> Result<Arc<Value>, Refusal> {
        let name = look::name(before).to_owned();
        if look::name(&after) != name {
            return Err(Refusal::bad_request(
                "the name of the object does not match the name on the URL",
            ));
        }
        let said = look::text(&after, "/metadata/resourceVersion");
        if !said.is_empty() && said != look::text(before, "/metadata/resourceVersion") {
            return Err(Refusal::stale(kind, &name));
        }
        let said = look::uid(&after);
        if !said.is_empty() && said != look::uid(before) {
            let message = format!(
                "Operation cannot be fulfilled on {kind} \"{name}\": Precondition failed: UID in \
                 precondition: {said}, UID in object meta: {}",
                look::uid(before)
            );
            return Err(Refusal::new(409, "Conflict", message));
        }
        let managers = after["metadata"]["managedFields"].take();
        match part {
            Part::Whole if kind.status => after["status"] = before["status"].clone(),
            Part::Whole | Part::Both => {}
            Part::Status => {
                let status = after["status"].take();
                after = Value::clone(before);
                after["status"] = status;
            }
        }
        for server in SERVERS {
            let held = before["metadata"][server].clone();
            let metadata = look::map_at(&mut after, "metadata");
            if held.is_null() {
                metadata.remove(*server);
            } else {
                metadata.insert((*server).to_owned(), held);
            }
        }
        if part != Part::Status {
            defaults::fill(kind, &mut after);
        }
        if kind.counts && after["spec"] != before["spec"] {
            after["metadata"]["generation"] = (look::generation(before) + 1).into();
        }
        if part != Part::Status {
            check(kind, Some(before), &after)?;
        }
        if writer.applies {
            after["metadata"]["managedFields"] = managers;
        } else {
            managed::note_update(before, &mut after, writer);
        }
        // Writing what is there already writes nothing, so nobody who watches is woken.
        if after == **before {
            return Ok(before.clone());
        }
        if dry {
            return Ok(Arc::new(after));
        }
        let finalized = look::is_leaving(&after)
            && *kind != POD
            && *kind != NAMESPACE
            && look::list(&after, "/metadata/finalizers").is_empty();
        let written = self.put(kind, after);
        if finalized {
            self.remove(&Key::of(kind, &written));
        }
        Ok(written)
    }

    /// What is left of it: `None` if it is gone.
    pub(crate) fn delete(
        &mut self,
        key: &Key,
        wanted: &Deletion,
        dry: bool,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        let held = self.expect(key.kind, &key.namespace, &key.name)?;
        let differs = |wanted: &Option<String>, pointer: &str| {
            wanted.as_ref().is_some_and(|one| one != look::text(&held, pointer))
        };
        if differs(&wanted.uid, "/metadata/uid")
            || differs(&wanted.version, "/metadata/resourceVersion")
        {
            let message = format!(
                "Operation cannot be fulfilled on {} \"{}\": Precondition failed",
                key.kind, key.name
            );
            return Err(Refusal::new(409, "Conflict", message));
        }
        if dry {
            return Ok((held, true));
        }
        let mut leaving = Value::clone(&held);
        if *key.kind == POD {
            let spec = look::number(&held, "/spec/terminationGracePeriodSeconds").unwrap_or(30);
            let bound = !look::text(&held, "/spec/nodeName").is_empty();
            let grace = wanted.grace.unwrap_or(spec);
            if bound && grace > 0 {
                if look::is_leaving(&held) {
                    return Ok((held, false));
                }
                leaving["metadata"]["deletionTimestamp"] = later(grace).into();
                leaving["metadata"]["deletionGracePeriodSeconds"] = grace.into();
                return Ok((self.put(key.kind, leaving), false));
            }
        }
        let policy = wanted.policy.as_deref().unwrap_or_default();
        let finalizer = match policy {
            "Foreground" => Some(FOREGROUND),
            "Orphan" => Some(ORPHAN),
            _ => None,
        };
        let mut finalizers = look::list(&held, "/metadata/finalizers").to_vec();
        finalizers.extend(finalizer.map(Value::from));
        if *key.kind == NAMESPACE || !finalizers.is_empty() {
            if look::is_leaving(&held) {
                return Ok((held, false));
            }
            leaving["metadata"]["deletionTimestamp"] = now().into();
            leaving["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            if !finalizers.is_empty() {
                leaving["metadata"]["finalizers"] = finalizers.into();
            }
            if *key.kind == NAMESPACE {
                leaving["status"]["phase"] = "Terminating".into();
            }
            if key.kind.counts {
                leaving["metadata"]["generation"] = (look::generation(&held) + 1).into();
            }
            return Ok((self.put(key.kind, leaving), false));
        }
        let gone = self.remove(key).unwrap_or(held);
        Ok((gone, true))
    }
}

/// What a writer cannot change, whatever they send.
const SERVERS: &[&str] = &[
    "uid",
    "creationTimestamp",
    "resourceVersion",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "namespace",
    "generateName",
];

fn later(seconds: i64) -> String {
    let at = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    let at = at.replace_nanosecond(0).expect("zero is in range");
    at.format(&time::format_description::well_known::Rfc3339).expect("a year of four digits")
}

impl Store {
    /// Gives a pod to a node.
    pub(crate) fn bind(&mut self, pod: &Value, node: &str) -> Arc<Value> {
        let mut bound = pod.clone();
        bound["spec"]["nodeName"] = node.into();
        let scheduled = json!({
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": null,
            "lastTransitionTime": now(),
        });
        let conditions = look::map_at(&mut bound, "status").entry("conditions");
        let conditions = conditions.or_insert_with(|| json!([]));
        if let Some(all) = conditions.as_array_mut() {
            all.retain(|one| one["type"] != "PodScheduled");
            all.push(scheduled);
        }
        self.put(&POD, bound)
    }
}
