use serde_json::{Value, json};
use testkit::Rest;

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

#[tokio::test]
async fn a_token_decides_who_somebody_is_to_the_database() {
    let test = testkit::database().await;
    let (rest, client) = (Rest::start(&test).await, client());
    let sql = "create function public.whoami() returns text language sql as
            $$ select current_user || ' ' || coalesce(cogo.caller_tenant(), 'nobody') $$;
        grant usage on schema cogo to anon, authenticated, service_role;
        notify pgrst, 'reload schema'";
    test.client().await.batch_execute(sql).await.unwrap();
    let whoami = async |token: Option<String>| {
        let request = client.post(format!("{}/rpc/whoami", rest.url()));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.json(&json!({})).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let mut told = whoami(None).await;
    while told.0 == 404 {
        // The schema is read again in the background.
        tokio::task::yield_now().await;
        told = whoami(None).await;
    }
    assert_eq!(told, (200, json!("anon nobody")));
    for role in ["authenticated", "service_role"] {
        let token = rest.token(&json!({ "role": role, "tenant": "acme" }));
        assert_eq!(whoami(Some(token)).await, (200, json!(format!("{role} acme"))));
    }
    let old = rest.token(&json!({ "role": "service_role", "exp": 1 }));
    assert_eq!(whoami(Some(old)).await.0, 401);
    let superuser = rest.token(&json!({ "role": "postgres" }));
    assert_eq!(whoami(Some(superuser)).await.0, 403);
}

#[tokio::test]
async fn many_start_at_one_time_and_each_ends_when_dropped() {
    let (one, other) = (testkit::database().await, testkit::database().await);
    let (kept, gone) = tokio::join!(Rest::start(&one), Rest::start(&other));
    let url = gone.url();
    drop(gone);
    assert!(client().get(url).send().await.is_err());
    assert_eq!(client().get(kept.url()).send().await.unwrap().status(), 200);
}
