//! Through the real client libraries.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::fixture::{Fixture, PATIENCE, PUBLISHABLE_KEY, SECRET_KEY, tenant, token};

const LIBRARIES: [&str; 2] = ["supabase-js", "realtime-js"];

struct Node {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Node {
    async fn connect(on: &Fixture, library: &str, key: &str, token: Option<&str>) -> Self {
        let mut node = Command::new("node");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/js");
        node.arg(folder.join("driver.mjs")).env("NODE_MODULES", testkit::node_modules(&folder));
        node.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = node.spawn().expect("node is installed");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut node = Self { _child: child, input, output };
        let url = on.http("");
        node.act(json!({ "act": "connect", "library": library, "url": url, "key": key,
            "token": token }))
            .await;
        node
    }

    async fn say(&mut self, act: &Value) {
        self.input.write_all(format!("{act}\n").as_bytes()).await.unwrap();
    }

    /// Returns what came of it.
    async fn act(&mut self, act: Value) -> Value {
        self.say(&act).await;
        let done = self.until(|told| told["done"] == act["act"]).await;
        assert_eq!(done.get("failed"), None, "{act}");
        done["result"].clone()
    }

    /// The next line like this; what comes before it is passed over.
    async fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        let mut before = Vec::new();
        let waiting = async {
            loop {
                let line = self.output.next_line().await.unwrap().expect("node goes on");
                let told: Value = serde_json::from_str(&line).unwrap();
                if is(&told) {
                    return told;
                }
                before.push(told);
            }
        };
        let told = timeout(PATIENCE, waiting).await;
        told.unwrap_or_else(|_| panic!("only {before:#?}"))
    }

    async fn subscribe(&mut self, channel: &str, config: Value, changes: &[Value]) {
        self.say(&json!({ "act": "subscribe", "channel": channel, "config": config,
            "changes": changes }))
            .await;
        self.until(|told| told["status"] == "SUBSCRIBED").await;
    }

    async fn ready(&mut self, message: &str) {
        self.until(|told| told["system"]["message"] == message).await;
    }

    async fn broadcast(&mut self) -> Value {
        self.until(|told| told.get("broadcast").is_some()).await["broadcast"].clone()
    }

    async fn change(&mut self) -> Value {
        self.until(|told| told.get("change").is_some()).await
    }
}

const REPLICATED: &str = "Replication connection established";
const SUBSCRIBED: &str = "Subscribed to PostgreSQL";

fn private() -> Value {
    json!({ "private": true, "broadcast": { "replication_ready": true } })
}

#[tokio::test]
async fn a_private_broadcast_from_the_database_arrives() {
    let on = Fixture::new().await;
    for library in LIBRARIES {
        let mut node = Node::connect(&on, library, PUBLISHABLE_KEY, Some(&tenant("a"))).await;
        node.subscribe("room", private(), &[]).await;
        node.ready(REPLICATED).await;
        on.run("select realtime.send('{\"n\": 1}', 'work', 'room')").await;
        let broadcast = node.broadcast().await;
        assert_eq!((&broadcast["event"], &broadcast["payload"]["n"]), (&json!("work"), &json!(1)));
        assert_eq!(broadcast["meta"]["id"], broadcast["payload"]["id"]);
    }
}

#[tokio::test]
async fn an_unauthorised_join_is_an_error_with_its_reason() {
    let on = Fixture::new().await;
    for library in LIBRARIES {
        let mut node = Node::connect(&on, library, PUBLISHABLE_KEY, Some(&tenant("b"))).await;
        node.say(&json!({ "act": "subscribe", "channel": "room", "config": private() })).await;
        let told = node.until(|told| told.get("status").is_some()).await;
        assert_eq!(told["status"], "CHANNEL_ERROR");
        assert!(told["error"].as_str().unwrap().contains("do not have permissions"), "{told}");
    }
}

#[tokio::test]
async fn inserts_updates_and_deletes_arrive_at_their_callbacks() {
    let on = Fixture::new().await;
    on.run("insert into notes (id, tenant, n) values (10, 'a', 1)").await;
    for library in LIBRARIES {
        let mut node = Node::connect(&on, library, PUBLISHABLE_KEY, Some(&tenant("a"))).await;
        let changes = [
            json!({ "event": "INSERT", "schema": "public", "table": "notes", "filter": "n=gt.5" }),
            json!({ "event": "UPDATE", "schema": "public", "table": "notes" }),
            json!({ "event": "DELETE", "schema": "public", "table": "notes" }),
        ];
        node.subscribe("any", json!({}), &changes).await;
        node.ready(SUBSCRIBED).await;
        on.run("insert into notes (id, tenant, n) values (1, 'b', 9), (2, 'a', 5), (3, 'a', 9)")
            .await;
        let told = node.change().await;
        assert_eq!((&told["index"], &told["change"]["eventType"]), (&json!(0), &json!("INSERT")));
        assert_eq!(told["change"]["new"]["id"], 3);
        on.run("update notes set n = n + 1 where id = 10").await;
        on.run("delete from notes where id in (1, 2, 3)").await;
        let told = node.change().await;
        assert_eq!((&told["index"], &told["change"]["eventType"]), (&json!(1), &json!("UPDATE")));
        assert_eq!(told["change"]["old"], json!({ "id": 10 }));
        for id in [1, 2, 3] {
            let told = node.change().await;
            assert_eq!(told["index"], 2);
            assert_eq!(told["change"]["old"], json!({ "id": id }));
        }
    }
}

