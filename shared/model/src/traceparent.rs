use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::text_type;
use crate::{TraceId, quote};

/// The header by which a trace enters and leaves Cogo, as W3C Trace Context defines it:
/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Traceparent {
    trace: TraceId,
    span: NonZeroU64,
    flags: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a traceparent; write 00-<32 hex>-<16 hex>-<2 hex> in lower case, no id all zero",
    quote(.0)
)]
pub struct InvalidTraceparent(String);

const SAMPLED: u8 = 1;
/// The length of version 00; later versions may only add to it.
const LENGTH: usize = 55;

impl Traceparent {
    /// Continues `trace` outside Cogo, from a new span.
    pub fn from_trace(trace: TraceId) -> Self {
        loop {
            if let Some(span) = NonZeroU64::new(rand::random()) {
                return Self { trace, span, flags: SAMPLED };
            }
        }
    }

    pub fn trace(&self) -> TraceId {
        self.trace
    }

    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl FromStr for Traceparent {
    type Err = InvalidTraceparent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        parse(text).ok_or_else(|| InvalidTraceparent(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Traceparent> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace = parts.next()?.parse().ok()?;
    let span = NonZeroU64::new(hex(parts.next()?, 16)?)?;
    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let complete = match version {
        0 => rest.is_empty(),
        0xff => false, // forbidden by the specification
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    // We answer in version 00; of a later version's flags we know only this one.
    let flags = if version == 0 { flags } else { flags & SAMPLED };
    (complete && parts.next().is_none()).then_some(Traceparent { trace, span, flags })
}

fn hex(text: &str, digits: usize) -> Option<u64> {
    let valid =
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if valid { u64::from_str_radix(text, 16).ok() } else { None }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "00-{}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

text_type!(Traceparent);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_traceparent_is_read_as_the_specification_says() {
        for (text, sampled) in [
            (format!("00-{TRACE}-00f067aa0ba902b7-01"), true),
            (format!("00-{TRACE}-00f067aa0ba902b7-00"), false),
            (format!("00-{TRACE}-00f067aa0ba902b7-02"), false),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01"), true),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01-what-the-future-holds"), true),
        ] {
            let parsed: Traceparent = text.parse().unwrap();
            assert_eq!((parsed.trace().to_string().as_str(), parsed.sampled()), (TRACE, sampled));
        }
    }

    #[test]
    fn a_malformed_traceparent_is_refused() {
        for text in [
            String::new(),
            TRACE.to_owned(),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("00-{TRACE}-00f067aa0ba902b7-1"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01.more"),
            format!("0-{TRACE}-00f067aa0ba902b7-011"),
            format!(" 00-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-0é"),
        ] {
            assert_eq!(text.parse::<Traceparent>(), Err(InvalidTraceparent(text)));
        }
    }

    #[test]
    fn a_trace_that_leaves_keeps_its_id() {
        let trace: TraceId = TRACE.parse().unwrap();
        let sent = Traceparent::from_trace(trace).to_string();
        assert_eq!(sent.parse::<Traceparent>().unwrap().trace(), trace);
    }

    proptest! {
        #[test]
        fn a_traceparent_prints_as_it_is_parsed(span in 1..=u64::MAX, flags: u8) {
            let span = NonZeroU64::new(span).unwrap();
            let parent = Traceparent { trace: TraceId::mint(), span, flags };
            prop_assert_eq!(parent.to_string().parse(), Ok(parent));
        }
    }
}
