use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core;
use kube::api::{Patch, PatchParams, PostParams};
use miette::Diagnostic;
use model::Secret;
use rand::RngExt;
use serde_json::json;

use crate::call::call;
use crate::read::{annotation, label};
use crate::words::{CONTENT_HASH, MANAGED_BY, MANAGER, OURS, OWNER};
use crate::{Cluster, Disposition, Trouble};

/// A login to a registry, as pods need it to pull.
pub struct PullSecret<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub dockerconfigjson: &'a Secret,
    /// The id of the link that asks for it.
    pub owner: &'a str,
}

/// What was done about it, and the keyed hash of what it holds: that tells whether the content
/// changed, and nothing else, because the key lies where the content lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub state: PullSecretState,
    pub hash: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullSecretState {
    Created,
    Updated,
    Unchanged,
}

/// Why a pull secret is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum PullSecretError {
    #[error("there is a Secret {namespace}/{name} already, and it is not ours")]
    #[diagnostic(help(
        "choose another name, or set managed_by to `manual`; to hand it over, label it \
         app.kubernetes.io/managed-by=cogo"
    ))]
    NotOurs { namespace: String, name: String },

    #[error("the Secret {namespace}/{name} belongs to another link")]
    #[diagnostic(help("two links must not name the same Secret; choose another name for one"))]
    OfAnother { namespace: String, name: String },

    #[error("there is a Secret {namespace}/{name} already, of type {kind}")]
    #[diagnostic(help("the type of a Secret cannot change; choose another name"))]
    OtherType { namespace: String, name: String, kind: String },

    #[error("could not keep the Secret {namespace}/{name}")]
    Trouble {
        namespace: String,
        name: String,
        #[source]
        #[diagnostic_source]
        trouble: Trouble,
    },
}

impl PullSecretError {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NotOurs { .. } | Self::OfAnother { .. } | Self::OtherType { .. } => {
                Disposition::GiveUp
            }
            Self::Trouble { trouble, .. } => trouble.disposition(),
        }
    }
}

impl Cluster {
    /// Makes a pull secret what it should be, and answers what it took. Never touches one that is
    /// not ours; reads no other, and this one by its name. `hash` is of the content, by a key.
    pub async fn apply_pull_secret(
        &self,
        secret: &PullSecret<'_>,
        hash: impl Fn(&Secret) -> String,
    ) -> Result<Kept, PullSecretError> {
        let api = self.api::<core::Secret>(secret.namespace);
        let failed = |trouble| PullSecretError::Trouble {
            namespace: secret.namespace.to_owned(),
            name: secret.name.to_owned(),
            trouble,
        };
        let found = call("get secret", self.limit(), api.get_opt(secret.name)).await;
        let found = found.map_err(failed)?;
        if let Some(found) = &found {
            may_change(secret, found)?;
        }
        let key = found.as_ref().and_then(key_in).unwrap_or_else(new_key);
        let hash = hash(&key);
        let kept = |state| Kept { state, hash: hash.clone() };
        if found.as_ref().is_some_and(|found| is_as_it_should_be(secret, &hash, found)) {
            return Ok(kept(PullSecretState::Unchanged));
        }
        let metadata = found.as_ref().map(|found| &found.metadata);
        let bytes = |secret: &Secret| ByteString(secret.expose().as_bytes().to_vec());
        let content = bytes(secret.dockerconfigjson);
        let change = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": secret.name,
                "namespace": secret.namespace,
                // What we looked at is what is changed, or nothing is.
                "uid": metadata.and_then(|metadata| metadata.uid.as_deref()),
                "resourceVersion": metadata.and_then(|metadata| metadata.resource_version.as_deref()),
                "labels": { MANAGED_BY: OURS },
                "annotations": { OWNER: secret.owner, CONTENT_HASH: hash },
            },
            "type": TYPE,
            "data": { CONTENT: content, HASH_KEY: bytes(&key) },
        });
        if found.is_none() {
            // Applying would change one that somebody made since we looked; making anew cannot.
            let object = serde_json::from_value(change).map_err(|_| failed(Trouble::Unreadable))?;
            let how = PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
            let made = call("create secret", self.limit(), api.create(&how, &object)).await;
            made.map_err(failed)?;
            return Ok(kept(PullSecretState::Created));
        }
        let how = PatchParams::apply(MANAGER).force();
        let change = Patch::Apply(&change);
        let patched = api.patch(secret.name, &how, &change);
        call("apply secret", self.limit(), patched).await.map_err(failed)?;
        Ok(kept(PullSecretState::Updated))
    }
}

const TYPE: &str = "kubernetes.io/dockerconfigjson";
const CONTENT: &str = ".dockerconfigjson";
/// Beside it, where kubelets do not look.
const HASH_KEY: &str = "cogo.dev.hash-key";

fn key_in(found: &core::Secret) -> Option<Secret> {
    let bytes = &found.data.as_ref()?.get(HASH_KEY)?.0;
    let text = String::from_utf8(bytes.clone()).ok().filter(|text| !text.is_empty());
    text.map(Secret::new)
}

fn new_key() -> Secret {
    let (high, low) = (rand::rng().random::<u128>(), rand::rng().random::<u128>());
    Secret::new(format!("{high:032x}{low:032x}"))
}

fn may_change(secret: &PullSecret<'_>, found: &core::Secret) -> Result<(), PullSecretError> {
    let (namespace, name) = (secret.namespace.to_owned(), secret.name.to_owned());
    if label(&found.metadata, MANAGED_BY).as_deref() != Some(OURS) {
        return Err(PullSecretError::NotOurs { namespace, name });
    }
    if annotation(&found.metadata, OWNER).is_some_and(|owner| owner != secret.owner) {
        return Err(PullSecretError::OfAnother { namespace, name });
    }
    match found.type_.as_deref() {
        Some(TYPE) => Ok(()),
        kind => {
            let kind = crate::printable::printable(kind.unwrap_or("Opaque"), 64);
            Err(PullSecretError::OtherType { namespace, name, kind })
        }
    }
}

/// The annotation says what we made it from, and the content whether it still is that.
fn is_as_it_should_be(secret: &PullSecret<'_>, hash: &str, found: &core::Secret) -> bool {
    let content = found.data.as_ref().and_then(|data| data.get(CONTENT));
    annotation(&found.metadata, CONTENT_HASH).as_deref() == Some(hash)
        && annotation(&found.metadata, OWNER).as_deref() == Some(secret.owner)
        && content.is_some_and(|bytes| bytes.0 == secret.dockerconfigjson.expose().as_bytes())
}
