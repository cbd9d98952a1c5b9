//! Who may do what: exactly what roles say.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::bed::{Bed, as_token, on_each, refusal, typed, until};

/// A client that may do what these rules say in the bed's namespace, and nothing else.
async fn client_of(bed: &Bed, rules: &Value) -> Client {
    let once = PostParams::default();
    let account = json!({ "metadata": { "name": "controller" } });
    let accounts = bed.api::<ServiceAccount>();
    accounts.create(&once, &typed(&account)).await.unwrap();
    let role = json!({ "metadata": { "name": "controller" }, "rules": rules });
    bed.api::<Role>().create(&once, &typed(&role)).await.unwrap();
    let binding = json!({
        "metadata": { "name": "controller" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "controller" },
        "subjects": [
            { "kind": "ServiceAccount", "name": "controller", "namespace": bed.namespace },
        ],
    });
    bed.api::<RoleBinding>().create(&once, &typed(&binding)).await.unwrap();
    let request: TokenRequest =
        typed(&json!({ "spec": { "audiences": [], "expirationSeconds": 3600 } }));
    let token = accounts.create_token_request("controller", &once, &request).await.unwrap();
    let client = as_token(bed, &token.status.unwrap().token).await;
    // A real server learns of new roles a little later.
    let first = rules[0].clone();
    until("the role to count", async || {
        let verb = first["verbs"][0].as_str().unwrap();
        let resource = first["resources"][0].as_str().unwrap();
        let group = first["apiGroups"][0].as_str().unwrap();
        let name = first["resourceNames"][0].as_str().unwrap_or_default();
        may(&client, bed, verb, group, resource, name).await.then_some(())
    })
    .await;
    client
}

async fn may(
    client: &Client,
    bed: &Bed,
    verb: &str,
    group: &str,
    resource: &str,
    name: &str,
) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review = json!({ "spec": { "resourceAttributes": {
        "namespace": bed.namespace, "verb": verb, "group": group, "resource": resource,
        "subresource": subresource, "name": name,
    } } });
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &typed(&review)).await.unwrap();
    answer.status.unwrap().allowed
}

fn api<K>(client: &Client, bed: &Bed) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    Api::namespaced(client.clone(), &bed.namespace)
}

#[tokio::test]
async fn what_no_role_allows_is_forbidden_and_says_what_and_to_whom() {
    on_each(async |bed| {
        let rules = json!([
            { "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "patch"] },
        ]);
        let client = client_of(bed, &rules).await;
        bed.apply(&bed.deployment("web", "registry.test/worker:v1.0.0")).await;
        let deployments = api::<Deployment>(&client, bed);
        deployments.get("web").await.unwrap();
        deployments.list(&ListParams::default()).await.unwrap();
        let label = Patch::Merge(json!({ "metadata": { "labels": { "a": "b" } } }));
        deployments.patch("web", &PatchParams::default(), &label).await.unwrap();

        let user = format!("system:serviceaccount:{}:controller", bed.namespace);
        let refused = refusal(deployments.delete("web", &Default::default()).await.map(|_| ()));
        assert_eq!((refused.code, &*refused.reason), (403, "Forbidden"));
        assert_eq!(
            refused.message,
            format!(
                "deployments.apps \"web\" is forbidden: User \"{user}\" cannot delete resource \
                 \"deployments\" in API group \"apps\" in the namespace \"{}\"",
                bed.namespace
            )
        );
        let scale = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
        let refused = refusal(deployments.patch_scale("web", &PatchParams::default(), &scale).await);
        assert_eq!(refused.code, 403, "a subresource is another resource");
        assert!(refused.message.contains("\"deployments/scale\""), "{}", refused.message);
        let watched = deployments.watch(&WatchParams::default(), "0").await;
        assert_eq!(refusal(watched.map(|_| ())).code, 403);
        let everywhere: Api<Deployment> = Api::all(client.clone());
        let refused = refusal(everywhere.list(&ListParams::default()).await);
        assert!(refused.message.ends_with("at the cluster scope"), "{}", refused.message);
    })
    .await;
}

#[tokio::test]
async fn a_rule_with_names_allows_those_objects_alone() {
    on_each(async |bed| {
        let rules = json!([
            {
                "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "patch", "list"],
                "resourceNames": ["pull"],
            },
            { "apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"] },
        ]);
        let client = client_of(bed, &rules).await;
        let once = PostParams::default();
        for name in ["pull", "other"] {
            let secret = json!({ "metadata": { "name": name } });
            bed.api::<Secret>().create(&once, &typed(&secret)).await.unwrap();
        }
        let secrets = api::<Secret>(&client, bed);
        secrets.get("pull").await.unwrap();
        assert_eq!(refusal(secrets.get("other").await).code, 403);
        assert_eq!(refusal(secrets.get("not-there").await).code, 403, "nothing is told of it");
        assert_eq!(refusal(secrets.list(&ListParams::default()).await).code, 403);
        let by_name = ListParams::default().fields("metadata.name=pull");
        assert_eq!(secrets.list(&by_name).await.unwrap().items.len(), 1);
        bed.apply(&bed.deployment("web", "registry.test/worker:v1.0.0")).await;
        let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
        let deployments = api::<Deployment>(&client, bed);
        deployments.patch_scale("web", &PatchParams::default(), &none).await.unwrap();
        assert_eq!(refusal(deployments.get("web").await).code, 403);
        for (verb, group, resource, name, expected) in [
            ("get", "", "secrets", "pull", true),
            ("get", "", "secrets", "other", false),
            ("get", "", "secrets", "", false),
            ("patch", "apps", "deployments/scale", "web", true),
            ("patch", "apps", "deployments", "web", false),
        ] {
            let told = may(&client, bed, verb, group, resource, name).await;
            assert_eq!(told, expected, "{verb} {resource} {name}");
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_applies_what_is_not_there_must_be_allowed_to_create_it() {
    on_each(async |bed| {
        let rules = json!([
            { "apiGroups": [""], "resources": ["secrets"], "verbs": ["patch"], "resourceNames": ["pull"] },
        ]);
        let client = client_of(bed, &rules).await;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pull" }, "stringData": { "a": "b" },
        });
        let secrets = api::<Secret>(&client, bed);
        let ours = PatchParams::apply("cogo");
        let refused = refusal(secrets.patch("pull", &ours, &Patch::Apply(&secret)).await);
        assert_eq!((refused.code, &*refused.reason), (403, "Forbidden"));
        assert!(bed.api::<Secret>().get_opt("pull").await.unwrap().is_none());
        bed.api::<Secret>().create(&PostParams::default(), &typed(&secret)).await.unwrap();
        secrets.patch("pull", &ours.force(), &Patch::Apply(&secret)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_token_that_nobody_was_given_is_not_accepted() {
    on_each(async |bed| {
        let stranger = as_token(bed, "not-a-token").await;
        let refused = refusal(api::<Secret>(&stranger, bed).get("x").await);
        assert_eq!(
            (refused.code, &*refused.reason, &*refused.message),
            (401, "Unauthorized", "Unauthorized")
        );
    })
    .await;
}
