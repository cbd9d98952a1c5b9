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
    pub fence: Fence,
}

/// The right to change an agent's Deployment: of two, the higher one of the same agent wins, whoever
/// comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub agent: String,
    pub number: i64,
}

impl Fence {
    pub(crate) fn written(&self) -> String {
        format!("{}/{}", self.agent, self.number)
    }

    /// Whether what was written last is of a later holder. Another agent's says nothing: a database
    /// that was made anew counts from the beginning.
    pub(crate) fn is_older_than(&self, written: &str) -> bool {
        let Some((agent, number)) = written.rsplit_once('/') else { return false };
        agent == self.agent && number.parse().is_ok_and(|number: i64| number > self.number)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_older_than_a_higher_one_of_the_same_agent() {
        let fence = Fence { agent: "a".to_owned(), number: 7 };
        assert_eq!(fence.written(), "a/7");
        for (written, older) in [
            ("a/8", true),
            ("a/7", false),
            ("a/6", false),
            ("b/8", false),
            ("a/x", false),
            ("", false),
        ] {
            assert_eq!(fence.is_older_than(written), older, "{written}");
        }
    }
}
