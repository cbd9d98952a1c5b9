use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use crate::fixture::{Fixture, PUBLISHABLE_KEY, SECRET_KEY, eventually, http_client, tenant};
use crate::raw::Raw;

#[tokio::test]
async fn no_key_or_token_is_ever_logged_or_answered() {
    testkit::keep_logs(LevelFilter::DEBUG);
    let on = Fixture::new().await;
    let (ours, theirs) = (tenant("a"), tenant("b"));
    let (head, tail) = ours.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", tail.chars().rev().collect::<String>());
    let private = || json!({ "private": true });
    let mut answers = String::new();

    let mut raw = on.server().await;
    answers += &raw.try_join("room", private(), Some(&ours)).await.to_string();
    answers += &raw.try_join("hall", private(), Some(&theirs)).await.to_string();
    answers += &raw.try_join("room", private(), Some(&theirs)).await.to_string();
    answers += &raw.try_join("room", private(), Some(&forged)).await.to_string();
    raw.say("realtime:hall", "access_token", json!({ "access_token": forged })).await;
    answers += &format!("{:?}", raw.pending().await);
    raw.say("realtime:room", "phx_join", json!({ "access_token": [ours] })).await;
    answers += &format!("{:?}", raw.pending().await);
    let Err(refused) = Raw::try_connect(on.standin.address(), &forged, "2.0.0").await else {
        panic!("it was let in");
    };
    answers += &format!("{refused:?}");
    let http = http_client().post(on.http("/realtime/v1/api/broadcast")).bearer_auth(&forged);
    answers += &http.body("{").send().await.unwrap().text().await.unwrap();
    // Something that is logged, to know that the log works.
    on.run("select pg_notify('standin_messages', 'not ours')").await;
    let logged = testkit::kept_logs;
    eventually(async || logged().contains("a notification is not ours")).await;
    for secret in [SECRET_KEY, PUBLISHABLE_KEY, &ours, &theirs, &forged, tail] {
        // What the client's own libraries in this process log of their requests is not ours.
        let ours = logged();
        let mut ours = ours.lines().filter(|line| !line.contains("tungstenite::"));
        assert!(!ours.any(|line| line.contains(secret)));
        assert!(!answers.contains(secret), "{answers}");
    }
}
