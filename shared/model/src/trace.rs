use std::fmt;
use std::num::NonZeroU128;
use std::str::FromStr;

use crate::quote;
use crate::text_type;

/// One id from the intent to its last effect: 32 lower-case hex digits, as W3C Trace Context has
/// it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(NonZeroU128);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a trace id; write 32 hex digits in lower case, not all of them zero", quote(.0))]
pub struct InvalidTraceId(String);

impl TraceId {
    /// What the check constraints in SQL say about trace ids (all zeros is refused beside it).
    pub const PATTERN: &'static str = "^[0-9a-f]{32}$";

    /// The time comes first, then chance, as in a UUID of version 7: whatever is indexed by trace
    /// grows at one end, where a random place for every row would cost more than the rest of
    /// writing it.
    pub fn mint() -> Self {
        let id = uuid::Uuid::now_v7().as_u128();
        Self(NonZeroU128::new(id).expect("its version is 7"))
    }
}

impl FromStr for TraceId {
    type Err = InvalidTraceId;

    fn from_str(text: &str) -> Result<Self, InvalidTraceId> {
        // `from_str_radix` alone would let in capitals and a leading `+`.
        let valid =
            text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let id = if valid { u128::from_str_radix(text, 16).ok() } else { None };
        id.and_then(NonZeroU128::new).map(Self).ok_or_else(|| InvalidTraceId(text.to_owned()))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TraceId({self})")
    }
}

text_type!(TraceId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_trace_id_is_32_lower_case_hex_digits() {
        for text in ["4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000001"] {
            assert_eq!(text.parse::<TraceId>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "00000000000000000000000000000000",
            "4BF92F3577B34DA6A3CE929D0E0E4736",
            "4bf92f3577b34da6a3ce929d0e0e473",
            "4bf92f3577b34da6a3ce929d0e0e47360",
            "+bf92f3577b34da6a3ce929d0e0e4736",
            "4bf92f35-77b34da6-a3ce929d-0e0e47",
        ] {
            assert_eq!(text.parse::<TraceId>(), Err(InvalidTraceId(text.to_owned())));
        }
    }

    #[test]
    fn new_trace_ids_differ_and_grow() {
        let ids: Vec<TraceId> = (0..100).map(|_| TraceId::mint()).collect();
        assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    }

    proptest! {
        #[test]
        fn a_trace_id_prints_as_it_is_parsed(id in 1..=u128::MAX) {
            let id = TraceId(NonZeroU128::new(id).unwrap());
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
