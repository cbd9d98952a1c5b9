use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use crate::frame::Malformed;

/// How much may wait for a slow reader. A burst is what a rate limit lets through in some seconds;
/// the bytes are a few of the largest messages.
const MESSAGES: usize = 4096;
const BYTES: usize = 16 * 1024 * 1024;

/// The way to one client. Never waits: who reads too slowly is hung up on, so that nobody else is
/// held up.
#[derive(Clone, Debug)]
pub(crate) struct Outbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<Message>,
    waiting: AtomicUsize,
    why: OnceLock<Hangup>,
    hung_up: CancellationToken,
}

/// What waits; for whoever writes to the socket.
pub(crate) struct Waiting {
    queue: mpsc::Receiver<Message>,
    outbox: Outbox,
}

/// Why we close a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hangup {
    Idle,
    Restart,
    Slow,
    Malformed(Malformed),
    /// The client went.
    Gone,
}

impl Outbox {
    pub(crate) fn new() -> (Self, Waiting) {
        let (queue, waiting) = mpsc::channel(MESSAGES);
        let outbox = Self(Arc::new(Inner {
            queue,
            waiting: AtomicUsize::new(0),
            why: OnceLock::new(),
            hung_up: CancellationToken::new(),
        }));
        (outbox.clone(), Waiting { queue: waiting, outbox })
    }

    /// Whether it is on its way.
    pub(crate) fn push(&self, message: Message) -> bool {
        let size = message.len();
        let before = self.0.waiting.fetch_add(size, Ordering::Relaxed);
        // A single one may be larger than all that may wait.
        let room = before == 0 || before + size <= BYTES;
        let pushed = room && self.0.queue.try_send(message).is_ok();
        if !pushed {
            self.hang_up(Hangup::Slow);
        }
        pushed
    }

    /// The first reason counts.
    pub(crate) fn hang_up(&self, why: Hangup) {
        let _ = self.0.why.set(why);
        self.0.hung_up.cancel();
    }

    pub(crate) async fn hung_up(&self) -> Hangup {
        self.0.hung_up.cancelled().await;
        self.0.why.get().copied().unwrap_or(Hangup::Gone)
    }
}

impl Waiting {
    /// Ends only with [`Outbox::hung_up`]: this itself can send.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let message = self.queue.recv().await?;
        self.outbox.0.waiting.fetch_sub(message.len(), Ordering::Relaxed);
        Some(message)
    }
}

impl Hangup {
    pub(crate) fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            // The real server says so, too.
            Self::Idle => (CloseCode::Normal, String::new()),
            Self::Restart => (CloseCode::Restart, String::new()),
            Self::Slow => (CloseCode::Policy, "too slow a reader".to_owned()),
            Self::Malformed(why) => (CloseCode::Invalid, why.to_string()),
            Self::Gone => return None,
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_reads_too_slowly_is_hung_up_on() {
        let (outbox, mut waiting) = Outbox::new();
        for _ in 0..MESSAGES {
            assert!(outbox.push(Message::text("x")));
        }
        assert!(!outbox.push(Message::text("x")));
        assert_eq!(outbox.hung_up().await, Hangup::Slow);
        assert!(waiting.next().await.is_some());
    }

    #[tokio::test]
    async fn large_messages_wait_only_up_to_a_size_but_one_always_may() {
        let (outbox, mut waiting) = Outbox::new();
        let huge = || Message::text("x".repeat(BYTES + 1));
        for _ in 0..3 {
            assert!(outbox.push(huge()));
            waiting.next().await.unwrap();
        }
        assert!(outbox.push(Message::text("x".repeat(BYTES))));
        assert!(!outbox.push(Message::text("x")));
        assert_eq!(outbox.hung_up().await, Hangup::Slow);
    }
}
