use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Response;
use serde_json::{Value, json};

use super::answer::{self, Body};
use super::ask::Ask;
use super::change::selectors;
use super::table;
use crate::cluster::Cluster;
use crate::faults::too_large;
use crate::kind::Kind;
use crate::refusal::Refusal;
use crate::store::Key;

/// A server waits this long for a version that it has not seen yet.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) async fn answer(cluster: &Arc<Cluster>, ask: &Ask) -> Result<Response<Body>, Refusal> {
    let (labels, fields) = selectors(ask)?;
    let asked = version_of(ask)?;
    reach(cluster, asked).await?;
    let resumed = resume(ask.kind, ask.query.get("continue"))?;
    let limit: usize = ask.query.get("limit").parse().unwrap_or_default();
    let namespace = (!ask.namespace.is_empty()).then_some(ask.namespace.as_str());
    let (version, mut items) = cluster.with(|store| {
        let after = |object: &Value| match &resumed {
            Some((_, last)) => Key::of(ask.kind, object).cmp(last) == Ordering::Greater,
            None => true,
        };
        let items: Vec<Arc<Value>> = store
            .list(ask.kind, namespace)
            .filter(|one| after(one) && labels.matches(one) && fields.matches(one))
            .cloned()
            .collect();
        match &resumed {
            Some((version, _)) if *version < store.compacted() => Err(Refusal::new(
                410,
                "Expired",
                "The provided continue parameter is too old to display a consistent list result.",
            )),
            Some((version, _)) => Ok((*version, items)),
            None => Ok((store.version(), items)),
        }
    })?;
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if limit > 0 && items.len() > limit {
        metadata["remainingItemCount"] = (items.len() - limit).into();
        items.truncate(limit);
        let last = items.last().map(|one| Key::of(ask.kind, one));
        let last = last.expect("a limit above nothing leaves one");
        metadata["continue"] = mark(version, &last).into();
    }
    let head = json!({ "metadata": metadata });
    let listed = match ask.shown_as() {
        "Table" => table::of(ask.kind, items.iter().map(|one| &**one), &head),
        "PartialObjectMetadataList" => {
            let items: Vec<Value> = items.iter().map(|one| metadata_of(one)).collect();
            json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": items,
            })
        }
        _ => {
            // Items of a list do not say again what they are.
            let items: Vec<Value> = items.iter().map(|one| without_kind(one)).collect();
            json!({
                "kind": format!("{}List", ask.kind.kind),
                "apiVersion": ask.kind.api_version(),
                "metadata": metadata,
                "items": items,
            })
        }
    };
    Ok(answer::json(200, &listed))
}

fn without_kind(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    object
}

pub(crate) fn metadata_of(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

pub(crate) fn version_of(ask: &Ask) -> Result<u64, Refusal> {
    match ask.query.get("resourceVersion") {
        "" => Ok(0),
        said => said.parse().map_err(|_| {
            let message = format!("resourceVersion: Invalid value: \"{said}\": strconv.ParseUint");
            Refusal::bad_request(message)
        }),
    }
}

/// Waits until a version that somebody has heard of elsewhere has come here, too.
pub(crate) async fn reach(cluster: &Cluster, version: u64) -> Result<(), Refusal> {
    let mut changed = cluster.changed.subscribe();
    let reached = changed.wait_for(|held| *held >= version);
    if tokio::time::timeout(PATIENCE, reached).await.is_err() {
        return Err(too_large(version, cluster.with(|store| store.version())));
    }
    Ok(())
}

fn mark(version: u64, last: &Key) -> String {
    URL_SAFE_NO_PAD.encode(json!([version, last.namespace, last.name]).to_string())
}

fn resume(kind: &'static Kind, mark: &str) -> Result<Option<(u64, Key)>, Refusal> {
    if mark.is_empty() {
        return Ok(None);
    }
    let invalid = || Refusal::bad_request("continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(mark).map_err(|_| invalid())?;
    let (version, namespace, name): (u64, String, String) =
        serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    Ok(Some((version, Key { kind, namespace, name })))
}
