use std::io;
use std::time::{Duration, SystemTime};

use miette::Diagnostic;
use model::Secret;
use realtime::{
    AccessToken, Endpoint, Happening, JoinOptions, Realtime, RealtimeOptions, TokenSource,
};
use serde_json::json;

use crate::logs;
use crate::server::Server;
use crate::world::{KEY, TOKEN, connect, key, ms, next, options, project, ready_again, told};

#[tokio::test]
async fn no_secret_is_told_whatever_goes_wrong_and_whoever_repeats_it() {
    let server = Server::start().await;
    let token = TokenSource::fetched(|| async {
        let token = Secret::new(TOKEN.to_owned());
        // Refreshed while this test runs.
        Ok::<_, io::Error>(AccessToken { token, expires: SystemTime::now() + ms(2000) })
    });
    let options = RealtimeOptions { token, canary: Some(ms(20)), ..options() };
    let realtime = connect(&server, &options);
    let wanted = JoinOptions { ack: true, ..JoinOptions::default() };
    let mut channel = realtime.join("work", wanted).unwrap();
    let mut texts = vec![format!("{options:?} {realtime:?} {channel:?}")];

    // Everything a server can say back to us, with our own secrets in it.
    let echo = format!("{KEY} {TOKEN} key%2Fcanary%2B7f3a%3D%3D");
    server.refuse(401, &json!({ "error": echo }).to_string()).await;
    server.refuse(404, &echo).await;
    let mut peer = server.accept().await;
    assert!(peer.uri.contains("key%2Fcanary"));
    let mut join = peer.push("phx_join").await;
    if join.topic != "realtime:work" {
        join = peer.push("phx_join").await;
    }
    assert_eq!(join.payload["access_token"], TOKEN);
    peer.reply(&join, "error", json!({ "reason": echo })).await;
    loop {
        let push = peer.try_push().await.unwrap();
        if push.event == "phx_join" && push.topic == "realtime:work" {
            join = push;
            break;
        }
    }
    peer.reply(&join, "ok", json!({})).await;
    ready_again(&mut channel).await;
    peer.text(&echo).await;
    peer.tell(&join, "broadcast", json!(echo)).await;
    let payload = json!({});
    let refuse = async {
        loop {
            let push = peer.try_push().await.unwrap();
            if push.event == "broadcast" && push.topic == "realtime:work" {
                peer.reply(&push, "error", json!({ "reason": echo })).await;
                break;
            }
        }
    };
    let (sent, ()) = tokio::join!(channel.send("ring", &payload), refuse);
    let error = sent.unwrap_err();
    texts.push(format!("{error:?} {}", told(&error)));
    peer.system(&join, "system", "error", &echo).await;
    while !matches!(note(next(&mut channel).await, &mut texts), Happening::Down { .. }) {}
    // A reason for closing has room for no more.
    peer.close(1008, &format!("{KEY} {TOKEN}")).await;
    while !matches!(note(next(&mut channel).await, &mut texts), Happening::Down { .. }) {}
    texts.push(format!(
        "{:?} {}",
        realtime.status().borrow(),
        realtime.status().borrow().link.told()
    ));
    realtime.close().await;

    for text in &texts {
        logs::assert_hushed(text);
    }
    let written = testkit::kept_logs();
    // It is no proof that nothing is found where nothing is written.
    for line in
        ["no connection to 127.0.0.1", "not hearing work", "the other kind of log line", "…"]
    {
        assert!(written.contains(line), "`{line}` is not in the log");
    }
    logs::assert_hushed(&written);
}

fn note(happening: Happening, texts: &mut Vec<String>) -> Happening {
    if let Happening::Down { why } = &happening {
        texts.push(format!(
            "{why:?} {} {:?}",
            told(&**why),
            why.help().map(|help| help.to_string())
        ));
    }
    happening
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_not_quoted() {
    for (url, secret) in [
        (KEY.to_owned(), key()),
        (format!("https://user:{KEY}@h"), key()),
        (format!("https://h/?apikey={KEY}"), key()),
        ("https://h".to_owned(), Secret::new(format!("{KEY}\n"))),
    ] {
        let error = Endpoint::new(&url, secret).unwrap_err();
        logs::assert_hushed(&format!("{error:?} {}", told(&error)));
    }
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_the_key() {
    let port = Server::start().await.port();
    let url = format!("http://127.0.0.1:{port}");
    let realtime = Realtime::new(&project(&url), &options());
    let mut channel = realtime.join("work", JoinOptions::default()).unwrap();
    let mut texts = Vec::new();
    let happening = note(next(&mut channel).await, &mut texts);
    assert!(matches!(happening, Happening::Down { .. }), "{happening:?}");
    assert!(texts[0].contains(&format!("could not reach Realtime at 127.0.0.1:{port}")));
    assert!(texts[0].contains("check SUPABASE_URL"), "the cause's help helps: {}", texts[0]);
    logs::assert_hushed(&texts[0]);
    let nowhere = Realtime::new(&project("http://nowhere.invalid"), &options());
    let mut channel = nowhere.join("work", JoinOptions::default()).unwrap();
    let _ = tokio::time::timeout(Duration::from_secs(15), async {
        note(next(&mut channel).await, &mut texts);
    })
    .await;
    logs::assert_hushed(&texts.concat());
    logs::assert_hushed(&testkit::kept_logs());
}
