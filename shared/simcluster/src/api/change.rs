//! Requests about one object: get, create, update, patch, scale, bind, delete.

use std::sync::Arc;

use hyper::Response;
use serde_json::{Value, json};

use super::answer::{self, Body};
use super::ask::{Ask, unsupported};
use crate::access::{Wish, is_allowed};
use crate::admission;
use crate::cluster::Cluster;
use crate::kind::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, LEASE, POD, ROLE, ROLE_BINDING};
use crate::look;
use crate::managed::{self, Writer};
use crate::patch;
use crate::refusal::Refusal;
use crate::schema;
use crate::selector::{FieldSelector, Selector};
use crate::store::{Key, Store};
use crate::write::{Deletion, Part};

type Answer = Result<Response<Body>, Refusal>;

pub(crate) fn get(cluster: &Cluster, ask: &Ask) -> Answer {
    let object = cluster.with(|store| store.expect(ask.kind, &ask.namespace, &ask.name))?;
    Ok(answer::object(ask, 200, &object))
}

pub(crate) fn create(cluster: &Cluster, ask: &Ask) -> Answer {
    let mut object = ask.object()?;
    is_of_kind(ask, &object)?;
    let unknown = hold_to_schema(ask, &mut object)?;
    let writer = ask.updater()?;
    let created = cluster.with(|store| {
        admission::admit(store, &cluster.fates, ask.kind, &ask.namespace, &object)?;
        store.create(ask.kind, &ask.namespace, object, &writer, ask.dry())
    })?;
    let mut response = answer::object(ask, 201, &created);
    answer::warn(&mut response, &unknown);
    Ok(response)
}

pub(crate) fn update(cluster: &Cluster, ask: &Ask) -> Answer {
    let mut object = ask.object()?;
    is_of_kind(ask, &object)?;
    let unknown = hold_to_schema(ask, &mut object)?;
    let writer = ask.updater()?;
    let (code, updated) = cluster.with(|store| {
        let Some(before) = store.get(ask.kind, &ask.namespace, &ask.name).cloned() else {
            // A few kinds are made by whoever writes them first.
            let made = [&LEASE, &ROLE, &ROLE_BINDING, &CLUSTER_ROLE, &CLUSTER_ROLE_BINDING];
            if !made.contains(&ask.kind) {
                return Err(Refusal::not_found(ask.kind, &ask.name));
            }
            may_create(store, ask)?;
            let made = store.create(ask.kind, &ask.namespace, object, &writer, ask.dry())?;
            return Ok((201, made));
        };
        let updated = store.update(ask.kind, &before, object, part(ask), &writer, ask.dry())?;
        Ok((200, updated))
    })?;
    let mut response = answer::object(ask, code, &updated);
    answer::warn(&mut response, &unknown);
    Ok(response)
}

pub(crate) fn patch(cluster: &Cluster, ask: &Ask) -> Answer {
    if ask.content_type() == "application/apply-patch+yaml" {
        return apply(cluster, ask);
    }
    let body = ask.object()?;
    let writer = ask.updater()?;
    let mut unknown = Vec::new();
    let patched = cluster.with(|store| {
        let before = store.expect(ask.kind, &ask.namespace, &ask.name)?;
        let mut after = Value::clone(&before);
        patched_by(ask, &mut after, &body)?;
        unknown = hold_to_schema(ask, &mut after)?;
        store.update(ask.kind, &before, after, part(ask), &writer, ask.dry())
    })?;
    let mut response = answer::object(ask, 200, &patched);
    answer::warn(&mut response, &unknown);
    Ok(response)
}

fn patched_by(ask: &Ask, object: &mut Value, body: &Value) -> Result<(), Refusal> {
    match ask.content_type() {
        "application/merge-patch+json" => patch::merge(object, body),
        "application/strategic-merge-patch+json" => patch::strategic(object, body)?,
        "application/json-patch+json" => patch::json_patch(object, body)?,
        _ => return Err(unsupported()),
    }
    Ok(())
}

