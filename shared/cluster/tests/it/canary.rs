use cluster::{ApplyError, CanaryRoute};
use serde_json::{Value, json};

use crate::server::{Answer, DEPLOYMENT, Server, deployment, release, target};

const CANARY: &str = "/apis/apps/v1/namespaces/agents/deployments/codegen-canary";

fn route() -> CanaryRoute {
    CanaryRoute { shard: None, tenant: Some("acme".parse().unwrap()) }
}

fn canary(labels: &Value) -> Value {
    let mut found = deployment(1, 1);
    found["metadata"]["name"] = json!("codegen-canary");
    found["metadata"]["labels"] = labels.clone();
    found
}

fn ours() -> Value {
    canary(&json!({ "app.kubernetes.io/managed-by": "cogo" }))
}

#[tokio::test]
async fn a_canary_serves_its_tenant_and_ends_without_being_deleted() {
    let server = Server::start().await;
    server.on(&format!("GET {DEPLOYMENT}"), [Answer::Json(200, deployment(4, 1))]);
    server.on(&format!("PATCH {CANARY}"), [Answer::Json(200, ours())]);
    let cluster = server.cluster().await;
    cluster.end_canary(&target()).await.expect("where there is none, none has to end");
    cluster.canary(&target(), &release(), &route()).await.unwrap();
    server.on(&format!("GET {CANARY}"), [Answer::Json(200, ours())]);
    cluster.end_canary(&target()).await.unwrap();

    let changes = server.changes();
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|one| one.what == format!("PATCH {CANARY}")));
    let made = &changes[0].body;
    assert_eq!(made["spec"]["replicas"], 1);
    assert_eq!(made["spec"]["template"]["metadata"]["labels"]["app"], "codegen-canary");
    let env = &made["spec"]["template"]["spec"]["containers"][0]["env"];
    let tenant = json!({ "name": "AGENT_TENANT", "value": "acme" });
    assert!(env.as_array().unwrap().contains(&tenant), "{env}");
    assert_eq!(changes[1].body["spec"], json!({ "replicas": 0 }));
}

#[tokio::test]
async fn a_deployment_of_somebody_else_is_no_canary_of_ours() {
    let server = Server::start().await;
    server.on(&format!("GET {DEPLOYMENT}"), [Answer::Json(200, deployment(4, 1))]);
    server.on(&format!("GET {CANARY}"), [Answer::Json(200, canary(&json!({ "app": "x" })))]);
    let cluster = server.cluster().await;
    let error = cluster.canary(&target(), &release(), &route()).await.unwrap_err();
    assert_eq!(error, ApplyError::NotOurs { target: target().canary() });
    cluster.end_canary(&target()).await.unwrap();
    assert!(server.changes().is_empty());
}
