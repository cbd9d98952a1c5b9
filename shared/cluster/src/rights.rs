use std::fmt;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use crate::call::call;
use crate::{Cluster, Trouble};

/// Something that is done in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    pub namespace: String,
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    /// Of one object of that name only.
    name: Option<String>,
}

/// What is done to Deployments and seen of them; the role in `k8s/` says the same.
const TO_ROLL_OUT: [(&str, &str, &[&str]); 4] = [
    ("apps", "deployments", &["get", "list", "watch", "create", "patch"]),
    ("apps", "replicasets", &["get", "list", "watch"]),
    ("", "pods", &["get", "list", "watch"]),
    ("", "events", &["get", "list", "watch"]),
];

impl Right {
    /// All that rollouts of agents in this namespace take.
    pub fn to_roll_out(namespace: &str) -> Vec<Self> {
        let of = |(group, resource, verbs): (&'static str, &'static str, &[&'static str])| {
            let right = |verb: &&'static str| Self {
                namespace: namespace.to_owned(),
                verb,
                group,
                resource,
                name: None,
            };
            verbs.iter().map(right).collect::<Vec<_>>()
        };
        TO_ROLL_OUT.into_iter().flat_map(of).collect()
    }

    /// All that keeping this pull secret takes.
    pub fn to_keep(namespace: &str, secret: &str) -> Vec<Self> {
        let right = |verb, name: Option<&str>| Self {
            namespace: namespace.to_owned(),
            verb,
            group: "",
            resource: "secrets",
            name: name.map(str::to_owned),
        };
        // Who may create cannot be limited by name.
        vec![right("get", Some(secret)), right("patch", Some(secret)), right("create", None)]
    }
}

impl fmt::Display for Right {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.verb, self.resource)?;
        match &self.name {
            Some(name) => write!(out, "/{name}"),
            None => Ok(()),
        }
    }
}

impl Cluster {
    /// Which of these we may not do, as whoever we are here. Changes nothing.
    pub async fn lacks(&self, rights: Vec<Right>) -> Result<Vec<Right>, Trouble> {
        let reviews: Api<SelfSubjectAccessReview> = self.everywhere();
        let mut lacking = Vec::new();
        for right in rights {
            let attributes = ResourceAttributes {
                namespace: Some(right.namespace.clone()),
                verb: Some(right.verb.to_owned()),
                group: Some(right.group.to_owned()),
                resource: Some(right.resource.to_owned()),
                name: right.name.clone(),
                ..ResourceAttributes::default()
            };
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let once = PostParams::default();
            let asked = reviews.create(&once, &review);
            let answer = call("review access", self.limit(), asked).await?;
            if !answer.status.is_some_and(|status| status.allowed) {
                lacking.push(right);
            }
        }
        Ok(lacking)
    }
}
