use agent_core::InvalidSettings;
use agent_core::Server;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Hall, settings, told, user};

#[tokio::test]
async fn it_does_not_start_without_authentication_and_says_how_to_get_it() {
    let test = testkit::database().await;
    let mut open = settings(&test);
    open.auth = agent_core::AuthSettings::default();
    let refused = Box::pin(Server::bind(open, &CancellationToken::new())).await.err().unwrap();
    assert!(refused.downcast_ref::<InvalidSettings>().is_some());
    assert!(refused.help().unwrap().to_string().contains("SUPABASE_SECRET_KEY"));

    let mut same = settings(&test);
    (same.http.port, same.http.metrics_port) = (4000, Some(4000));
    assert!(Box::pin(Server::bind(same, &CancellationToken::new())).await.is_err());
}

#[tokio::test]
async fn a_users_token_counts_beside_the_projects_public_key() {
    let hall = Hall::new().await;
    let request = hall.core.http.get(hall.core.url("/v1/messages/1"));
    let request = request.header("apikey", "sb_publishable_x").bearer_auth(user("a"));
    assert_eq!(told(request.send().await.unwrap()).await.0, 404);

    // Two of one kind are nobody's, so that no proxy reads another than we do.
    let request = hall.core.http.get(hall.core.url("/v1/messages/1"));
    let request = request.bearer_auth(user("a")).bearer_auth(user("b"));
    assert_eq!(told(request.send().await.unwrap()).await.0, 401);
}

#[tokio::test]
async fn the_tenant_of_what_a_user_publishes_is_that_of_the_token() {
    let hall = Hall::undecided(|_| {}).await;
    let (status, _) =
        hall.core.post("/v1/intents", &user("a"), &json!({ "intent": "hello" })).await;
    assert_eq!(status, 202);
    let sql =
        "select count(*) from cogo.agent_messages where tenant = 'a' and service = 'orchestrator'";
    assert_eq!(hall.number(sql).await, 1);
    let body = json!({ "intent": "hello", "tenant": "b" });
    let (status, refused) = hall.core.post("/v1/intents", &user("a"), &body).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (403, Some("tenant_forbidden")));
    let body = json!({ "intent": "hello", "tenant": "a" });
    assert_eq!(hall.core.post("/v1/intents", &user("a"), &body).await.0, 202);
}
