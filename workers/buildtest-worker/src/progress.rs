use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bus::{InvalidPayload, NewEvent};
use messages::BuildtestProgress;
use model::MessageId;
use telemetry::Chain;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use worker::Cx;

use crate::results::cut;

/// What commands say, on its way to whoever follows the trace: gathered, and told now and then.
pub(crate) struct Progress {
    id: MessageId,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    lines: VecDeque<String>,
    bytes: usize,
    left_out: u64,
}

/// Of one event's text, and of a line in it.
const MOST_BYTES: usize = 2_000;
const LONGEST_LINE: usize = 500;
/// Events grow rarer while a build runs: one of an hour has some 250 of them.
const RARER: u32 = 50;

impl Progress {
    pub(crate) fn new(id: MessageId) -> Self {
        Self { id, said: Mutex::default() }
    }

    pub(crate) fn push(&self, line: &str) {
        let line = clean(cut(line, LONGEST_LINE));
        if line.trim().is_empty() {
            return;
        }
        let mut said = self.said();
        said.bytes += line.len() + 1;
        said.lines.push_back(line);
        while said.bytes > MOST_BYTES {
            let dropped = said.lines.pop_front().map_or(0, |line| line.len() + 1);
            said.bytes -= dropped;
            said.left_out += 1;
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
        let Said { lines, left_out, .. } = std::mem::take(&mut *self.said());
        if lines.is_empty() {
            return Ok(None);
        }
        let text = Vec::from(lines).join("\n");
        NewEvent::of(&BuildtestProgress { text, left_out }).map(Some)
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("nothing panics while it holds this")
    }
}

/// Without colours, and without what moves a terminal's cursor or Postgres cannot keep.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' if letters.peek() == Some(&'[') => {
                letters.next();
                // Up to the letter that ends it.
                while letters.next().is_some_and(|part| !('@'..='~').contains(&part)) {}
            }
            '\n' | '\t' => out.push(letter),
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_bounded_whatever_is_said() {
        let progress = Progress::new(1.try_into().unwrap());
        progress.push("  ");
        assert!(progress.take().unwrap().is_none(), "empty lines say nothing");
        for _ in 0..1_000 {
            progress.push(&"y".repeat(8192));
        }
        progress.push("\u{1b}[31mthe\0 last\u{1b}[0m");
        let event = format!("{:?}", progress.take().unwrap().unwrap());
        assert!(event.len() < MOST_BYTES + 1000, "{}", event.len());
        assert!(event.contains("the last"), "{event}");
        assert!(progress.take().unwrap().is_none());
    }
}
