//! What is refused although it is valid: pods that a policy, a quota or a missing account forbids.

use serde_json::Value;

use crate::fates::{Fate, Fates};
use crate::kind::{Kind, POD, QUOTA, SERVICE_ACCOUNT};
use crate::look::{self, list, text};
use crate::refusal::Refusal;
use crate::store::Store;

pub(crate) fn admit(
    store: &Store,
    fates: &Fates,
    kind: &'static Kind,
    namespace: &str,
    object: &Value,
) -> Result<(), Refusal> {
    if *kind != POD {
        return Ok(());
    }
    let name = match look::name(object) {
        "" => text(object, "/metadata/generateName"),
        name => name,
    };
    account(store, namespace, name, object)?;
    for container in list(object, "/spec/containers") {
        match fates.of(text(container, "/image")) {
            Fate::Refused => {
                let why = "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation \
                    != false (container must set securityContext.allowPrivilegeEscalation=false)";
                return Err(Refusal::forbidden(kind, name, why));
            }
            Fate::OverQuota => {
                let why =
                    "exceeded quota: compute, requested: pods=1, used: pods=4, limited: pods=4";
                return Err(Refusal::forbidden(kind, name, why));
            }
            _ => {}
        }
    }
    quota(store, namespace, name)
}

fn account(store: &Store, namespace: &str, name: &str, pod: &Value) -> Result<(), Refusal> {
    let account = match text(pod, "/spec/serviceAccountName") {
        "" => "default",
        account => account,
    };
    if store.get(&SERVICE_ACCOUNT, namespace, account).is_some() {
        return Ok(());
    }
    let why = format!(
        "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not \
         found"
    );
    Err(Refusal::forbidden(&POD, name, &why))
}

/// Only quotas on the number of pods; whoever needs others sets a fate.
fn quota(store: &Store, namespace: &str, name: &str) -> Result<(), Refusal> {
    let used = store
        .list(&POD, Some(namespace))
        .filter(|pod| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"));
    let used = used.count();
    for quota in store.list(&QUOTA, Some(namespace)) {
        let hard = &quota["spec"]["hard"];
        let limit = [&hard["pods"], &hard["count/pods"]]
            .into_iter()
            .find_map(|limit| limit.as_str().and_then(|text| text.parse::<usize>().ok()));
        let Some(limit) = limit else { continue };
        if used + 1 > limit {
            let why = format!(
                "exceeded quota: {}, requested: pods=1, used: pods={used}, limited: pods={limit}",
                look::name(quota)
            );
            return Err(Refusal::forbidden(&POD, name, &why));
        }
    }
    Ok(())
}
