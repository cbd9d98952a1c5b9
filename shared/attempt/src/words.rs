use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bus::{InvalidPayload, NewEvent, Settle};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{Attempt, clean};

/// What programs say, on its way to whoever follows the trace: gathered, and told now and then.
pub struct Words {
    shorten: fn(&str, usize) -> &str,
    gathered: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    lines: VecDeque<String>,
    bytes: usize,
    left_out: u64,
}

/// The latest of it, fit for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    /// Lines that were said and are not in the text.
    pub left_out: u64,
}

/// Of one event's text, and of a line in it.
const MOST_BYTES: usize = 2_000;
const LONGEST_LINE: usize = 500;
/// Events grow rarer while the work goes on: an hour's has some 250 of them, and a day's some 400.
const RARER: u32 = 50;

impl Words {
    /// Of a line that is too long, `shorten` tells which part is kept: [`cut`](crate::cut) or
    /// [`tail`](crate::tail).
    pub fn new(shorten: fn(&str, usize) -> &str) -> Self {
        Self { shorten, gathered: Mutex::default() }
    }

    pub fn push(&self, line: &str) {
        let line = clean((self.shorten)(line, LONGEST_LINE));
        if line.trim().is_empty() {
            return;
        }
        let mut gathered = self.gathered();
        gathered.bytes += line.len() + 1;
        gathered.lines.push_back(line);
        while gathered.bytes > MOST_BYTES {
            let dropped = gathered.lines.pop_front().map_or(0, |line| line.len() + 1);
            gathered.bytes -= dropped;
            gathered.left_out += 1;
        }
    }

    /// What was said since the last time, if anything was.
    pub fn take(&self) -> Option<Said> {
        let Gathered { lines, left_out, .. } = std::mem::take(&mut *self.gathered());
        // A line is shorter than an event, so the last one always stays.
        (!lines.is_empty()).then(|| Said { text: Vec::from(lines).join("\n"), left_out })
    }

    /// Does the work, and tells meanwhile what is said. When it returns, the telling is over too:
    /// what it was about to tell would be lost otherwise, or come after the end. What was said last
    /// is left for [`note_last`](Self::note_last).
    pub async fn tell_while<T>(
        &self,
        attempt: &Attempt<'_>,
        every: Duration,
        event: impl Fn(Said) -> Result<NewEvent, InvalidPayload>,
        work: impl Future<Output = T>,
    ) -> T {
        let over = CancellationToken::new();
        let working = async {
            let done = work.await;
            over.cancel();
            done
        };
        let telling = async {
            let started = Instant::now();
            loop {
                tokio::select! {
                    () = sleep(every.max(started.elapsed() / RARER)) => {}
                    () = over.cancelled() => return,
                }
                if let Some(said) = self.take() {
                    attempt.tell("progress", event(said)).await;
                }
            }
        };
        tokio::join!(working, telling).0
    }

    /// What was said last belongs before the end, so it goes with the settle.
    pub fn note_last(
        &self,
        settle: Settle,
        event: impl FnOnce(Said) -> Result<NewEvent, InvalidPayload>,
    ) -> Result<Settle, InvalidPayload> {
        Ok(match self.take() {
            Some(said) => settle.note(event(said)?),
            None => settle,
        })
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().expect("nothing panics while it holds this")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cut, tail};

    fn text(words: &Words) -> Option<String> {
        words.take().map(|said| said.text)
    }

    #[test]
    fn what_is_told_is_bounded_whatever_is_said() {
        let words = Words::new(tail);
        for _ in 0..10_000 {
            words.push(&"y".repeat(8192));
        }
        words.push("\u{1b}[31mthe\0 last\u{1b}[0m");
        let said = words.take().unwrap();
        assert!(said.text.len() <= MOST_BYTES, "{}", said.text.len());
        assert!(said.text.ends_with("y\nthe last"), "{}", said.text);
        assert_eq!(said.left_out, 9_997);
    }

    #[test]
    fn what_was_taken_is_not_taken_again() {
        let words = Words::new(cut);
        assert_eq!(words.take(), None);
        words.push("one");
        words.push("two");
        assert_eq!(words.take(), Some(Said { text: "one\ntwo".to_owned(), left_out: 0 }));
        assert_eq!(words.take(), None);
        words.push("three");
        assert_eq!(text(&words).unwrap(), "three");
    }

    #[test]
    fn empty_lines_say_nothing() {
        let words = Words::new(cut);
        for line in ["", "  ", "\t\r", "\u{1b}[0m \u{7}"] {
            words.push(line);
        }
        assert_eq!(words.take(), None);
    }

    #[test]
    fn of_a_long_line_the_part_is_kept_that_was_asked_for() {
        let line = format!("first{}last", "-".repeat(LONGEST_LINE));
        for (shorten, kept) in [(cut as fn(&str, usize) -> &str, "first"), (tail, "last")] {
            let words = Words::new(shorten);
            words.push(&line);
            let text = text(&words).unwrap();
            assert!(text.len() == LONGEST_LINE && text.contains(kept), "{text}");
        }
    }
}
