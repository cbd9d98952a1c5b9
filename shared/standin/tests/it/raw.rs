use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::fixture::PATIENCE;

/// A client that says and hears single frames.
pub(crate) struct Raw {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    version: String,
    last: u32,
}

/// What the server said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heard {
    pub(crate) join_ref: Value,
    pub(crate) reference: Value,
    pub(crate) topic: String,
    pub(crate) event: String,
    pub(crate) payload: Value,
    pub(crate) binary: bool,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr, key: &str, version: &str) -> Self {
        Self::try_connect(address, key, version).await.unwrap()
    }

    pub(crate) async fn try_connect(
        address: SocketAddr,
        key: &str,
        version: &str,
    ) -> Result<Self, Error> {
        let url = format!("ws://{address}/realtime/v1/websocket?apikey={key}&vsn={version}");
        let (socket, _) = timeout(PATIENCE, connect_async(url)).await.unwrap()?;
        Ok(Self { socket, version: version.to_owned(), last: 0 })
    }

    /// Returns its reference.
    pub(crate) async fn say(&mut self, topic: &str, event: &str, payload: Value) -> String {
        self.last += 1;
        let reference = self.last.to_string();
        let join_ref = if event == "phx_join" { json!(reference) } else { Value::Null };
        let frame = if self.version == "1.0.0" {
            json!({ "topic": topic, "event": event, "payload": payload, "ref": reference,
                "join_ref": join_ref })
        } else {
            json!([join_ref, reference, topic, event, payload])
        };
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
        reference
    }

    /// The reply to a push.
    pub(crate) async fn ask(&mut self, topic: &str, event: &str, payload: Value) -> Value {
        let reference = self.say(topic, event, payload).await;
        loop {
            let heard = self.next().await;
            if heard.event == "phx_reply" && heard.reference == json!(reference) {
                return heard.payload;
            }
        }
    }

    /// Joins, and must succeed.
    pub(crate) async fn join(&mut self, name: &str, config: Value, token: Option<&str>) -> Value {
        let reply = self.try_join(name, config, token).await;
        assert_eq!(reply["status"], "ok", "{reply}");
        reply["response"].clone()
    }

    pub(crate) async fn try_join(
        &mut self,
        name: &str,
        config: Value,
        token: Option<&str>,
    ) -> Value {
        let payload = json!({ "config": config, "access_token": token });
        self.ask(&format!("realtime:{name}"), "phx_join", payload).await
    }

    pub(crate) async fn next(&mut self) -> Heard {
        match self.frame().await {
            Message::Text(text) => self.read(&text),
            Message::Binary(bytes) => read_binary(&bytes),
            other => panic!("{other:?}"),
        }
    }

    /// The next of this kind; what comes before it is passed over.
    pub(crate) async fn hear(&mut self, event: &str) -> Heard {
        loop {
            let heard = self.next().await;
            if heard.event == event {
                return heard;
            }
        }
    }

    /// What came before the answer to a heartbeat: all that was on its way.
    pub(crate) async fn pending(&mut self) -> Vec<Heard> {
        let reference = self.say("phoenix", "heartbeat", json!({})).await;
        let mut before = Vec::new();
        loop {
            let heard = self.next().await;
            if heard.topic == "phoenix" && heard.reference == json!(reference) {
                return before;
            }
            before.push(heard);
        }
    }

    pub(crate) async fn closed(&mut self) -> Option<CloseFrame> {
        loop {
            if let Message::Close(frame) = self.frame().await {
                return frame;
            }
        }
    }

    async fn frame(&mut self) -> Message {
        loop {
            let frame = timeout(PATIENCE, self.socket.next()).await.expect("in time");
            match frame.expect("the socket is open").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                frame => return frame,
            }
        }
    }

    fn read(&self, text: &str) -> Heard {
        let mut frame: Value = serde_json::from_str(text).unwrap();
        let keys = ["join_ref", "ref", "topic", "event", "payload"];
        let [join_ref, reference, topic, event, payload] = if self.version == "1.0.0" {
            keys.map(|key| frame[key].take())
        } else {
            [0, 1, 2, 3, 4].map(|index| frame[index].take())
        };
        let text = |value: Value| value.as_str().unwrap().to_owned();
        let (topic, event) = (text(topic), text(event));
        Heard { join_ref, reference, topic, event, payload, binary: false }
    }
}

fn read_binary(frame: &[u8]) -> Heard {
    let [4, topic, event, meta, encoding, ..] = frame[..] else { panic!("{frame:?}") };
    let mut at = 5;
    let mut take = |length: u8| {
        let text = std::str::from_utf8(&frame[at..at + usize::from(length)]).unwrap();
        at += usize::from(length);
        text.to_owned()
    };
    let (topic, event, meta) = (take(topic), take(event), take(meta));
    let body = &frame[at..];
    let body = if encoding == 1 { serde_json::from_slice(body).unwrap() } else { json!(body) };
    let mut payload = json!({ "type": "broadcast", "event": event, "payload": body });
    if !meta.is_empty() {
        payload["meta"] = serde_json::from_str(&meta).unwrap();
    }
    Heard {
        join_ref: Value::Null,
        reference: Value::Null,
        topic,
        event: "broadcast".to_owned(),
        payload,
        binary: true,
    }
}
