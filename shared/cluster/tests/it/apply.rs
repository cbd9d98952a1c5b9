use cluster::{Applied, ApplyError, Disposition, Trouble};
use serde_json::{Value, json};

use crate::server::{Answer, Server, deployment, failure, release, target};

const GET: &str = "GET /apis/apps/v1/namespaces/agents/deployments/codegen";
const PATCH: &str = "PATCH /apis/apps/v1/namespaces/agents/deployments/codegen";

fn answer(replicas: i32, annotations: &Value) -> Answer {
    let mut found = deployment(replicas, 7);
    found["metadata"]["annotations"] = annotations.clone();
    Answer::Json(200, found)
}

#[tokio::test]
async fn a_release_is_applied_with_nothing_that_is_not_ours() {
    let server = Server::start().await;
    server.on(GET, [answer(3, &json!({}))]);
    server.on(PATCH, [answer(3, &json!({}))]);
    let applied = server.cluster().await.deploy(&target(), &release()).await;
    assert_eq!(applied, Ok(Applied { generation: 7 }));
    let changes = server.changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].kind, "application/apply-patch+yaml");
    assert!(changes[0].query.contains("fieldManager=cogo-image-controller"), "{:?}", changes[0]);
    assert!(changes[0].query.contains("force=true"), "{:?}", changes[0]);
    let image = "ghcr.io/acme/codegen:v2@sha256:22";
    assert_eq!(
        changes[0].body,
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "codegen", "namespace": "agents", "uid": "d1",
                "resourceVersion": "11", "annotations": {
                    "cogo.dev/release-id": "r2", "cogo.dev/fence": "agent/3" } },
            "spec": { "template": {
                "metadata": { "annotations": { "cogo.dev/release-id": "r2" } },
                "spec": { "containers": [{ "name": "worker", "image": image, "env": [
                    { "name": "COGO_RELEASE_ID", "value": "r2" },
                    { "name": "COGO_IMAGE", "value": image },
                    { "name": "COGO_IMAGE_DIGEST", "value": "sha256:22" },
                    { "name": "POD_UID", "valueFrom": { "fieldRef": {
                        "apiVersion": "v1", "fieldPath": "metadata.uid" } } },
                ] }] },
            } },
        })
    );
}

#[tokio::test]
async fn what_is_missing_is_told_and_never_made() {
    let server = Server::start().await;
    let cluster = server.cluster().await;
    let missing = cluster.deploy(&target(), &release()).await.unwrap_err();
    assert_eq!(missing, ApplyError::NoDeployment { target: target() });
    server.on(GET, [answer(1, &json!({}))]);
    let elsewhere = cluster::Target { container: "agent".to_owned(), ..target() };
    let missing = cluster.deploy(&elsewhere, &release()).await.unwrap_err();
    assert!(matches!(&missing, ApplyError::NoContainer { has, .. } if has == &["worker"]));
    assert_eq!(missing.disposition(), Disposition::GiveUp);
    assert!(server.changes().is_empty(), "nothing was changed");
}

#[tokio::test]
async fn every_refusal_is_told_by_what_it_means_and_none_is_quoted() {
    for (code, reason, passes) in [
        (401, "Unauthorized", true),
        (403, "Forbidden", false),
        (409, "Conflict", true),
        (422, "Invalid", false),
        (429, "TooManyRequests", true),
        (500, "InternalError", true),
        (504, "Timeout", true),
    ] {
        let server = Server::start().await;
        server.on(GET, [answer(1, &json!({}))]);
        server.refuse(PATCH, code, reason, "the value was hunter2");
        let error = server.cluster().await.deploy(&target(), &release()).await.unwrap_err();
        assert_eq!(error.disposition() == Disposition::Retry, passes, "{code}: {error:?}");
        let told = miette::Report::new(error.clone());
        assert!(!format!("{error:?} {told:?}").contains("hunter2"), "{code}");
    }
}

#[tokio::test]
async fn a_server_that_is_silent_broken_or_somebody_else_is_given_up_on_in_time() {
    let server = Server::start().await;
    let cluster = server.cluster().await;
    let trouble = async || match cluster.deploy(&target(), &release()).await {
        Err(ApplyError::Trouble { trouble, .. }) => trouble,
        other => panic!("{other:?}"),
    };
    server.on(GET, [Answer::Silence]);
    assert!(matches!(trouble().await, Trouble::TooSlow { call: "get deployment", .. }));
    server.on(GET, [Answer::Text(200, "<html>hunter2</html>".to_owned())]);
    assert_eq!(trouble().await, Trouble::Unreadable);
    server.on(GET, [Answer::Text(502, "<html>hunter2</html>".to_owned())]);
    assert_eq!(trouble().await, Trouble::Broken { status: 502 });
    drop(server);
    let unreachable = trouble().await;
    assert!(matches!(unreachable, Trouble::Unreachable { .. }), "{unreachable:?}");
}

