//! Objects that are answered and not kept.

use bytes::Bytes;
use hyper::{Method, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{self, Body};
use super::ask::Ask;
use crate::access::{Identity, Wish, is_allowed};
use crate::cluster::Cluster;
use crate::kind::SERVICE_ACCOUNT;
use crate::look::text;
use crate::refusal::Refusal;

pub(crate) fn answer(
    cluster: &Cluster,
    kind: &str,
    who: &Identity,
    method: &Method,
    body: &Bytes,
) -> Result<Response<Body>, Refusal> {
    if *method != Method::POST {
        return Err(Refusal::not_allowed());
    }
    let mut review: Value = serde_json::from_slice(body)
        .map_err(|_| Refusal::bad_request("the object provided is unrecognized"))?;
    review["kind"] = kind.into();
    review["metadata"]["creationTimestamp"] = Value::Null;
    if kind == "SelfSubjectReview" {
        let user = json!({ "username": who.name, "groups": who.groups });
        review["apiVersion"] = "authentication.k8s.io/v1".into();
        review["status"] = json!({ "userInfo": user });
        return Ok(answer::json(201, &review));
    }
    review["apiVersion"] = "authorization.k8s.io/v1".into();
    let asked = &review["spec"]["resourceAttributes"];
    if !asked.is_object() {
        return Err(Refusal::new(
            422,
            "Invalid",
            "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: \
             spec.resourceAttributes: Required value",
        ));
    }
    let of = |key: &str| text(asked, key).to_owned();
    let wish = Wish {
        verb: of("/verb"),
        group: of("/group"),
        resource: of("/resource"),
        subresource: of("/subresource"),
        namespace: of("/namespace"),
        name: of("/name"),
    };
    let allowed = cluster.with(|store| is_allowed(store, who, &wish));
    review["status"] = json!({ "allowed": allowed });
    Ok(answer::json(201, &review))
}

/// A token for a ServiceAccount, good for as long as the cluster runs.
pub(crate) fn token(cluster: &Cluster, ask: &Ask) -> Result<Response<Body>, Refusal> {
    if *ask.kind != SERVICE_ACCOUNT {
        return Err(Refusal::no_such_path());
    }
    cluster.with(|store| store.expect(&SERVICE_ACCOUNT, &ask.namespace, &ask.name))?;
    let token = Uuid::new_v4().simple().to_string();
    cluster.add_identity(token.clone(), Identity::service_account(&ask.namespace, &ask.name));
    let mut request = ask.object()?;
    request["kind"] = "TokenRequest".into();
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    request["status"] = json!({ "token": token, "expirationTimestamp": "2099-01-01T00:00:00Z" });
    Ok(answer::json(201, &request))
}
