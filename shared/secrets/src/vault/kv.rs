use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::Secret;
use serde_json::Value;
use vaultrs::api::kv2::requests::ReadSecretRequest;
use vaultrs::client::VaultClient;
use vaultrs::{api, kv1};

use super::wire::{Failure, Hint, Wire};
use crate::Trouble;
use crate::found::Field;

/// Vault's two kinds of key-value stores. Which one a mount is, only its answers tell to everybody:
/// asking for the list of mounts takes a right that readers do not have.
#[derive(Default)]
pub(super) struct Stores {
    kinds: Mutex<HashMap<String, Kind>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    V1,
    V2,
}

pub(super) struct Entry {
    pub(super) fields: BTreeMap<String, Field>,
    pub(super) version: Option<u64>,
    pub(super) lease: Option<Duration>,
}

impl Stores {
    pub(super) async fn read(
        &self,
        wire: &Wire,
        client: &VaultClient,
        mount: &str,
        path: &str,
        version: Option<u64>,
    ) -> Result<Entry, Trouble> {
        let known = self.known(mount);
        if known != Some(Kind::V1) {
            match read_v2(wire, client, mount, path, version).await {
                Ok(entry) => {
                    self.learn(mount, Kind::V2);
                    return Ok(entry);
                }
                // On a mount of version 1 this path is merely another, which is not there or is
                // forbidden.
                Err(Failure::Said { status: 403 | 404, hint: Hint::None }) if known.is_none() => {}
                Err(failure) => return Err(failure.trouble()),
            }
        }
        match read_v1(wire, client, mount, path).await {
            Ok(entry) => {
                let api_path = path.starts_with("data/") && entry.is_of_v2();
                self.learn(mount, if api_path { Kind::V2 } else { Kind::V1 });
                match version {
                    _ if api_path => Err(Trouble::ApiPath),
                    Some(_) => Err(Trouble::NoVersions),
                    None => Ok(entry),
                }
            }
            Err(Failure::Said { status: 404, hint: Hint::Versioned }) => {
                self.learn(mount, Kind::V2);
                match known {
                    // It was of version 1 the last time, and has been upgraded.
                    Some(Kind::V1) => {
                        read_v2(wire, client, mount, path, version).await.map_err(Failure::trouble)
                    }
                    _ => Err(Trouble::NoSecret),
                }
            }
            Err(failure) => Err(failure.trouble()),
        }
    }

    fn known(&self, mount: &str) -> Option<Kind> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(mount).copied()
    }

    fn learn(&self, mount: &str, kind: Kind) {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.insert(mount.to_owned(), kind);
    }
}

async fn read_v2(
    wire: &Wire,
    client: &VaultClient,
    mount: &str,
    path: &str,
    version: Option<u64>,
) -> Result<Entry, Failure> {
    // Not `kv2::read`, which leaves out which version it was.
    let request = ReadSecretRequest::builder().mount(mount).path(path).version(version).build();
    let request = request.expect("all that it needs is given");
    let answer = wire.ask(api::exec_with_result(client, request)).await?;
    Ok(Entry { fields: fields(answer.data)?, version: Some(answer.metadata.version), lease: None })
}

async fn read_v1(
    wire: &Wire,
    client: &VaultClient,
    mount: &str,
    path: &str,
) -> Result<Entry, Failure> {
    let answer = wire.ask(kv1::get_raw(client, mount, path)).await?;
    let seconds = u64::try_from(answer.lease_duration).unwrap_or(0);
    let lease = (seconds > 0).then(|| Duration::from_secs(seconds));
    Ok(Entry { fields: fields(answer.data)?, version: None, lease })
}

impl Entry {
    /// Read as version 1, it looks like the answer of version 2.
    fn is_of_v2(&self) -> bool {
        self.fields.len() == 2
            && ["data", "metadata"].iter().all(|name| self.fields.contains_key(*name))
    }
}

fn fields(data: Value) -> Result<BTreeMap<String, Field>, Failure> {
    let Value::Object(entries) = data else {
        return Err(Failure::Silent(Trouble::Unreadable { keeper: "Vault" }));
    };
    let text = |value| match value {
        Value::String(text) => text,
        // A number or a whole document is used as it is written.
        other => other.to_string(),
    };
    let given = entries.into_iter().filter(|(_, value)| !value.is_null());
    Ok(given.map(|(name, value)| (name, Field::Text(Secret::new(text(value))))).collect())
}
