use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use crate::refusal::Refusal;

/// What goes wrong between the API and those who ask it from outside. Its own controllers and nodes
/// are not concerned.
#[derive(Debug)]
pub struct Faults {
    state: Mutex<State>,
    /// Counts up when all watches are to end.
    cuts: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    unreachable: bool,
    slow: Duration,
    answers: VecDeque<(Fault, usize)>,
}

/// An answer that is given in place of the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 500, as when the server lost its storage.
    Internal,
    /// 429 with `Retry-After: 1`.
    TooManyRequests,
    /// 503, as of a server that has just started.
    Unavailable,
    /// 504 "Too large resource version", as of a server whose cache is behind.
    TooLargeVersion,
    /// The connection closes without an answer, after what was asked was done.
    LostAnswer,
}

impl Default for Faults {
    fn default() -> Self {
        Self { state: Mutex::default(), cuts: watch::Sender::new(0) }
    }
}

impl Faults {
    /// Connections are closed without an answer until this is taken back; watches end.
    pub fn unreachable(&self, unreachable: bool) {
        self.state().unreachable = unreachable;
        if unreachable {
            self.cut_watches();
        }
    }

    /// The next answers to anything but a watch are these.
    pub fn answer_with(&self, fault: Fault, times: usize) {
        self.state().answers.push_back((fault, times));
    }

    /// Every answer takes this much longer, in real time.
    pub fn slow(&self, by: Duration) {
        self.state().slow = by;
    }

    /// Ends all watches in the middle.
    pub fn cut_watches(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    pub(crate) fn is_unreachable(&self) -> bool {
        self.state().unreachable
    }

    pub(crate) fn slowness(&self) -> Duration {
        self.state().slow
    }

    pub(crate) fn next(&self) -> Option<Fault> {
        let mut state = self.state();
        let (fault, left) = state.answers.front_mut()?;
        let fault = *fault;
        *left = left.saturating_sub(1);
        if *left == 0 {
            state.answers.pop_front();
        }
        Some(fault)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

impl Fault {
    pub(crate) fn refusal(self, version: u64) -> Option<Refusal> {
        let refusal = match self {
            Self::Internal => Refusal::new(
                500,
                "InternalError",
                "Internal error occurred: etcdserver: request timed out",
            ),
            Self::TooManyRequests => Refusal::new(
                429,
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
            )
            .with_details(json!({ "retryAfterSeconds": 1 })),
            Self::Unavailable => Refusal::new(
                503,
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            Self::TooLargeVersion => too_large(version + 1000, version),
            Self::LostAnswer => return None,
        };
        Some(refusal)
    }
}

pub(crate) fn too_large(asked: u64, held: u64) -> Refusal {
    let message = format!("Timeout: Too large resource version: {asked}, current: {held}");
    Refusal::new(504, "Timeout", message).with_details(json!({
        "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
        "retryAfterSeconds": 1,
    }))
}
