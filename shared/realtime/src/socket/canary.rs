use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::heard::{Happening, Heard};
use super::join::JoinOptions;
use super::membership::Membership;
use super::options::Timings;
use super::turn::Turn;

/// So many unheard in a row, and the connection is rebuilt.
const MOST_MISSED: u32 = 2;

/// Broadcasts to ourselves: the proof that the server not only answers but delivers.
#[derive(Debug)]
pub(crate) struct Canary {
    every: Duration,
    pub(crate) membership: Membership,
    heard: Arc<Heard>,
    /// None while the channel is not ready: then silence proves nothing.
    next: Option<Instant>,
    unheard: u32,
}

impl Canary {
    pub(crate) fn new(every: Duration, timings: &Timings, now: Instant) -> Self {
        // A channel of our own: shared by a fleet, each would be told to all.
        let topic = format!("cogo:canary:{:016x}", rand::random::<u64>());
        let options = JoinOptions { private: true, broadcast_self: true, ..JoinOptions::default() };
        let heard = Arc::new(Heard::new(16, 4096));
        let membership = Membership::new(topic, options, heard.clone(), timings, now);
        let every = every.max(Duration::from_millis(1));
        Self { every, membership, heard, next: None, unheard: 0 }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.next
    }

    /// Sends the next one when it is time. False once too many were not heard.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) -> bool {
        while let Some(happening) = self.heard.try_next() {
            match happening {
                Happening::Ready => {
                    self.next = Some(turn.now + self.every);
                    self.unheard = 0;
                }
                Happening::Down { .. } => self.next = None,
                Happening::Broadcast(_) => self.unheard = 0,
                Happening::Change(_) | Happening::Missed(_) => {}
            }
        }
        if self.next.is_none_or(|next| next > turn.now) {
            return true;
        }
        if self.unheard >= MOST_MISSED {
            self.next = None;
            return false;
        }
        self.next = Some(turn.now + self.every);
        self.unheard += 1;
        let payload = json!({ "type": "broadcast", "event": "canary", "payload": {} });
        let payload = serde_json::value::to_raw_value(&payload).expect("it is JSON");
        // Nobody waits for it to be written; whether it is heard is what counts.
        let (done, _) = oneshot::channel();
        self.membership.send(payload, done, turn);
        true
    }
}
