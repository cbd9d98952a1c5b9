use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::world::within;

/// A Realtime server that does what the test says.
pub(crate) struct Server {
    listener: TcpListener,
    pub(crate) url: String,
}

/// One connection to it.
pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
    pub(crate) uri: String,
    v1: bool,
}

/// A frame of the client's.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) join_ref: Value,
    pub(crate) reference: Value,
    pub(crate) topic: String,
    pub(crate) event: String,
    pub(crate) payload: Value,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        within("a connection", self.listener.accept()).await.unwrap().0
    }

    pub(crate) async fn accept(&self) -> Peer {
        Peer::open(self.accept_tcp().await).await.unwrap()
    }

    /// Accepts a connection and a join on it.
    pub(crate) async fn joined(&self) -> (Peer, Push) {
        let mut peer = self.accept().await;
        let join = peer.joined(&[]).await;
        (peer, join)
    }

    /// Answers the next handshake with an HTTP error.
    pub(crate) async fn refuse(&self, status: u16, body: &str) {
        refuse(self.accept_tcp().await, status, body).await;
    }
}

pub(crate) async fn refuse(mut stream: TcpStream, status: u16, body: &str) {
    read_request(&mut stream).await;
    let answer = format!(
        "HTTP/1.1 {status} No\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // The client may be gone.
    let _ = stream.write_all(answer.as_bytes()).await;
}

pub(crate) async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
}

impl Peer {
    // The error is the library's, and as large as it is.
    #[expect(clippy::result_large_err, reason = "the library's callback wants it so")]
    pub(crate) async fn open(stream: TcpStream) -> Option<Self> {
        let mut uri = String::new();
        let note = |request: &Request, response: Response| {
            uri = request.uri().to_string();
            Ok(response)
        };
        let socket = accept_hdr_async(stream, note).await.ok()?;
        let v1 = uri.contains("vsn=1.0.0");
        Some(Self { socket, uri, v1 })
    }

    /// The next frame that is not a heartbeat; those are answered. None at the end.
    pub(crate) async fn try_push(&mut self) -> Option<Push> {
        loop {
            let text = match self.socket.next().await? {
                Ok(Message::Text(text)) => text,
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => continue,
            };
            let push = self.read(text.as_str());
            if push.event != "heartbeat" {
                return Some(push);
            }
            self.reply(&push, "ok", json!({})).await;
        }
    }

    fn read(&self, text: &str) -> Push {
        let frame: Value = serde_json::from_str(text).unwrap();
        let part = |number: usize, name: &str| {
            if self.v1 { frame[name].clone() } else { frame[number].clone() }
        };
        Push {
            join_ref: part(0, "join_ref"),
            reference: part(1, "ref"),
            topic: part(2, "topic").as_str().unwrap().to_owned(),
            event: part(3, "event").as_str().unwrap().to_owned(),
            payload: part(4, "payload"),
        }
    }

    pub(crate) async fn push(&mut self, event: &str) -> Push {
        let push = within(event, self.try_push()).await.unwrap_or_else(|| panic!("no {event}"));
        assert_eq!(push.event, event, "{push:?}");
        push
    }

    /// Waits for a heartbeat and does not answer it.
    pub(crate) async fn heartbeat(&mut self) -> Push {
        let message = within("a heartbeat", self.socket.next()).await.unwrap().unwrap();
        let push = self.read(message.to_text().unwrap());
        assert_eq!((push.topic.as_str(), push.event.as_str()), ("phoenix", "heartbeat"));
        push
    }

    /// Waits until the client ends the connection.
    pub(crate) async fn ended(&mut self) {
        within("the end", async { while self.try_push().await.is_some() {} }).await;
    }

    /// Waits until the client ends the connection, without anything being said before.
    pub(crate) async fn ended_in_silence(&mut self) {
        match within("the end", self.socket.next()).await {
            None | Some(Err(_) | Ok(Message::Close(_))) => {}
            Some(Ok(message)) => panic!("{message}"),
        }
    }

    /// Takes a join, with these ids for its filters.
    pub(crate) async fn joined(&mut self, ids: &[i64]) -> Push {
        let join = self.push("phx_join").await;
        let changes: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        self.reply(&join, "ok", json!({ "postgres_changes": changes })).await;
        join
    }

    pub(crate) async fn reply(&mut self, push: &Push, status: &str, response: Value) {
        let payload = json!({ "status": status, "response": response });
        let Push { join_ref, reference, topic, .. } = push;
        self.frame(join_ref, reference, topic, "phx_reply", &payload).await;
    }

    /// Says something on a joined channel.
    pub(crate) async fn tell(&mut self, join: &Push, event: &str, payload: Value) {
        self.frame(&join.join_ref, &Value::Null, &join.topic, event, &payload).await;
    }

    pub(crate) async fn system(
        &mut self,
        join: &Push,
        extension: &str,
        status: &str,
        message: &str,
    ) {
        let payload = json!({
            "channel": "work", "extension": extension, "status": status, "message": message,
        });
        self.tell(join, "system", payload).await;
    }

    pub(crate) async fn broadcast(&mut self, join: &Push, event: &str, payload: Value) {
        let payload = json!({ "type": "broadcast", "event": event, "payload": payload });
        // As the server fans them out, without the number of anybody's join.
        self.frame(&Value::Null, &Value::Null, &join.topic, "broadcast", &payload).await;
    }

    pub(crate) async fn frame(
        &mut self,
        join_ref: &Value,
        reference: &Value,
        topic: &str,
        event: &str,
        payload: &Value,
    ) {
        let frame = if self.v1 {
            json!({ "topic": topic, "event": event, "payload": payload, "ref": reference })
        } else {
            json!([join_ref, reference, topic, event, payload])
        };
        self.text(&frame.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        // The client may be gone; a test that minds waits for what follows.
        let _ = self.socket.send(Message::text(text.to_owned())).await;
    }

    pub(crate) async fn binary(&mut self, bytes: Vec<u8>) {
        let _ = self.socket.send(Message::binary(bytes)).await;
    }

    /// Says that it closes, and leaves the connection open.
    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let _ = self.socket.send(Message::Close(Some(frame))).await;
    }

    /// Ends the connection without a word, by a reset.
    pub(crate) fn reset(self) {
        let stream = self.socket.into_inner();
        stream.set_zero_linger().unwrap();
    }
}

/// A binary broadcast as the server writes it.
pub(crate) fn kind_4(
    topic: &str,
    event: &str,
    meta: &str,
    encoding: u8,
    payload: &[u8],
) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let mut bytes = vec![4, length(topic), length(event), length(meta), encoding];
    for part in [topic.as_bytes(), event.as_bytes(), meta.as_bytes(), payload] {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Lets the client's tasks run: longer than any wait between its tries.
pub(crate) async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}
