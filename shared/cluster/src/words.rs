//! The names by which we know our own in a cluster.

/// Who changed a field, as Kubernetes records it for each.
pub(crate) const MANAGER: &str = "cogo-image-controller";

/// On a Deployment and on its pods: the release that they are of.
pub(crate) const RELEASE_ID: &str = "cogo.dev/release-id";
/// On a Deployment: who changed it last, and under which fence.
pub(crate) const FENCE: &str = "cogo.dev/fence";
/// On a Deployment: how many pods it had before we changed that.
pub(crate) const REPLICAS: &str = "cogo.dev/replicas";
/// On the pods of a canary: the Deployment that it goes before.
pub(crate) const CANARY_OF: &str = "cogo.dev/canary-of";
/// On a pull secret: what it was made from, and for which row.
pub(crate) const CONTENT_HASH: &str = "cogo.dev/content-hash";
pub(crate) const OWNER: &str = "cogo.dev/owner";

pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(crate) const OURS: &str = "cogo";

/// Kubernetes' own.
pub(crate) const HASH: &str = "pod-template-hash";
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
