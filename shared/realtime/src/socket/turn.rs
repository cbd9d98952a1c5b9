use serde_json::value::RawValue;
use tokio::time::Instant;

use super::frame::Frame;
use super::hush::Hush;
use super::options::Timings;
use super::token::Tokens;

/// What a membership may do while it is its turn.
pub(crate) struct Turn<'a> {
    pub(crate) now: Instant,
    pub(crate) timings: &'a Timings,
    pub(crate) hush: &'a Hush,
    pub(crate) tokens: &'a mut Tokens,
    pub(crate) last_reference: &'a mut u64,
    /// What is to be written.
    pub(crate) frames: &'a mut Vec<Frame>,
}

impl Turn<'_> {
    /// The number that an answer to it will carry.
    pub(crate) fn push(
        &mut self,
        topic: &str,
        join: u64,
        event: &str,
        payload: Box<RawValue>,
    ) -> u64 {
        *self.last_reference += 1;
        let reference = *self.last_reference;
        // A join is known by its own number.
        let join = if join == 0 { reference } else { join };
        self.frames.push(Frame {
            join_ref: Some(join.to_string()),
            reference: Some(reference.to_string()),
            topic: topic.to_owned(),
            event: event.to_owned(),
            payload,
        });
        reference
    }
}

pub(crate) fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("it is JSON")
}