#[tokio::test]
async fn after_a_restart_the_client_comes_back_and_hears_again() {
    let on = Fixture::new().await;
    let mut node = Node::connect(&on, "supabase-js", SECRET_KEY, None).await;
    let notes = json!({ "event": "INSERT", "schema": "public", "table": "notes" });
    node.subscribe("room", private(), &[notes]).await;
    node.ready(SUBSCRIBED).await;
    on.standin.restart(Duration::ZERO).await;
    node.until(|told| told["status"] == "CHANNEL_ERROR").await;
    node.until(|told| told["status"] == "SUBSCRIBED").await;
    node.ready(SUBSCRIBED).await;
    on.run("select realtime.send('{}', 'again', 'room')").await;
    assert_eq!(node.broadcast().await["event"], "again");
    on.run("insert into notes (id) values (1)").await;
    assert_eq!(node.change().await["change"]["new"]["id"], 1);
}

#[tokio::test]
async fn a_refreshed_token_keeps_the_channel_open() {
    let on = Fixture::new().await;
    let mut kept = Node::connect(&on, "supabase-js", PUBLISHABLE_KEY, None).await;
    let mut lost = Node::connect(&on, "realtime-js", PUBLISHABLE_KEY, None).await;
    // Long enough for a busy machine to join.
    let brief = || token(&json!({ "role": "authenticated", "tenant": "a" }), 6);
    kept.act(json!({ "act": "setAuth", "token": brief() })).await;
    kept.subscribe("room", private(), &[]).await;
    kept.act(json!({ "act": "setAuth", "token": tenant("a") })).await;
    // This one ends no earlier than the first one would have.
    lost.act(json!({ "act": "setAuth", "token": brief() })).await;
    lost.subscribe("room", private(), &[]).await;
    let system = lost.until(|told| told["system"]["status"] == "error").await;
    let message = system["system"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("Token has expired"), "{message}");
    lost.until(|told| told["status"] == "CLOSED").await;
    on.run("select realtime.send('{}', 'still', 'room')").await;
    assert_eq!(kept.broadcast().await["event"], "still");
}

#[tokio::test]
async fn missed_messages_are_replayed() {
    let on = Fixture::new().await;
    for n in 1..=3 {
        on.run(&format!("select realtime.send('{{\"n\": {n}}}', 'work', 'room')")).await;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(60);
    let since = u64::try_from(since.as_millis()).unwrap();
    let replay = json!({ "private": true,
        "broadcast": { "replay": { "since": since, "limit": 2 } } });
    let mut node = Node::connect(&on, "supabase-js", PUBLISHABLE_KEY, Some(&tenant("a"))).await;
    node.say(&json!({ "act": "subscribe", "channel": "room", "config": replay })).await;
    for n in [2, 3] {
        let broadcast = node.broadcast().await;
        assert_eq!(
            (&broadcast["payload"]["n"], &broadcast["meta"]["replayed"]),
            (&json!(n), &json!(true))
        );
    }
}

#[tokio::test]
async fn clients_hear_each_other_and_themselves_if_they_want() {
    let on = Fixture::new().await;
    let config = json!({ "broadcast": { "self": true, "ack": true } });
    let mut one = Node::connect(&on, "supabase-js", PUBLISHABLE_KEY, None).await;
    let mut two = Node::connect(&on, "realtime-js", PUBLISHABLE_KEY, None).await;
    one.subscribe("a", config, &[]).await;
    two.subscribe("a", json!({}), &[]).await;
    let send = |act: &str, event: &str, payload: Value| json!({ "act": act, "channel": "a", "event": event, "payload": payload });
    let expected = |event: &str, payload: Value| json!({ "type": "broadcast", "event": event, "payload": payload });
    one.say(&send("send", "hi", json!({ "ä": 1 }))).await;
    assert_eq!(one.broadcast().await, expected("hi", json!({ "ä": 1 })));
    assert_eq!(one.until(|told| told["done"] == "send").await["result"], "ok");
    assert_eq!(two.broadcast().await, expected("hi", json!({ "ä": 1 })));
    // Without `self`, only the other one hears it.
    assert_eq!(two.act(send("send", "back", json!(2))).await, "ok");
    assert_eq!(one.broadcast().await, expected("back", json!(2)));
    let sent = two.act(send("httpSend", "over http", json!({ "n": 3 }))).await;
    assert_eq!(sent, json!({ "success": true }));
    for node in [&mut one, &mut two] {
        assert_eq!(node.broadcast().await, expected("over http", json!({ "n": 3 })));
    }
    let bytes = json!({ "act": "sendBytes", "channel": "a", "event": "raw", "bytes": [0, 255] });
    one.say(&bytes).await;
    assert_eq!(two.broadcast().await["event"], "raw");
    assert_eq!(two.act(json!({ "act": "leave", "channel": "a" })).await, "ok");
}
