use localstack::Part;
use reqwest::Method;
use serde_json::Value;

use crate::supabase::{Supabase, parsed};

#[tokio::test]
async fn a_key_decides_who_one_is_and_a_users_token_is_passed_on() {
    let supabase = Supabase::start_with([Part::Rest], None).await;
    let keys = supabase.keys();
    let secret = keys.secret_key.expose();
    let publishable = keys.publishable_key.expose();
    let (anon, service) = (keys.anon_key.expose(), keys.service_role_key.expose());
    let user = supabase.token("authenticated", 600);
    let expired = supabase.token("authenticated", -600);
    let forged = format!("{}x", supabase.token("service_role", 600));
    let bearer = |token: &str| Some(format!("Bearer {token}"));

    for (what, apikey, authorization, expected) in [
        ("no key", None, None, Err("has no API key")),
        ("a token alone", None, bearer(&user), Err("has no API key")),
        ("a wrong key", Some("sb_secret_1"), None, Err("is none of this stack")),
        ("a user's token as key", Some(user.as_str()), None, Err("is none of this stack")),
        ("a part of a key", Some(&secret[..30]), None, Err("is none of this stack")),
        ("publishable", Some(publishable), None, Ok("anon")),
        ("secret", Some(secret), None, Ok("service_role")),
        ("legacy anon", Some(anon), None, Ok("anon")),
        ("legacy service_role", Some(service), None, Ok("service_role")),
        ("as supabase-js: the key twice", Some(secret), bearer(secret), Ok("service_role")),
        ("legacy twice", Some(service), bearer(service), Ok("service_role")),
        ("publishable twice", Some(publishable), bearer(publishable), Ok("anon")),
        ("the bearer's key decides", Some(publishable), bearer(secret), Ok("service_role")),
        ("a wrong bearer", Some(secret), bearer("sb_secret_1"), Err("`Authorization` is none")),
        ("a user with a publishable key", Some(publishable), bearer(&user), Ok("authenticated")),
        ("a user with a secret key", Some(secret), bearer(&user), Ok("authenticated")),
        ("a user with a legacy key", Some(anon), bearer(&user), Ok("authenticated")),
        ("an expired token", Some(publishable), bearer(&expired), Err("JWT expired")),
        ("a forged token", Some(secret), bearer(&forged), Err("JWSError")),
    ] {
        let mut request = supabase.bare(Method::POST, "/rest/v1/rpc/who_am_i").body("{}");
        request = request.header("content-type", "application/json");
        if let Some(key) = apikey {
            request = request.header("apikey", key);
        }
        if let Some(authorization) = &authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body: Value = parsed(&answer.text().await.unwrap());
        match expected {
            Ok(role) => {
                assert_eq!((status, body["role"].as_str()), (200, Some(role)), "{what}: {body}");
                let sub = (role == "authenticated").then_some("user-1");
                assert_eq!(body["sub"].as_str(), sub, "{what}");
            }
            Err(why) => {
                assert_eq!(status, 401, "{what}: {body}");
                assert!(body["message"].as_str().unwrap().contains(why), "{what}: {body}");
                assert!(headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
                assert_eq!(headers["access-control-allow-origin"], "*", "{what}");
                let shown = body.to_string();
                assert!(!shown.contains(secret) && !shown.contains(publishable), "{what}");
                if !why.starts_with("JW") {
                    assert!(
                        body["hint"].as_str().unwrap().contains("cogo status"),
                        "{what}: {body}"
                    );
                }
            }
        }
    }
    supabase.stop().await;
}

#[tokio::test]
async fn what_a_role_may_not_do_is_told_apart_by_whether_one_is_known() {
    let supabase = Supabase::start_with([Part::Rest], None).await;
    let publishable = supabase.keys().publishable_key.expose();
    let insert = supabase.bare(Method::POST, "/rest/v1/things").header("apikey", publishable);
    let insert = insert.header("content-type", "application/json").body(r#"{"k": "a"}"#);
    let user = insert.try_clone().unwrap().bearer_auth(supabase.token("authenticated", 600));
    let stranger = insert.send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    assert_eq!(stranger.headers()["www-authenticate"], "Bearer");
    let user = user.send().await.unwrap();
    assert_eq!(user.status(), 403);
    assert_eq!(parsed(&user.text().await.unwrap())["code"], "42501");
    supabase.stop().await;
}

#[tokio::test]
async fn browsers_may_ask_first_and_need_no_key_for_that() {
    let supabase = Supabase::start_with([], None).await;
    for (path, headers, status) in [
        ("/rest/v1/things", Some("apikey,authorization,x-client-info"), 200),
        ("/functions/v1/echo", None, 200),
        ("/realtime/v1/websocket", None, 401),
    ] {
        let mut ask =
            supabase.bare(Method::OPTIONS, path).header("origin", "http://localhost:3000");
        ask = ask.header("access-control-request-method", "PATCH");
        if let Some(headers) = headers {
            ask = ask.header("access-control-request-headers", headers);
        }
        let answer = ask.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let given = answer.headers();
        if status == 200 {
            assert_eq!(given["access-control-allow-origin"], "*");
            let methods = given["access-control-allow-methods"].to_str().unwrap();
            assert!(methods.split(',').any(|method| method == "PATCH"), "{methods}");
        }
        let allowed = given.get("access-control-allow-headers");
        assert_eq!(allowed.map(|allowed| allowed.to_str().unwrap()), headers, "{path}");
    }
    // What only looks like it is a request as any other.
    let plain = supabase.bare(Method::OPTIONS, "/rest/v1/things").send().await.unwrap();
    assert_eq!(plain.status(), 401);
    supabase.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_and_what_runs_as_well() {
    let supabase = Supabase::start_with([Part::Rest], None).await;
    let nowhere = supabase.bare(Method::GET, "/rest/v10/things").send().await.unwrap();
    assert_eq!(nowhere.status(), 404);
    assert!(nowhere.text().await.unwrap().contains("/rest/v1"));
    for path in ["/realtime/v1/websocket?apikey=", "/functions/v1/echo"] {
        let path = if path.ends_with('=') {
            format!("{path}{}", supabase.keys().publishable_key.expose())
        } else {
            path.to_owned()
        };
        let off = supabase.bare(Method::GET, &path).send().await.unwrap();
        assert_eq!(off.status(), 503, "{path}");
        let body = parsed(&off.text().await.unwrap());
        assert!(body["message"].as_str().unwrap().contains("does not run here"), "{body}");
    }
    let health = supabase.bare(Method::GET, "/health").send().await.unwrap();
    assert_eq!(health.status(), 200);
    let body = parsed(&health.text().await.unwrap());
    assert_eq!(body["parts"]["rest"]["state"], "up", "{body}");
    assert_eq!(body["parts"]["functions"]["state"], "off", "{body}");
    supabase.stop().await;
}
