use localstack::Part;
use reqwest::Method;
use serde_json::Value;

use crate::supabase::{Supabase, parsed};

#[tokio::test]
async fn functions_are_served_with_what_they_need_and_nothing_else_of_ours() {
    let supabase = Supabase::start_with([Part::Rest, Part::Functions], None).await;
    let ask = |path: &str| {
        let request = supabase.bare(Method::POST, &format!("/functions/v1/{path}"));
        async move { request.send().await.unwrap() }
    };
    let json = |answer: reqwest::Response| async { parsed(&answer.text().await.unwrap()) };

    let env = json(ask("env").await).await;
    let keys = supabase.keys();
    assert_eq!(env["SUPABASE_URL"], supabase.services.url());
    for (name, value) in keys.named() {
        assert_eq!(env[name], value.expose());
    }
    assert_eq!(env["MINE"], "yes", "what lies beside them in `.env` is theirs");
    assert_eq!(env["HOME"], Value::Null, "the rest of our environment stays with us");
    assert_eq!(json(ask("file").await).await, "hello from a file");
    let error = json(ask("passwd").await).await["error"].to_string();
    assert!(error.contains("Requires read access"), "{error}");
    assert_eq!(json(ask("rest").await).await["role"], "service_role");

    // The router sees whom it has to check.
    let user = supabase.token("authenticated", 600);
    let echo = supabase.bare(Method::POST, "/functions/v1/echo/more?x=1").bearer_auth(&user);
    let seen = json(echo.header("x-mine", "1").body("hello").send().await.unwrap()).await;
    assert_eq!(seen["path"], "/echo/more");
    assert_eq!((&seen["body"], &seen["headers"]["x-mine"]), (&"hello".into(), &"1".into()));
    assert_eq!(seen["headers"]["authorization"], format!("Bearer {user}"));
    let seen =
        json(supabase.request(Method::GET, "/functions/v1/echo").send().await.unwrap()).await;
    let token = seen["headers"]["authorization"].as_str().unwrap();
    assert!(token.starts_with("Bearer ey"), "a key is exchanged for a token: {token}");
    let wrong = supabase.bare(Method::GET, "/functions/v1/echo").header("apikey", "sb_1");
    assert_eq!(wrong.send().await.unwrap().status(), 401);
    supabase.stop().await;
}
