use std::sync::Mutex;

use attempt::{Said, Words, tail};
use bus::{InvalidPayload, NewEvent};
use messages::{CodegenProgress, Usage};

/// What a command says and what it has cost so far.
pub(crate) struct Progress {
    executor: String,
    pub(crate) words: Words,
    usage: Mutex<Usage>,
}

impl Progress {
    pub(crate) fn new(executor: &str) -> Self {
        let executor = executor.to_owned();
        // The end of a long line, as it is where an error is usually said.
        Self { executor, words: Words::new(tail), usage: Mutex::default() }
    }

    pub(crate) fn push(&self, text: &str, usage: Usage) {
        *self.usage.lock().expect("nothing panics while it holds this") = usage;
        for line in text.lines() {
            self.words.push(line.trim_end());
        }
    }

    pub(crate) fn event(&self, said: Said) -> Result<NewEvent, InvalidPayload> {
        let Said { text, left_out } = said;
        let usage = *self.usage.lock().expect("nothing panics while it holds this");
        let executor = self.executor.clone();
        NewEvent::of(&CodegenProgress { executor, text, left_out, usage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_line_by_line_with_the_latest_figures() {
        let progress = Progress::new("x");
        progress.push("one  \n\ntwo\r\n", Usage { cost_usd: 0.0, tokens: 5 });
        progress.push("  ", Usage { cost_usd: 0.5, tokens: 7 });
        let said = progress.words.take().unwrap();
        assert_eq!(said.text, "one\ntwo");
        let event = serde_json::to_value(progress.event(said).unwrap()).unwrap();
        assert_eq!(
            event["payload"],
            serde_json::json!({ "executor": "x", "text": "one\ntwo", "left_out": 0,
                "usage": { "cost_usd": 0.5, "tokens": 7 } })
        );
    }
}
