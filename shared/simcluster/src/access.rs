//! Who asks, and whether the roles that are kept here let them.

use serde_json::Value;

use crate::kind::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, Kind, ROLE, ROLE_BINDING};
use crate::look::{list, text};
use crate::refusal::Refusal;
use crate::store::Store;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

/// What somebody wants to do, as roles speak of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

const MASTERS: &str = "system:masters";

impl Identity {
    pub(crate) fn administrator() -> Self {
        Self { name: "kubernetes-admin".to_owned(), groups: groups(&[MASTERS]) }
    }

    pub(crate) fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".to_owned()];
        Self { name: "system:anonymous".to_owned(), groups }
    }

    pub(crate) fn service_account(namespace: &str, name: &str) -> Self {
        let of_namespace = format!("system:serviceaccounts:{namespace}");
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: groups(&["system:serviceaccounts", &of_namespace]),
        }
    }

    pub(crate) fn user(name: &str) -> Self {
        Self { name: name.to_owned(), groups: groups(&[]) }
    }

    fn is_subject(&self, subject: &Value, bound_in: &str) -> bool {
        let name = text(subject, "/name");
        match text(subject, "/kind") {
            "User" => self.name == name,
            "Group" => self.groups.iter().any(|group| group == name),
            "ServiceAccount" => {
                let namespace = match text(subject, "/namespace") {
                    "" => bound_in,
                    said => said,
                };
                self.name == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    }
}

fn groups(more: &[&str]) -> Vec<String> {
    std::iter::once(&"system:authenticated").chain(more).map(|one| (*one).to_owned()).collect()
}

pub(crate) fn is_allowed(store: &Store, who: &Identity, wish: &Wish) -> bool {
    if who.groups.iter().any(|group| group == MASTERS) {
        return true;
    }
    let cluster_wide = store.list(&CLUSTER_ROLE_BINDING, None);
    let in_namespace = (!wish.namespace.is_empty())
        .then(|| store.list(&ROLE_BINDING, Some(&wish.namespace)))
        .into_iter()
        .flatten();
    cluster_wide.chain(in_namespace).any(|binding| {
        let bound_in = text(binding, "/metadata/namespace");
        list(binding, "/subjects").iter().any(|one| who.is_subject(one, bound_in))
            && role(store, binding, bound_in)
                .is_some_and(|role| list(role, "/rules").iter().any(|rule| grants(rule, wish)))
    })
}

fn role<'a>(store: &'a Store, binding: &Value, namespace: &str) -> Option<&'a Value> {
    let name = text(binding, "/roleRef/name");
    let role = match text(binding, "/roleRef/kind") {
        "ClusterRole" => store.get(&CLUSTER_ROLE, "", name),
        _ => store.get(&ROLE, namespace, name),
    };
    role.map(|role| &**role)
}

fn grants(rule: &Value, wish: &Wish) -> bool {
    let names =
        |key: &str, wanted: &str| list(rule, key).iter().any(|one| one == "*" || one == wanted);
    let full = match wish.subresource.as_str() {
        "" => wish.resource.clone(),
        subresource => format!("{}/{subresource}", wish.resource),
    };
    let any_of = format!("*/{}", wish.subresource);
    let only = list(rule, "/resourceNames");
    names("/verbs", &wish.verb)
        && names("/apiGroups", &wish.group)
        && (names("/resources", &full)
            || (!wish.subresource.is_empty() && names("/resources", &any_of)))
        && (only.is_empty() || only.iter().any(|one| *one == wish.name && !wish.name.is_empty()))
}

impl Wish {
    pub(crate) fn refusal(&self, kind: &Kind, who: &Identity) -> Refusal {
        let resource = match self.subresource.as_str() {
            "" => self.resource.clone(),
            subresource => format!("{}/{subresource}", self.resource),
        };
        let place = match self.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let why = format!(
            "User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}",
            who.name, self.verb, self.group
        );
        Refusal::forbidden(kind, &self.name, &why)
    }
}
