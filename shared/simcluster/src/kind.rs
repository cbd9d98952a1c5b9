use std::fmt;

/// One kind of object that is kept here, and how the API names it.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) short: &'static [&'static str],
    pub(crate) namespaced: bool,
    pub(crate) status: bool,
    pub(crate) scale: bool,
    /// Whether `metadata.generation` counts the changes of its spec.
    pub(crate) counts: bool,
}

const PLAIN: Kind = Kind {
    group: "",
    version: "v1",
    plural: "",
    singular: "",
    kind: "",
    short: &[],
    namespaced: true,
    status: false,
    scale: false,
    counts: false,
};
const RBAC: Kind = Kind { group: "rbac.authorization.k8s.io", ..PLAIN };

pub(crate) static DEPLOYMENT: Kind = Kind {
    group: "apps",
    plural: "deployments",
    singular: "deployment",
    kind: "Deployment",
    short: &["deploy"],
    status: true,
    scale: true,
    counts: true,
    ..PLAIN
};
pub(crate) static REPLICA_SET: Kind = Kind {
    group: "apps",
    plural: "replicasets",
    singular: "replicaset",
    kind: "ReplicaSet",
    short: &["rs"],
    status: true,
    scale: true,
    counts: true,
    ..PLAIN
};
pub(crate) static POD: Kind =
    Kind { plural: "pods", singular: "pod", kind: "Pod", short: &["po"], status: true, ..PLAIN };
pub(crate) static EVENT: Kind =
    Kind { plural: "events", singular: "event", kind: "Event", short: &["ev"], ..PLAIN };
pub(crate) static SECRET: Kind =
    Kind { plural: "secrets", singular: "secret", kind: "Secret", ..PLAIN };
pub(crate) static CONFIG_MAP: Kind = Kind {
    plural: "configmaps",
    singular: "configmap",
    kind: "ConfigMap",
    short: &["cm"],
    ..PLAIN
};
pub(crate) static NAMESPACE: Kind = Kind {
    plural: "namespaces",
    singular: "namespace",
    kind: "Namespace",
    short: &["ns"],
    namespaced: false,
    status: true,
    ..PLAIN
};
pub(crate) static NODE: Kind = Kind {
    plural: "nodes",
    singular: "node",
    kind: "Node",
    short: &["no"],
    namespaced: false,
    status: true,
    ..PLAIN
};
pub(crate) static SERVICE_ACCOUNT: Kind = Kind {
    plural: "serviceaccounts",
    singular: "serviceaccount",
    kind: "ServiceAccount",
    short: &["sa"],
    ..PLAIN
};
pub(crate) static QUOTA: Kind = Kind {
    plural: "resourcequotas",
    singular: "resourcequota",
    kind: "ResourceQuota",
    short: &["quota"],
    status: true,
    ..PLAIN
};
pub(crate) static LEASE: Kind = Kind {
    group: "coordination.k8s.io",
    plural: "leases",
    singular: "lease",
    kind: "Lease",
    ..PLAIN
};
pub(crate) static ROLE: Kind = Kind { plural: "roles", singular: "role", kind: "Role", ..RBAC };
pub(crate) static ROLE_BINDING: Kind =
    Kind { plural: "rolebindings", singular: "rolebinding", kind: "RoleBinding", ..RBAC };
pub(crate) static CLUSTER_ROLE: Kind = Kind {
    plural: "clusterroles",
    singular: "clusterrole",
    kind: "ClusterRole",
    namespaced: false,
    ..RBAC
};
pub(crate) static CLUSTER_ROLE_BINDING: Kind = Kind {
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    kind: "ClusterRoleBinding",
    namespaced: false,
    ..RBAC
};

pub(crate) static KINDS: &[&Kind] = &[
    &CONFIG_MAP,
    &EVENT,
    &NAMESPACE,
    &NODE,
    &POD,
    &QUOTA,
    &SECRET,
    &SERVICE_ACCOUNT,
    &DEPLOYMENT,
    &REPLICA_SET,
    &LEASE,
    &ROLE,
    &ROLE_BINDING,
    &CLUSTER_ROLE,
    &CLUSTER_ROLE_BINDING,
];

impl Kind {
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        KINDS
            .iter()
            .find(|one| one.group == group && one.version == version && one.plural == plural)
            .copied()
    }

    pub(crate) fn of_object(api_version: &str, kind: &str) -> Option<&'static Self> {
        KINDS.iter().find(|one| one.api_version() == api_version && one.kind == kind).copied()
    }

    pub(crate) fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// As refusals name it: `deployments.apps`.
    pub(crate) fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// As validation names it: `Deployment.apps`.
    pub(crate) fn qualified_kind(&self) -> String {
        match self.group {
            "" => self.kind.to_owned(),
            group => format!("{}.{group}", self.kind),
        }
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        // There is one of each, and keys are compared all the time.
        std::ptr::eq(self, other)
    }
}

impl Eq for Kind {}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if self == other {
            return std::cmp::Ordering::Equal;
        }
        (self.group, self.plural).cmp(&(other.group, other.plural))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.qualified())
    }
}
