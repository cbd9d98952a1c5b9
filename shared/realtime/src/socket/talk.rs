use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::debug;

use super::channel::Done;
use super::connect::Socket;
use super::down::Trouble;
use super::driver::{Driver, at};
use super::frame::{Frame, Incoming, decode_binary, decode_text, encode};
use super::options::Timings;

/// The topic of the connection itself.
const PHOENIX: &str = "phoenix";

impl Driver {
    /// Talks until the connection ends, and tells why it did. None when it is we who end it.
    pub(crate) async fn talk(&mut self, mut socket: Socket) -> Option<Trouble> {
        let mut pulse = Pulse::new(&self.timings, Instant::now());
        let mut written: Vec<Done> = Vec::new();
        loop {
            self.take_asked();
            let now = Instant::now();
            if !self.crew.tick(&self.opener.hush, now) {
                return Some(Trouble::Deaf { server: self.server() });
            }
            let mut frames = self.crew.frames();
            match pulse.tick(now) {
                Beat::Wait => {}
                Beat::Send => frames.push(pulse.beat(self.crew.next_reference(), now)),
                Beat::Dead => {
                    let limit = self.timings.heartbeat_answer;
                    return Some(Trouble::Silent { server: self.server(), limit });
                }
            }
            let writing = self.write(&mut socket, &frames);
            match self.stop.run_until_cancelled(writing).await {
                Some(Ok(())) => {}
                Some(Err(why)) => return Some(why),
                None => return None,
            }
            for done in written.drain(..) {
                // Whoever sends may have stopped waiting.
                let _ = done.send(Ok(()));
            }
            self.tell_counts();

            let due = self.crew.due(now).into_iter().chain([pulse.due()]).min();
            tokio::select! {
                message = socket.next() => {
                    if let Some(why) = self.hear(message, &mut pulse) {
                        return Some(why);
                    }
                }
                () = self.stop.cancelled() => {
                    // A server that takes no goodbye gets none.
                    let _ = timeout(self.timings.close / 2, socket.close(None)).await;
                    return None;
                }
                () = self.roster.bell.notified() => {}
                Some(outgoing) = self.sends.recv() => {
                    written.extend(self.crew.send(outgoing, &self.opener.hush, Instant::now()));
                }
                answer = self.crew.token_answered() => {
                    self.crew.keep_token(answer, &self.opener.hush, Instant::now());
                }
                () = at(due) => {}
            }
        }
    }

    async fn write(&self, socket: &mut Socket, frames: &[Frame]) -> Result<(), Trouble> {
        if frames.is_empty() {
            return Ok(());
        }
        let writing = async {
            for frame in frames {
                socket.feed(Message::text(encode(self.protocol, frame))).await?;
            }
            socket.flush().await
        };
        let limit = self.timings.write;
        match timeout(limit, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.opener.broken(&error)),
            Err(_) => Err(Trouble::Stalled { server: self.server(), limit }),
        }
    }

    /// Why the connection ended, if it did.
    fn hear(
        &mut self,
        message: Option<Result<Message, Error>>,
        pulse: &mut Pulse,
    ) -> Option<Trouble> {
        let closed = |code, said: &str| Trouble::Closed {
            server: self.opener.server(),
            code,
            said: self.opener.hush.said(said),
        };
        let read = match message {
            None => return Some(closed(None, "")),
            Some(Err(error)) => return Some(self.opener.broken(&error)),
            Some(Ok(Message::Close(None))) => return Some(closed(None, "")),
            Some(Ok(Message::Close(Some(close)))) => {
                return Some(closed(Some(close.code.into()), close.reason.as_str()));
            }
            Some(Ok(Message::Text(text))) => {
                decode_text(self.protocol, text.as_str()).map(Incoming::Frame)
            }
            Some(Ok(Message::Binary(bytes))) => decode_binary(&bytes),
            // Pings are answered for us.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return None,
        };
        match read {
            Ok(Incoming::Frame(frame)) if frame.topic == PHOENIX => pulse.answered(&frame),
            Ok(Incoming::Frame(frame)) => {
                self.crew.frame(&frame, &self.opener.hush, Instant::now());
            }
            Ok(Incoming::Broadcast { topic, broadcast }) => self.crew.broadcast(&topic, broadcast),
            Err(error) => debug!(error = %error, "ignored a frame we cannot read"),
        }
        None
    }
}

/// Asks the server for signs of life, and notices when they do not come.
struct Pulse {
    timings: Timings,
    next: Instant,
    unanswered: Option<(String, Instant)>,
}

enum Beat {
    Wait,
    Send,
    Dead,
}

impl Pulse {
    fn new(timings: &Timings, now: Instant) -> Self {
        Self { timings: *timings, next: now + timings.heartbeat, unanswered: None }
    }

    fn due(&self) -> Instant {
        self.unanswered.as_ref().map_or(self.next, |(_, until)| *until)
    }

    fn tick(&self, now: Instant) -> Beat {
        match &self.unanswered {
            Some((_, until)) if *until <= now => Beat::Dead,
            None if self.next <= now => Beat::Send,
            _ => Beat::Wait,
        }
    }

    fn beat(&mut self, reference: u64, now: Instant) -> Frame {
        let reference = reference.to_string();
        self.next = now + self.timings.heartbeat;
        self.unanswered = Some((reference.clone(), now + self.timings.heartbeat_answer));
        Frame {
            join_ref: None,
            reference: Some(reference),
            topic: PHOENIX.to_owned(),
            event: "heartbeat".to_owned(),
            payload: RawValue::from_string("{}".to_owned()).expect("it is JSON"),
        }
    }

    fn answered(&mut self, frame: &Frame) {
        let of = |(asked, _): &(String, Instant)| frame.reference.as_ref() == Some(asked);
        if self.unanswered.as_ref().is_some_and(of) {
            self.unanswered = None;
        }
    }
}