fn apply(cluster: &Cluster, ask: &Ask) -> Answer {
    if ask.query.get("fieldManager").is_empty() {
        return Err(Refusal::new(
            422,
            "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required \
             for apply patch",
        ));
    }
    let mut config = ask.object()?;
    is_of_kind(ask, &config)?;
    let said = look::name(&config);
    if said != ask.name && !said.is_empty() {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({said}) does not match the name on the URL ({})",
            ask.name
        )));
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    declared(ask, &config)?;
    look::map_at(&mut config, "metadata").insert("name".to_owned(), ask.name.as_str().into());
    if part(ask) == Part::Whole && ask.kind.status {
        config.as_object_mut().map(|fields| fields.remove("status"));
    }
    let writer = Writer::apply(&ask.manager()?, &ask.subresource);
    let force = ask.query.is("force");
    let (code, applied) =
        cluster.with(|store| match store.get(ask.kind, &ask.namespace, &ask.name).cloned() {
            Some(before) => {
                let after = managed::apply(&before, &config, &writer, force)?;
                let written =
                    store.update(ask.kind, &before, after, part(ask), &writer, ask.dry())?;
                Ok((200, written))
            }
            None => {
                if !ask.subresource.is_empty() {
                    return Err(Refusal::not_found(ask.kind, &ask.name));
                }
                let uid = look::uid(&config);
                if !uid.is_empty() {
                    let why = format!(
                        "Operation cannot be fulfilled on {} \"{}\": uid mismatch: the provided \
                         object specified uid {uid}, and no existing object was found",
                        ask.kind, ask.name
                    );
                    return Err(Refusal::new(409, "Conflict", why));
                }
                may_create(store, ask)?;
                admission::admit(store, &cluster.fates, ask.kind, &ask.namespace, &config)?;
                let nothing = json!({ "metadata": {} });
                let after = managed::apply(&nothing, &config, &writer, force)?;
                let made = store.create(ask.kind, &ask.namespace, after, &writer, ask.dry())?;
                Ok((201, made))
            }
        })?;
    Ok(answer::object(ask, code, &applied))
}

/// Whoever makes an object by applying or updating it must be allowed to create it, too.
fn may_create(store: &Store, ask: &Ask) -> Result<(), Refusal> {
    let wish = Wish { verb: "create".to_owned(), ..ask.wish() };
    if is_allowed(store, &ask.who, &wish) {
        return Ok(());
    }
    Err(Refusal::forbidden(ask.kind, &ask.name, ""))
}

pub(crate) fn get_scale(cluster: &Cluster, ask: &Ask) -> Answer {
    let object = cluster.with(|store| store.expect(ask.kind, &ask.namespace, &ask.name))?;
    Ok(answer::json(200, &scale_of(&object)))
}

pub(crate) fn scale(cluster: &Cluster, ask: &Ask) -> Answer {
    let body = ask.object()?;
    let manager = ask.manager()?;
    let scaled = cluster.with(|store| {
        let before = store.expect(ask.kind, &ask.namespace, &ask.name)?;
        let mut scale = scale_of(&before);
        match (ask.method.as_str(), ask.content_type()) {
            ("PUT", _) => scale = body,
            // There is only one field to own, so an apply is a merge that may be refused.
            (_, "application/apply-patch+yaml") => patch::merge(&mut scale, &body),
            _ => patched_by(ask, &mut scale, &body)?,
        }
        let replicas = look::number(&scale, "/spec/replicas").unwrap_or_default();
        let mut after = Value::clone(&before);
        after["spec"]["replicas"] = replicas.into();
        let said = look::text(&scale, "/metadata/resourceVersion");
        if !said.is_empty() {
            after["metadata"]["resourceVersion"] = said.into();
        }
        let writer = Writer::update(&manager, "scale");
        store.update(ask.kind, &before, after, Part::Whole, &writer, ask.dry())
    })?;
    Ok(answer::json(200, &scale_of(&scaled)))
}

fn scale_of(object: &Value) -> Value {
    let labels = look::entries(object, "/spec/selector/matchLabels");
    let selector: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect();
    let spec = match look::number(object, "/spec/replicas") {
        // Zero is left out, as of everything that Go writes so.
        None | Some(0) => json!({}),
        Some(replicas) => json!({ "replicas": replicas }),
    };
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": look::name(object),
            "namespace": look::namespace(object),
            "uid": look::uid(object),
            "resourceVersion": object["metadata"]["resourceVersion"],
            "creationTimestamp": object["metadata"]["creationTimestamp"],
        },
        "spec": spec,
        "status": {
            "replicas": object["status"]["replicas"].as_i64().unwrap_or_default(),
            "selector": selector.join(","),
        },
    })
}

pub(crate) fn bind(cluster: &Cluster, ask: &Ask) -> Answer {
    let body = ask.object()?;
    let node = look::text(&body, "/target/name").to_owned();
    cluster.with(|store| {
        let before = store.expect(&POD, &ask.namespace, &ask.name)?;
        if !look::text(&before, "/spec/nodeName").is_empty() {
            let message = format!(
                "Operation cannot be fulfilled on pods/binding \"{0}\": pod {0} is already \
                 assigned to node \"{1}\"",
                ask.name,
                look::text(&before, "/spec/nodeName")
            );
            return Err(Refusal::new(409, "Conflict", message));
        }
        store.bind(&before, &node);
        Ok(())
    })?;
    Ok(answer::json(201, &json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })))
}

pub(crate) fn delete(cluster: &Cluster, ask: &Ask) -> Answer {
    let wanted = deletion(ask)?;
    let key = Key::new(ask.kind, &ask.namespace, &ask.name);
    let (object, gone) = cluster.with(|store| store.delete(&key, &wanted, ask.dry()))?;
    if !gone || *ask.kind == POD {
        return Ok(answer::object(ask, 200, &object));
    }
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            "name": ask.name,
            "group": ask.kind.group,
            "kind": ask.kind.plural,
            "uid": look::uid(&object),
        },
    });
    Ok(answer::json(200, &status))
}

