use realtime::{
    Change, ChangeFilter, ChangeKind, Channel, Happening, JoinOptions, Payload, Replay,
};
use serde_json::{Value, json};
use std::time::SystemTime;

use crate::server::{Server, kind_4};
use crate::world::{connect, down, listen, next, options, ready};

/// The event, id and payload of the next broadcast.
async fn heard(channel: &mut Channel) -> (String, Option<String>, Value) {
    match next(channel).await {
        Happening::Broadcast(broadcast) => {
            let payload = match &broadcast.payload {
                Payload::Json(json) => serde_json::from_str(json.get()).unwrap(),
                Payload::Binary(bytes) => json!(bytes),
            };
            (broadcast.event, broadcast.id, payload)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn broadcasts_are_heard_as_text_and_as_binary() {
    let server = Server::start().await;
    let mut channel = listen(&server, &options());
    let (mut peer, join) = server.joined().await;
    ready(&mut channel).await;
    let meta = r#"{"id":"5e1c3c80-0000-4000-8000-000000000001"}"#;
    peer.binary(kind_4(&join.topic, "work", meta, 1, br#"{"n":2}"#)).await;
    peer.binary(kind_4(&join.topic, "raw", "{}", 0, &[0, 159])).await;
    peer.broadcast(&join, "plain", json!([1])).await;
    let id = Some("5e1c3c80-0000-4000-8000-000000000001".to_owned());
    assert_eq!(heard(&mut channel).await, ("work".to_owned(), id, json!({ "n": 2 })));
    assert_eq!(heard(&mut channel).await, ("raw".to_owned(), None, json!([0, 159])));
    assert_eq!(heard(&mut channel).await, ("plain".to_owned(), None, json!([1])));
}

#[tokio::test]
async fn what_cannot_be_read_or_is_unknown_is_passed_over() {
    let server = Server::start().await;
    let mut channel = listen(&server, &options());
    let (mut peer, join) = server.joined().await;
    ready(&mut channel).await;
    for text in ["", "garbage", "[]", "{}", r#"["1","1"]"#, r#"[1,2,3,4,5]"#, "null", "[[[[[[["] {
        peer.text(text).await;
    }
    for bytes in [vec![], vec![4], vec![4, 255, 0, 0, 1], vec![9, 9, 9], vec![255; 100]] {
        peer.binary(bytes).await;
    }
    for event in ["presence_state", "presence_diff", "invented", ""] {
        peer.tell(&join, event, json!({ "x": 1 })).await;
    }
    for event in ["broadcast", "postgres_changes", "phx_reply", "system"] {
        peer.tell(&join, event, json!({ "ids": "none", "status": 7 })).await;
        peer.tell(&join, event, Value::Null).await;
    }
    let null = Value::Null;
    peer.frame(&null, &null, "realtime:other", "broadcast", &json!({ "event": "x" })).await;
    peer.frame(&null, &null, "phoenix", "invented", &null).await;
    peer.broadcast(&join, "still", json!({})).await;
    assert_eq!(heard(&mut channel).await.0, "still");
}

#[tokio::test]
async fn changes_are_led_to_their_filters() {
    let server = Server::start().await;
    let realtime = connect(&server, &options());
    let filter = |table: &str| ChangeFilter {
        schema: "public".to_owned(),
        table: Some(table.to_owned()),
        ..ChangeFilter::default()
    };
    let wanted = JoinOptions {
        postgres_changes: vec![filter("a"), filter("b"), filter("a")],
        ..JoinOptions::default()
    };
    let mut channel = realtime.join("work", wanted).unwrap();
    let mut peer = server.accept().await;
    let join = peer.joined(&[111, 222, 111]).await;
    peer.system(&join, "postgres_changes", "ok", "Subscribed to PostgreSQL").await;
    ready(&mut channel).await;

    let key = json!({ "id": "5e1c3c80-0000-4000-8000-000000000000" });
    let change = |ids: Value, kind: &str, errors: Value| {
        let mut data = json!({
            "type": kind, "schema": "public", "table": "a", "errors": errors,
            "commit_timestamp": "2026-11-20T10:00:00.000Z",
            "columns": [{ "name": "id", "type": "uuid" }],
        });
        if kind != "DELETE" {
            data["record"] = key.clone();
        }
        if kind != "INSERT" {
            data["old_record"] = key.clone();
        }
        json!({ "ids": ids, "data": data })
    };
    let large = json!(["Error 413: Payload Too Large"]);
    for (ids, kind, errors) in [
        (json!([111]), "INSERT", Value::Null),
        // Of a filter that nobody here asked for.
        (json!([333]), "INSERT", Value::Null),
        (json!([222]), "UPDATE", Value::Null),
        (json!([222, 111]), "DELETE", Value::Null),
        (json!([222]), "INSERT", large),
    ] {
        peer.tell(&join, "postgres_changes", change(ids, kind, errors)).await;
    }
    for (filters, kind, errors) in [
        (&[0, 2][..], ChangeKind::Insert, &[][..]),
        (&[1], ChangeKind::Update, &[]),
        (&[0, 1, 2], ChangeKind::Delete, &[]),
        (&[1], ChangeKind::Insert, &["Error 413: Payload Too Large"]),
    ] {
        let Happening::Change(change) = next(&mut channel).await else { panic!("no change") };
        let Change { record, old_record, .. } = &*change;
        assert_eq!((&*change.filters, change.kind), (filters, kind));
        assert_eq!(change.errors, errors);
        assert_eq!(change.commit_timestamp, "2026-11-20T10:00:00.000Z");
        assert_eq!(record.is_some(), kind != ChangeKind::Delete);
        assert_eq!(old_record.is_some(), kind != ChangeKind::Insert);
        for row in [record, old_record].into_iter().flatten() {
            assert_eq!(serde_json::from_str::<Value>(row.get()).unwrap(), key);
        }
    }
}

#[tokio::test]
async fn what_is_replayed_after_a_rejoin_is_told_once() {
    let server = Server::start().await;
    let realtime = connect(&server, &options());
    let replay = Some(Replay { since: SystemTime::UNIX_EPOCH, limit: 25 });
    let wanted = JoinOptions { private: true, replay, ..JoinOptions::default() };
    let mut channel = realtime.join("work", wanted).unwrap();
    let told = |id: &str, replayed: bool| {
        json!({ "type": "broadcast", "event": id, "payload": { "id": id },
                "meta": { "id": id, "replayed": replayed } })
    };
    let (mut peer, join) = server.joined().await;
    assert_eq!(join.payload["config"]["broadcast"]["replay"]["since"], 0);
    ready(&mut channel).await;
    peer.tell(&join, "broadcast", told("a", true)).await;
    peer.binary(kind_4(&join.topic, "b", r#"{"id":"b"}"#, 1, b"{}")).await;
    assert_eq!(heard(&mut channel).await.0, "a");
    assert_eq!(heard(&mut channel).await.0, "b");
    peer.reset();
    down(&mut channel).await;

    let (mut peer, join) = server.joined().await;
    assert_ne!(join.payload["config"]["broadcast"]["replay"]["since"], 0);
    for (id, replayed) in [("a", true), ("b", true), ("c", true), ("c", false), ("d", false)] {
        peer.tell(&join, "broadcast", told(id, replayed)).await;
    }
    ready(&mut channel).await;
    assert_eq!(heard(&mut channel).await.0, "c");
    assert_eq!(heard(&mut channel).await.0, "d");
}

#[tokio::test]
async fn a_slow_reader_is_told_how_much_it_missed_and_keeps_nobody_waiting() {
    let server = Server::start().await;
    let mut options = options();
    options.queue = 4;
    let realtime = connect(&server, &options);
    let mut slow = realtime.join("slow", JoinOptions::default()).unwrap();
    let mut quick = realtime.join("quick", JoinOptions::default()).unwrap();
    let mut peer = server.accept().await;
    // Whichever is joined first.
    let (one, two) = (peer.joined(&[]).await, peer.joined(&[]).await);
    let (to_slow, to_quick) = if one.topic == "realtime:slow" { (one, two) } else { (two, one) };
    ready(&mut slow).await;
    ready(&mut quick).await;
    for number in 0..1000 {
        peer.broadcast(&to_slow, "flood", json!(number)).await;
    }
    peer.broadcast(&to_quick, "ring", json!({})).await;
    assert_eq!(heard(&mut quick).await.0, "ring");
    for number in 0..4 {
        assert_eq!(heard(&mut slow).await.2, json!(number));
    }
    match next(&mut slow).await {
        Happening::Missed(count) => assert_eq!(count, 996),
        other => panic!("{other:?}"),
    }
    peer.broadcast(&to_slow, "later", json!({})).await;
    assert_eq!(heard(&mut slow).await.0, "later");
}
