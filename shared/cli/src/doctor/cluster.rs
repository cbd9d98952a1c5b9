use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cluster::{Cluster, ClusterSettings, Right};
use registry::Registry;

use super::check::{Check, advice, broken, fine, wrong};

const CHECK: &str = "cluster";
/// Where a pod finds what it is to Kubernetes.
const IN_A_POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Whether rollouts may be made, by whoever asks: with the image-controller's own kubeconfig, or in
/// its pod, that is the image-controller.
pub(super) async fn examine(
    registry: &Registry,
    settings: &ClusterSettings,
    kubeconfig: Option<&Path>,
) -> Option<Check> {
    if kubeconfig.is_none() && !Path::new(IN_A_POD).exists() {
        return None;
    }
    Some(rights(registry, settings, kubeconfig).await.unwrap_or_else(|check| check))
}

async fn rights(
    registry: &Registry,
    settings: &ClusterSettings,
    kubeconfig: Option<&Path>,
) -> Result<Check, Check> {
    let cluster = Cluster::connect(settings, kubeconfig).await;
    let cluster = cluster.map_err(|error| broken(CHECK, &error))?;
    let agents = registry.agents().await.map_err(|error| broken(CHECK, &error))?;
    let links = registry.pull_secret_links().await.map_err(|error| broken(CHECK, &error))?;
    let namespaces: BTreeSet<&str> =
        agents.iter().map(|agent| agent.kube_namespace.as_str()).collect();
    if namespaces.is_empty() {
        let found = format!("{} is not asked: the catalogue has no agents", cluster.server());
        return Ok(advice(CHECK, found, "`cogo agents add` adds one"));
    }
    let mut rights: Vec<Right> =
        namespaces.iter().flat_map(|namespace| Right::to_roll_out(namespace)).collect();
    for link in links.iter().filter(|link| link.controller) {
        rights.extend(Right::to_keep(&link.kube_namespace, &link.secret_name));
    }
    let lacking = cluster.lacks(rights).await.map_err(|error| broken(CHECK, &error))?;
    if lacking.is_empty() {
        let places: Vec<&str> = namespaces.into_iter().collect();
        let found =
            format!("at {} rollouts may be made in {}", cluster.server(), places.join(", "));
        return Ok(fine(CHECK, found));
    }
    let mut told: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for right in &lacking {
        told.entry(&right.namespace).or_default().push(right.to_string());
    }
    let told: Vec<String> = told
        .into_iter()
        .map(|(namespace, rights)| format!("in {namespace}: {}", rights.join(", ")))
        .collect();
    Ok(wrong(
        CHECK,
        format!("we may not, at {}, {}", cluster.server(), told.join("; ")),
        "bind the role of k8s/components/controller-access in these namespaces to who rolls out; \
         if that is somebody else, give the doctor that kubeconfig",
    ))
}
