use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use crate::apply::variables;
use crate::call::call;
use crate::read::label;
use crate::selector::Selector;
use crate::words::{CANARY_OF, MANAGED_BY, OURS, RELEASE_ID};
use crate::{Applied, ApplyError, CanaryRoute, Cluster, Release, Target, Trouble};

impl Cluster {
    /// Lets one pod of a release serve one route, in a small Deployment of its own: the template of
    /// the Deployment that it goes before, with another image and a narrower route.
    pub async fn canary(
        &self,
        target: &Target,
        release: &Release,
        route: &CanaryRoute,
    ) -> Result<Applied, ApplyError> {
        let stable = self.raw(target).await?;
        let canary = target.canary();
        if !self.is_ours_or_free(&canary).await? {
            return Err(ApplyError::NotOurs { target: canary });
        }
        let change = change(target, release, route, &stable)?;
        self.apply("apply canary", &canary, &change).await
    }

    /// Ends the canary's pod. The Deployment stays, empty: nothing is ever deleted.
    pub async fn end_canary(&self, target: &Target) -> Result<(), ApplyError> {
        let canary = target.canary();
        let wanted = match self.deployment(&canary).await {
            Ok(found) if label(&found.metadata, MANAGED_BY).as_deref() != Some(OURS) => {
                return Ok(());
            }
            Ok(found) => found.spec.and_then(|spec| spec.replicas),
            Err(ApplyError::NoDeployment { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        if wanted == Some(0) {
            return Ok(());
        }
        self.scale(&canary, Some(0), None).await.map(drop)
    }

    async fn is_ours_or_free(&self, canary: &Target) -> Result<bool, ApplyError> {
        match self.deployment(canary).await {
            Ok(found) => Ok(label(&found.metadata, MANAGED_BY).as_deref() == Some(OURS)),
            Err(ApplyError::NoDeployment { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// With all fields that it has, also those that only a newer Kubernetes knows.
    async fn raw(&self, target: &Target) -> Result<Value, ApplyError> {
        let kind = ApiResource::erase::<apps::Deployment>(&());
        let client = self.api::<apps::Deployment>(&target.namespace).into_client();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &target.namespace, &kind);
        let found = call("get deployment", self.limit(), api.get(&target.deployment)).await;
        Ok(found.map_err(|trouble| ApplyError::of(target, trouble))?.data)
    }
}

fn change(
    target: &Target,
    release: &Release,
    route: &CanaryRoute,
    stable: &Value,
) -> Result<Value, ApplyError> {
    let unreadable = || ApplyError::of(target, Trouble::Unreadable);
    let cannot = || ApplyError::CannotTellApart { target: target.clone() };
    let spec = &stable["spec"];
    let selector: LabelSelector =
        serde_json::from_value(spec["selector"].clone()).map_err(|_| unreadable())?;
    let selector = Selector::of(selector);
    let mut template = spec["template"].clone();
    let labels = template["metadata"]["labels"].clone();
    let labels: BTreeMap<String, String> = match labels {
        Value::Null => BTreeMap::new(),
        labels => serde_json::from_value(labels).map_err(|_| unreadable())?,
    };
    let labels = own_labels(target, &selector, labels).ok_or_else(cannot)?;
    template["metadata"]["labels"] = json!(labels);
    template["metadata"]["annotations"][RELEASE_ID] = json!(release.id);
    // Kubernetes answers it as null and refuses it in turn.
    if let Some(metadata) = template["metadata"].as_object_mut() {
        metadata.remove("creationTimestamp");
    }
    serve(target, release, route, &mut template)?;
    let canary = target.canary();
    let mut change = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": canary.deployment,
            "namespace": canary.namespace,
            "annotations": { RELEASE_ID: release.id },
            "labels": { MANAGED_BY: OURS, CANARY_OF: target.deployment },
        },
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "selector": { "matchLabels": { CANARY_OF: target.deployment } },
            "template": template,
        },
    });
    for field in ["minReadySeconds", "progressDeadlineSeconds"] {
        if !spec[field].is_null() {
            change["spec"][field] = spec[field].clone();
        }
    }
    Ok(change)
}

/// Those of the Deployment that it goes before, except where its selector looks: whatever finds the
/// pods of that one, a Service for instance, must not find these.
fn own_labels(
    target: &Target,
    selector: &Selector,
    mut labels: BTreeMap<String, String>,
) -> Option<BTreeMap<String, String>> {
    if target.deployment.len() > LONGEST_LABEL {
        return None;
    }
    for key in selector.keys() {
        let value = labels.get(key).map_or("", String::as_str);
        labels.insert(key.clone(), format!("{}{SUFFIX}", cut(value)).trim_matches('-').to_owned());
    }
    labels.insert(CANARY_OF.to_owned(), target.deployment.clone());
    (!selector.matches(&labels)).then_some(labels)
}

const LONGEST_LABEL: usize = 63;
const SUFFIX: &str = "-canary";

/// So that it is still the value of a label with the suffix behind it. Values of labels are ASCII.
fn cut(value: &str) -> &str {
    value.get(..LONGEST_LABEL - SUFFIX.len()).unwrap_or(value)
}

fn serve(
    target: &Target,
    release: &Release,
    route: &CanaryRoute,
    template: &mut Value,
) -> Result<(), ApplyError> {
    let containers = template["spec"]["containers"].as_array_mut();
    let containers = containers.ok_or_else(|| ApplyError::of(target, Trouble::Unreadable))?;
    let has = containers.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect();
    let container = containers.iter_mut().find(|one| one["name"] == target.container.as_str());
    let Some(container) = container else {
        return Err(ApplyError::NoContainer { target: target.clone(), has });
    };
    container["image"] = json!(release.image);
    let mut ours = variables(release);
    let shard = route.shard.map(|shard| shard.to_string());
    let tenant = route.tenant.as_ref().map(ToString::to_string);
    for (name, value) in [("AGENT_SHARD", shard), ("AGENT_TENANT", tenant)] {
        ours.extend(value.map(|value| json!({ "name": name, "value": value })));
    }
    let mut env = container["env"].as_array().cloned().unwrap_or_default();
    env.retain(|one| ours.iter().all(|own| own["name"] != one["name"]));
    // In front: a variable may be made of those that come before it.
    ours.extend(env);
    container["env"] = json!(ours);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fence;

    fn target(deployment: &str) -> Target {
        Target {
            namespace: "agents".to_owned(),
            deployment: deployment.to_owned(),
            container: "worker".to_owned(),
        }
    }

    fn release() -> Release {
        Release {
            id: "r2".to_owned(),
            image: "registry/a:v2@sha256:2".to_owned(),
            digest: "sha256:2".to_owned(),
            fence: Fence { agent: "agent".to_owned(), number: 3 },
        }
    }

    fn stable(selector: &Value) -> Value {
        json!({ "spec": {
            "replicas": 4, "minReadySeconds": 5, "selector": selector,
            "template": {
                "metadata": { "labels": { "app": "a", "egress": "bus" }, "creationTimestamp": null },
                "spec": {
                    "newerThanUs": true,
                    "containers": [
                        { "name": "proxy", "image": "proxy:1" },
                        { "name": "worker", "image": "registry/a:v1@sha256:1", "env": [
                            { "name": "AGENT_SHARD", "valueFrom": { "fieldRef": {} } },
                            { "name": "COGO_RELEASE_ID", "value": "r1" },
                            { "name": "LEVEL", "value": "info" } ] },
                    ],
                },
            },
        } })
    }

    #[test]
    fn a_canary_is_the_same_pod_with_its_own_labels_image_and_route() {
        let route = CanaryRoute { shard: Some(3.try_into().unwrap()), tenant: None };
        let stable = stable(&json!({ "matchLabels": { "app": "a" } }));
        let change = change(&target("a"), &release(), &route, &stable).unwrap();
        assert_eq!(change["metadata"]["name"], "a-canary");
        let spec = &change["spec"];
        assert_eq!((&spec["replicas"], &spec["minReadySeconds"]), (&json!(1), &json!(5)));
        assert_eq!(spec["selector"], json!({ "matchLabels": { CANARY_OF: "a" } }));
        let template = &spec["template"];
        assert_eq!(
            template["metadata"],
            json!({ "labels": { "app": "a-canary", "egress": "bus", CANARY_OF: "a" },
                "annotations": { RELEASE_ID: "r2" } })
        );
        assert_eq!(template["spec"]["newerThanUs"], true);
        let containers = &template["spec"]["containers"];
        assert_eq!(containers[0], json!({ "name": "proxy", "image": "proxy:1" }));
        assert_eq!(containers[1]["image"], "registry/a:v2@sha256:2");
        let env = containers[1]["env"].as_array().unwrap();
        let value = |name: &str| {
            let found: Vec<&Value> = env.iter().filter(|one| one["name"] == name).collect();
            assert_eq!(found.len(), 1, "{name}");
            found[0]["value"].clone()
        };
        assert_eq!(value("AGENT_SHARD"), "3");
        assert_eq!(value("COGO_RELEASE_ID"), "r2");
        assert_eq!(value("LEVEL"), "info");
        assert_eq!(env.iter().filter(|one| one["name"] == "AGENT_TENANT").count(), 0);
    }

    #[test]
    fn a_canary_whose_pods_the_stable_selector_would_catch_is_refused() {
        let rule = |operator: &str| json!({ "matchExpressions": [{ "key": "app", "operator": operator, "values": ["b"] }] });
        let long = "a".repeat(64);
        for (deployment, selector, allowed) in [
            ("a", json!({ "matchLabels": { "app": "a" } }), true),
            ("a", rule("In"), true),
            ("a", json!({}), false),
            ("a", rule("Exists"), false),
            ("a", rule("NotIn"), false),
            (&long, json!({ "matchLabels": { "app": "a" } }), false),
        ] {
            let route = CanaryRoute::default();
            let change = change(&target(deployment), &release(), &route, &stable(&selector));
            assert_eq!(change.is_ok(), allowed, "{deployment} {selector}");
        }
    }

    #[test]
    fn a_long_label_still_is_one() {
        let labels = BTreeMap::from([("app".to_owned(), "x".repeat(63))]);
        let selector: LabelSelector =
            serde_json::from_value(json!({ "matchLabels": labels })).unwrap();
        let labels = own_labels(&target("a"), &Selector::of(selector), labels).unwrap();
        assert_eq!(labels["app"].len(), 63);
    }
}