pub(crate) fn delete_all(cluster: &Cluster, ask: &Ask) -> Answer {
    let wanted = deletion(ask)?;
    let (labels, fields) = selectors(ask)?;
    cluster.with(|store| {
        let all: Vec<Arc<Value>> = store
            .list(ask.kind, Some(&ask.namespace))
            .filter(|one| labels.matches(one) && fields.matches(one))
            .cloned()
            .collect();
        for one in &all {
            store.delete(&Key::of(ask.kind, one), &wanted, ask.dry())?;
        }
        let mut kind = ask.kind.kind.to_owned();
        kind.push_str("List");
        let items: Vec<&Value> = all.iter().map(|one| &**one).collect();
        let told = json!({
            "kind": kind,
            "apiVersion": ask.kind.api_version(),
            "metadata": { "resourceVersion": store.version().to_string() },
            "items": items,
        });
        Ok(answer::json(200, &told))
    })
}

fn deletion(ask: &Ask) -> Result<Deletion, Refusal> {
    let body = if ask.body.is_empty() { json!({}) } else { ask.object()? };
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let asked = |key: &str| match ask.query.get(key) {
        "" => None,
        said => Some(said.to_owned()),
    };
    Ok(Deletion {
        grace: look::number(&body, "/gracePeriodSeconds")
            .or_else(|| asked("gracePeriodSeconds")?.parse().ok()),
        uid: text("/preconditions/uid"),
        version: text("/preconditions/resourceVersion"),
        policy: text("/propagationPolicy").or_else(|| asked("propagationPolicy")),
    })
}

pub(crate) fn selectors(ask: &Ask) -> Result<(Selector, FieldSelector), Refusal> {
    let unparsable = |key: &str| {
        Refusal::bad_request(format!("unable to parse requirement: {key}={}", ask.query.get(key)))
    };
    let labels = Selector::parse(ask.query.get("labelSelector"));
    let fields = FieldSelector::parse(ask.query.get("fieldSelector"));
    Ok((
        labels.ok_or_else(|| unparsable("labelSelector"))?,
        fields.ok_or_else(|| unparsable("fieldSelector"))?,
    ))
}

fn part(ask: &Ask) -> Part {
    if ask.subresource == "status" { Part::Status } else { Part::Whole }
}

fn is_of_kind(ask: &Ask, object: &Value) -> Result<(), Refusal> {
    let (version, kind) = (look::text(object, "/apiVersion"), look::text(object, "/kind"));
    let (expected, name) = (ask.kind.api_version(), ask.kind.kind);
    if !object.is_object() {
        return Err(Refusal::bad_request("the object provided is unrecognized"));
    }
    if (version == expected || version.is_empty()) && (kind == name || kind.is_empty()) {
        return Ok(());
    }
    let message = format!(
        "the API version in the data ({version}) does not match the expected API version \
         ({expected}), or {kind} in version \"{version}\" cannot be handled as a {name}"
    );
    Err(Refusal::bad_request(message))
}

/// Fields that no type declares are refused, told of or dropped, as the client asks.
fn hold_to_schema(ask: &Ask, object: &mut Value) -> Result<Vec<String>, Refusal> {
    let kind = ask.kind;
    let unknown = schema::drop_undeclared(kind, object).map_err(|_| mistyped(ask))?;
    match ask.query.get("fieldValidation") {
        "Strict" if !unknown.is_empty() => {
            let fields: Vec<String> = unknown
                .iter()
                .map(|one| format!("unknown field \"{}\"", one.trim_start_matches('.')))
                .collect();
            Err(Refusal::bad_request(format!(
                "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                kind.kind,
                kind.version,
                kind.kind,
                fields.join(", ")
            )))
        }
        "Ignore" => Ok(Vec::new()),
        _ => Ok(unknown),
    }
}

/// An applied object may not hold what no type declares, whatever the client asks.
fn declared(ask: &Ask, config: &Value) -> Result<(), Refusal> {
    let unknown = schema::undeclared(ask.kind, config).map_err(|_| mistyped(ask))?;
    let Some(first) = unknown.first() else { return Ok(()) };
    let (namespace, name) = (&ask.namespace, &ask.name);
    let (version, kind) = (ask.kind.api_version(), ask.kind.kind);
    let message = format!(
        "failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): \
         {first}: field not declared in schema"
    );
    Err(Refusal::new(500, "", message))
}

/// Without what was there: it may be a secret.
fn mistyped(ask: &Ask) -> Refusal {
    let (kind, version) = (ask.kind.kind, ask.kind.version);
    Refusal::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: json: cannot unmarshal \
         a value into a Go struct field of another type"
    ))
}
