use std::str::FromStr;

use model::{MessageId, TraceId, quote};

/// What somebody wants to see: a trace, named by its own id or by one of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Trace(TraceId),
    Message(MessageId),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is neither a trace id (32 hex digits) nor a message number", quote(.0))]
pub(crate) struct InvalidSubject(String);

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        // A trace id may consist of decimal digits alone, but no message number is that long.
        let trace = text.parse().map(Self::Trace).ok();
        let subject = trace.or_else(|| text.parse().map(Self::Message).ok());
        subject.ok_or_else(|| InvalidSubject(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_and_a_message_are_told_apart() {
        let trace = "00000000000000000000000000000042";
        assert_eq!(trace.parse(), Ok(Subject::Trace(trace.parse().unwrap())));
        assert_eq!("42".parse(), Ok(Subject::Message("42".parse().unwrap())));
        for text in ["", "0", "4bf9", "#42"] {
            assert_eq!(text.parse::<Subject>(), Err(InvalidSubject(text.to_owned())));
        }
    }
}
