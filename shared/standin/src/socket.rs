use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::error;

use crate::channel::Asked;
use crate::counts::add;
use crate::frame::{Payload, Said};
use crate::http::Seated;
use crate::outbox::{Hangup, Outbox, Waiting};
use crate::place::{Line, Place};
use crate::server::Server;

/// Supabase takes no larger frame.
const LARGEST_FRAME: usize = 5 * 1024 * 1024;
/// A client has at most so many channels on one socket.
const CHANNELS: usize = 100;
/// Pushes that wait for their channel. Whoever sends more waits, and holds up only themselves.
const PUSHES: usize = 64;
/// A client that is being hung up on may be gone already.
const FAREWELL: Duration = Duration::from_secs(1);

type Stream = WebSocketStream<TokioIo<Upgraded>>;

/// One client's socket, from its handshake to its end. Its channels end with it.
struct Socket {
    server: Arc<Server>,
    line: Arc<Line>,
    outbox: Outbox,
    channels: HashMap<String, Open>,
    /// Each ends with its topic and number.
    running: JoinSet<(String, u64)>,
    joins: u64,
}

/// A channel that was joined, or is being joined.
struct Open {
    join_ref: Value,
    asked: mpsc::Sender<Asked>,
    /// Dropped, it ends the channel.
    _end: DropGuard,
    number: u64,
}

pub(crate) async fn run(server: Arc<Server>, seated: Seated) {
    let sitting = server.sitting();
    let Seated { upgrade, version, identity } = seated;
    let Ok(upgraded) = upgrade.await else { return };
    let mut config = WebSocketConfig::default();
    config.max_frame_size = Some(LARGEST_FRAME);
    config.max_message_size = Some(LARGEST_FRAME);
    let io = TokioIo::new(upgraded);
    let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let (sink, stream) = stream.split();
    let (outbox, waiting) = Outbox::new();
    let line = Line { server: server.clone(), version, outbox: outbox.clone(), identity };
    let mut socket = Socket {
        server: server.clone(),
        line: Arc::new(line),
        outbox: outbox.clone(),
        channels: HashMap::new(),
        running: JoinSet::new(),
        joins: 0,
    };
    let reading = async {
        tokio::select! {
            why = socket.read(stream) => outbox.hang_up(why),
            _ = outbox.hung_up() => {}
            () = sitting.cancelled() => outbox.hang_up(Hangup::Restart),
        }
    };
    // It says goodbye to whoever is hung up on, so it ends by itself.
    tokio::join!(reading, write(sink, waiting, &outbox));
    if outbox.hung_up().await == Hangup::Slow {
        add(&server.counters.slow, 1);
    }
}

async fn write(mut sink: SplitSink<Stream, Message>, mut waiting: Waiting, outbox: &Outbox) {
    let why = loop {
        let message = tokio::select! {
            biased;
            why = outbox.hung_up() => break why,
            message = waiting.next() => message,
        };
        let Some(message) = message else { break Hangup::Gone };
        tokio::select! {
            biased;
            why = outbox.hung_up() => break why,
            sent = sink.send(message) => if sent.is_err() {
                outbox.hang_up(Hangup::Gone);
            }
        }
    };
    let farewell = async {
        if let Some(frame) = why.frame() {
            let _ = sink.send(Message::Close(Some(frame))).await;
        }
        let _ = sink.close().await;
    };
    let _ = timeout(FAREWELL, farewell).await;
}

impl Socket {
    /// Until the client goes or has to. Dropping this ends its channels.
    async fn read(&mut self, mut stream: SplitStream<Stream>) -> Hangup {
        let idle_close = self.server.settings.awkward.idle_close;
        loop {
            let idle = async {
                match idle_close {
                    Some(limit) => sleep(limit).await,
                    None => std::future::pending().await,
                }
            };
            let frame = tokio::select! {
                frame = stream.next() => frame,
                () = idle => return Hangup::Idle,
                Some(ended) = self.running.join_next() => {
                    self.forget(ended);
                    continue;
                }
            };
            let version = self.line.version;
            let said = match frame {
                Some(Ok(Message::Text(text))) => version.read_text(&text),
                Some(Ok(Message::Binary(bytes))) => version.read_binary(&bytes),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Hangup::Gone,
            };
            match said {
                Ok(said) => self.hear(said).await,
                Err(why) => return Hangup::Malformed(why),
            }
        }
    }

    async fn hear(&mut self, said: Said) {
        if said.topic == "phoenix" {
            // A heartbeat; whatever else it is, it wants to know whether we are there.
            let payload = json!({ "status": "ok", "response": {} });
            let Said { join_ref, reference, topic, .. } = &said;
            let version = self.line.version;
            self.outbox.push(version.write(join_ref, reference, topic, "phx_reply", &payload));
            return;
        }
        if said.event == "phx_join" {
            return self.join(said);
        }
        let Said { join_ref, reference, topic, event, payload } = said;
        let channel = self.channels.get(&topic).filter(|open| {
            // It may be meant for a channel that has been joined anew since.
            join_ref.is_null() || join_ref == open.join_ref
        });
        let asked = Asked { reference: reference.clone(), event, payload };
        let heard = match channel {
            // Sending fails if the channel has just ended.
            Some(open) => open.asked.send(asked).await.is_ok(),
            None => false,
        };
        if !heard {
            self.refuse(&join_ref, &reference, &topic, "unmatched topic");
        }
    }

    fn join(&mut self, said: Said) {
        let Said { join_ref, reference, topic, payload, .. } = said;
        if let Some(old) = self.channels.remove(&topic) {
            // As Phoenix does: the later join wins.
            let (version, gone) = (self.line.version, json!({}));
            let close = version.write(&old.join_ref, &old.join_ref, &topic, "phx_close", &gone);
            self.outbox.push(close);
        }
        // In version 1.0.0 a join may come without: then it is its own.
        let join_ref = if join_ref.is_null() { reference.clone() } else { join_ref };
        if self.channels.len() >= CHANNELS {
            let reason = "ChannelRateLimitReached: Too many channels";
            return self.refuse(&join_ref, &reference, &topic, reason);
        }
        let Payload::Json(payload) = payload else { return };
        let (asked, asking) = mpsc::channel(PUSHES);
        let end = CancellationToken::new();
        let place =
            Place { line: self.line.clone(), topic: topic.clone(), join_ref: join_ref.clone() };
        let (key, ended) = (topic.clone(), end.clone());
        self.joins += 1;
        let number = self.joins;
        self.running.spawn(async move {
            tokio::select! {
                () = place.run(reference, payload, asking) => {}
                () = ended.cancelled() => {}
            }
            (key, number)
        });
        let open = Open { join_ref, asked, _end: end.drop_guard(), number };
        self.channels.insert(topic, open);
    }

    /// Makes room for another channel.
    fn forget(&mut self, ended: Result<(String, u64), JoinError>) {
        match ended {
            Ok((topic, number)) => {
                // It may have been joined anew since.
                if self.channels.get(&topic).is_some_and(|open| open.number == number) {
                    self.channels.remove(&topic);
                }
            }
            Err(panic) => {
                error!(error = %panic, "a channel of the stand-in panicked");
                // Its client cannot know; a new socket is a new start.
                self.outbox.hang_up(Hangup::Restart);
            }
        }
    }

    fn refuse(&self, join_ref: &Value, reference: &Value, topic: &str, reason: &str) {
        let payload = json!({ "status": "error", "response": { "reason": reason } });
        let version = self.line.version;
        self.outbox.push(version.write(join_ref, reference, topic, "phx_reply", &payload));
    }
}
