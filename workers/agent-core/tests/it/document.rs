use std::fs;

use crate::fixture::Hall;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

/// With UPDATE_OPENAPI=1 it writes the document instead.
#[test]
fn the_committed_document_is_what_the_handlers_say() {
    let made = agent_core::openapi_json();
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, and no setting")]
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(COMMITTED, &made).unwrap();
    }
    let committed = fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(
        committed == made,
        "workers/agent-core/openapi.json is not what the handlers say any more; write it anew with \
         `UPDATE_OPENAPI=1 cargo test -p agent-core the_committed_document` and look at the change"
    );
}

#[test]
fn it_is_openapi_3_1_and_every_operation_has_a_name_and_says_what_errors_look_like() {
    let document: serde_json::Value = serde_json::from_str(&agent_core::openapi_json()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["operationId"].is_string(), "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path}");
            if operation["security"].is_array() {
                assert!(operation["responses"]["default"].is_object(), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn it_is_served_to_everybody() {
    let hall = Hall::new().await;
    let response = hall.core.http.get(hall.core.url("/openapi.json")).send().await.unwrap();
    let served: serde_json::Value = response.json().await.unwrap();
    let made: serde_json::Value = serde_json::from_str(&agent_core::openapi_json()).unwrap();
    assert_eq!(served, made);
}
