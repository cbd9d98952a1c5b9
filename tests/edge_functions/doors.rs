//! What all functions have in common: how they are found, and what a browser asks first.

use reqwest::Method;

use crate::fixture::{Project, refused, root};

#[tokio::test]
async fn a_browser_may_ask_every_function_before_it_has_a_token() {
    let on = Project::start().await;
    let config = std::fs::read_to_string(root().join("supabase/config.toml")).unwrap();
    let names: Vec<&str> = config
        .lines()
        .filter_map(|line| line.strip_prefix("[functions.")?.strip_suffix(']'))
        .collect();
    assert_eq!(names.len(), 7);
    for name in names {
        let preflight = on.http.request(Method::OPTIONS, format!("{}/{name}", on.functions));
        let preflight = preflight
            .header("origin", "https://app.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        let answer = preflight.send().await.unwrap();
        assert_eq!(answer.status(), 204, "{name}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("access-control-allow-origin"), "*");
        for needed in ["authorization", "content-type"] {
            assert!(header("access-control-allow-headers").contains(needed));
        }
        // Also what is refused can be read by the page that asked.
        let refused = on.http.get(format!("{}/{name}", on.functions)).send().await.unwrap();
        assert!([401, 405].contains(&refused.status().as_u16()), "{name}: {}", refused.status());
        assert_eq!(refused.headers()["access-control-allow-origin"], "*");
    }
}

#[tokio::test]
async fn a_function_that_does_not_exist_is_answered_with_the_nearest() {
    let on = Project::start().await;
    let request = on.http.get(format!("{}/trace-statsu", on.functions));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("did you mean `trace-status`?"));
    let health = on.functions.replace("/functions/v1", "/health");
    assert_eq!(on.http.get(health).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_before_the_database_is_asked() {
    let mut on = Project::start().await;
    let user = on.user("acme");
    on.rest = None;
    for path in [
        "trace-status",
        "trace-status?trace_id=x",
        "trace-status?trace=0123456789abcdef0123456789abcdef",
        "trace-events?trace_id=x",
        "trace-events?trace_id=0123456789abcdef0123456789abcdef&after=-1",
        "trace-events?trace_id=0123456789abcdef0123456789abcdef&after=1e3",
        "dlq-list?limit=0",
        "dlq-list?limit=1001",
        "dlq-list?stage=x",
        "dlq-list?open_only=perhaps",
        "workers-active?x=1",
        "metrics-overview?x=1",
    ] {
        assert_eq!(refused(on.get(path, &user)).await, (400, "request_invalid".into()), "{path}");
    }
}
