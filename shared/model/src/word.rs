use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::quote;
use crate::text_type;

/// A service or a role, as in `build-test`: small enough for a Kubernetes label.
// `Arc`: every claimed message, span and settle carries its route along.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a word; use at most 63 lower-case letters, digits and `-`, starting with a letter, \
     as in `build-test`",
    quote(.0)
)]
pub struct InvalidWord(String);

impl Word {
    /// What the check constraints in SQL say about services and roles; a test holds the two
    /// together.
    pub const PATTERN: &'static str = "^[a-z][a-z0-9-]{0,62}$";

    /// Known at compile time too, so that a payload type cannot name an impossible stage.
    pub const fn is_valid(text: &str) -> bool {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > 63 || !bytes[0].is_ascii_lowercase() {
            return false;
        }
        let mut at = 1;
        while at < bytes.len() {
            if !matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'-') {
                return false;
            }
            at += 1;
        }
        true
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        if Self::is_valid(text) { Ok(Self(text.into())) } else { Err(InvalidWord(text.to_owned())) }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` keeps widths working where reports align names.
        out.pad(&self.0)
    }
}

text_type!(Word);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::matching;
    use proptest::prelude::*;

    #[test]
    fn only_lower_case_words_are_words() {
        let (longest, too_long) = ("a".repeat(63), "a".repeat(64));
        for text in ["a", "codegen", "build-test", "a1", "a-", &longest] {
            assert_eq!(text.parse::<Word>().unwrap().as_str(), text);
        }
        for text in ["", "A", "1a", "-a", "a_b", "a b", "a/b", "é", "a\n", "a\0", &too_long] {
            assert_eq!(text.parse::<Word>(), Err(InvalidWord(text.to_owned())));
        }
    }

    #[test]
    fn serde_uses_the_same_parser() {
        assert_eq!(serde_json::from_str::<Word>(r#""codegen""#).unwrap().as_str(), "codegen");
        let refused = serde_json::from_str::<Word>(r#""Code\u0067en""#).unwrap_err().to_string();
        assert!(refused.starts_with("`Codegen` is not a word; use"), "{refused}");
    }

    proptest! {
        #[test]
        fn whatever_the_pattern_makes_is_a_word_and_prints_as_it_is_parsed(
            text in matching(Word::PATTERN),
        ) {
            let word: Word = text.parse().unwrap();
            prop_assert_eq!(word.to_string(), text);
        }
    }
}
