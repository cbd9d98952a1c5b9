use std::fmt;

/// The container that a rollout is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub namespace: String,
    pub deployment: String,
    pub container: String,
}

impl Target {
    /// The small Deployment that serves before this one follows.
    pub fn canary(&self) -> Self {
        Self { deployment: format!("{}-canary", self.deployment), ..self.clone() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.deployment)
    }
}

/// What is rolled out: a row of the registry, and the image that it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub id: String,
    /// With its digest: `ghcr.io/acme/codegen-worker:v1.2.3@sha256:…`.
    pub image: String,
    pub digest: String,
}

/// What a canary serves: one shard, one tenant, or one tenant's part of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanaryRoute {
    pub shard: Option<model::Shard>,
    pub tenant: Option<model::Tenant>,
}

/// What Kubernetes took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Of the Deployment; the same as before when nothing had to change.
    pub generation: i64,
}
