use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bus::{InvalidPayload, NewEvent};
use messages::{CodegenProgress, Usage};
use model::MessageId;
use telemetry::Chain;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use worker::Cx;

use crate::clean::{clean, tail};

/// What a command says, on its way to whoever follows the trace: gathered, and told now and then.
pub(crate) struct Progress {
    executor: String,
    id: MessageId,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    lines: VecDeque<String>,
    bytes: usize,
    left_out: u64,
    usage: Usage,
    anything: bool,
}

/// Of one event's text, and of a line in it.
const MOST_BYTES: usize = 2_000;
const LONGEST_LINE: usize = 500;
/// Events grow rarer while a command runs: a day's run has some 400 of them.
const RARER: u32 = 50;

impl Progress {
    pub(crate) fn new(executor: &str, id: MessageId) -> Self {
        Self { executor: executor.to_owned(), id, said: Mutex::default() }
    }

    pub(crate) fn push(&self, text: &str, usage: Usage) {
        let mut said = self.said();
        said.usage = usage;
        for line in text.lines() {
            let line = clean(tail(line, LONGEST_LINE));
            if line.trim().is_empty() {
                continue;
            }
            said.anything = true;
            said.bytes += line.len() + 1;
            said.lines.push_back(line);
            while said.bytes > MOST_BYTES {
                let dropped = said.lines.pop_front().map_or(0, |line| line.len() + 1);
                said.bytes -= dropped;
                said.left_out += 1;
            }
        }
    }

    /// Tells what was said, until `over`. Not dropped half-way: what it was about to tell would be
    /// lost, or come after the end.
    pub(crate) async fn tell(&self, cx: &Cx, every: Duration, over: &CancellationToken) {
        let started = Instant::now();
        loop {
            tokio::select! {
                () = sleep(every.max(started.elapsed() / RARER)) => {}
                () = over.cancelled() => return,
            }
            let told = match self.take() {
                Ok(None) => continue,
                Ok(Some(event)) => cx.bus().emit(&[event.message(self.id)]).await,
                Err(error) => {
                    warn!(error = %Chain(&error), "could not write down progress");
                    continue;
                }
            };
            if let Err(error) = told {
                warn!(error = %Chain(&error), "could not tell of progress");
            }
        }
    }

    /// What was said since the last time.
    pub(crate) fn take(&self) -> Result<Option<NewEvent>, InvalidPayload> {
        let said = {
            let mut said = self.said();
            let usage = said.usage;
            std::mem::replace(&mut *said, Said { usage, ..Said::default() })
        };
        if !said.anything {
            return Ok(None);
        }
        let text = Vec::from(said.lines).join("\n");
        let Said { left_out, usage, .. } = said;
        let executor = self.executor.clone();
        NewEvent::of(&CodegenProgress { executor, text, left_out, usage }).map(Some)
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("nothing panics while it holds this")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_bounded_whatever_is_said() {
        let progress = Progress::new("x", 1.try_into().unwrap());
        assert!(progress.take().unwrap().is_none());
        progress.push("\n  \n", Usage::default());
        assert!(progress.take().unwrap().is_none(), "empty lines say nothing");
        for _ in 0..10_000 {
            progress.push(&"y".repeat(8192), Usage::default());
        }
        progress.push("the last", Usage::default());
        let event = format!("{:?}", progress.take().unwrap().unwrap());
        assert!(event.len() < MOST_BYTES + 1000, "{}", event.len());
        assert!(event.contains("the last") && event.contains("\"left_out\":9997"), "{event}");
        assert!(progress.take().unwrap().is_none());
    }
}
