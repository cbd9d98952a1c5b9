use serde_json::Value;

use crate::kind::Kind;
use crate::look::{self, text};
use crate::managed::Writer;
use crate::refusal::Refusal;
use crate::schema;
use crate::store::Store;
use crate::write::Part;

/// Why a manifest could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("document {at} is no YAML object")]
    Unreadable { at: usize },
    #[error("document {at} is a `{kind}` of `{version}`, which is not kept here")]
    UnknownKind { at: usize, version: String, kind: String },
    #[error("document {at} has fields that `{kind}` does not have: {fields}")]
    UnknownFields { at: usize, kind: String, fields: String },
    #[error("document {at} is refused")]
    Refused { at: usize, source: Refusal },
}

/// Creates or replaces what a manifest of several documents says, as an administrator would.
pub(crate) fn load(store: &mut Store, yaml: &str) -> Result<(), LoadError> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).map_err(|_| LoadError::Unreadable { at: 1 })?;
    for (at, object) in documents.into_iter().enumerate() {
        let at = at + 1;
        if object.is_null() {
            continue;
        }
        let (version, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
        if !object.is_object() || kind.is_empty() {
            return Err(LoadError::Unreadable { at });
        }
        let Some(known) = Kind::of_object(version, kind) else {
            let (version, kind) = (version.to_owned(), kind.to_owned());
            return Err(LoadError::UnknownKind { at, version, kind });
        };
        let unknown =
            schema::undeclared(known, &object).map_err(|_| LoadError::Unreadable { at })?;
        if !unknown.is_empty() {
            let (kind, fields) = (kind.to_owned(), unknown.join(", "));
            return Err(LoadError::UnknownFields { at, kind, fields });
        }
        put(store, known, object).map_err(|source| LoadError::Refused { at, source })?;
    }
    Ok(())
}

fn put(store: &mut Store, kind: &'static Kind, object: Value) -> Result<(), Refusal> {
    let writer = Writer::update("kubectl", "");
    let namespace = match look::namespace(&object) {
        "" if kind.namespaced => "default",
        namespace => namespace,
    };
    let namespace = namespace.to_owned();
    match store.get(kind, &namespace, look::name(&object)).cloned() {
        Some(before) => store.update(kind, &before, object, Part::Whole, &writer, false)?,
        None => store.create(kind, &namespace, object, &writer, false)?,
    };
    Ok(())
}