#[tokio::test]
async fn pods_that_were_scaled_away_come_back_with_the_next_release() {
    const REPLICAS: &str = "cogo.dev/replicas";
    for (wanted, before, expected) in [
        // Nobody scaled it: the number is not ours to touch.
        (3, json!({}), None),
        // We had scaled it to zero.
        (0, json!({ REPLICAS: "3" }), Some((Some(3), Value::Null))),
        // Somebody else had: one pod, for as long as the verdict takes.
        (0, json!({}), Some((Some(1), json!("0")))),
        (0, json!({ REPLICAS: "odd" }), Some((Some(1), json!("0")))),
    ] {
        let server = Server::start().await;
        server.on(GET, [answer(wanted, &before)]);
        server.on(PATCH, [answer(wanted, &before)]);
        server.cluster().await.deploy(&target(), &release()).await.unwrap();
        let scaled = server.changes().split_off(1);
        let scaled: Vec<_> = scaled.iter().map(scaling).collect();
        assert_eq!(scaled, expected.into_iter().collect::<Vec<_>>(), "{wanted} {before}");
    }
}

#[tokio::test]
async fn scaling_to_zero_and_resting_touch_the_number_and_nothing_else() {
    const REPLICAS: &str = "cogo.dev/replicas";
    for (rest, wanted, before, expected) in [
        (false, 3, json!({}), Some((Some(0), json!("3")))),
        // Safe to repeat.
        (false, 0, json!({ REPLICAS: "3" }), Some((Some(0), json!("3")))),
        (false, 1, json!({ REPLICAS: "0" }), Some((Some(0), Value::Null))),
        (true, 1, json!({ REPLICAS: "0" }), Some((Some(0), Value::Null))),
        // Somebody scaled it meanwhile, or it never slept.
        (true, 4, json!({ REPLICAS: "0" }), Some((None, Value::Null))),
        (true, 3, json!({}), None),
    ] {
        let server = Server::start().await;
        server.on(GET, [answer(wanted, &before)]);
        server.on(PATCH, [answer(wanted, &before)]);
        let cluster = server.cluster().await;
        let done = match rest {
            true => cluster.rest(&target()).await,
            false => cluster.scale_to_zero(&target()).await,
        };
        done.unwrap();
        let scaled: Vec<_> = server.changes().iter().map(scaling).collect();
        assert_eq!(scaled, expected.into_iter().collect::<Vec<_>>(), "{rest} {wanted} {before}");
    }
}

fn scaling(asked: &crate::server::Asked) -> (Option<i64>, Value) {
    assert_eq!(asked.kind, "application/merge-patch+json");
    let fields: Vec<&String> = asked.body.as_object().unwrap().keys().collect();
    assert!(fields.iter().all(|field| ["metadata", "spec"].contains(&field.as_str())));
    let before = asked.body["metadata"]["annotations"]["cogo.dev/replicas"].clone();
    (asked.body["spec"]["replicas"].as_i64(), before)
}

#[tokio::test]
async fn whoever_was_held_up_changes_nothing_that_a_later_one_has_changed() {
    let server = Server::start().await;
    server.on(GET, [answer(1, &json!({ "cogo.dev/fence": "agent/4" }))]);
    server.on(PATCH, [answer(1, &json!({}))]);
    let cluster = server.cluster().await;
    let error = cluster.deploy(&target(), &release()).await.unwrap_err();
    assert_eq!(error, ApplyError::Overtaken { target: target() });
    assert!(server.changes().is_empty());

    // The later one comes between looking and changing.
    let server = Server::start().await;
    let later = answer(1, &json!({ "cogo.dev/fence": "agent/4" }));
    server.on(GET, [answer(1, &json!({})), later]);
    let conflict = failure(409, "Conflict", "the object has been modified");
    server.on(PATCH, [Answer::Json(409, conflict)]);
    let error = server.cluster().await.deploy(&target(), &release()).await.unwrap_err();
    assert_eq!(error, ApplyError::Overtaken { target: target() });
    assert_eq!(server.changes().len(), 1);
}

#[tokio::test]
async fn what_kubernetes_itself_writes_meanwhile_is_no_obstacle() {
    let server = Server::start().await;
    server.on(GET, [answer(1, &json!({}))]);
    let conflict = failure(409, "Conflict", "the object has been modified");
    let conflict = Answer::Json(409, conflict);
    server.on(PATCH, [conflict.clone(), conflict.clone(), answer(1, &json!({}))]);
    assert!(server.cluster().await.deploy(&target(), &release()).await.is_ok());

    server.on(PATCH, [conflict]);
    let error = server.cluster().await.deploy(&target(), &release()).await.unwrap_err();
    assert_eq!(error, ApplyError::Trouble { target: target(), trouble: Trouble::Conflict });
}
