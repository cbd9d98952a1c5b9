use std::fmt;
use std::str::FromStr;

use crate::text_type;
use crate::{Word, quote};

/// A kind of work, whatever its shard: `codegen/generate`. Payload types and `bus_routes` name one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stage {
    service: Word,
    role: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a stage; write service/role in lower-case words, as in `codegen/generate`",
    quote(.0)
)]
pub struct InvalidStage(String);

impl Stage {
    pub fn new(service: Word, role: Word) -> Self {
        Self { service, role }
    }

    pub fn service(&self) -> &Word {
        &self.service
    }

    pub fn role(&self) -> &Word {
        &self.role
    }
}

impl FromStr for Stage {
    type Err = InvalidStage;

    fn from_str(text: &str) -> Result<Self, InvalidStage> {
        let invalid = || InvalidStage(text.to_owned());
        let (service, role) = text.split_once('/').ok_or_else(invalid)?;
        let word = |text: &str| text.parse().map_err(|_| invalid());
        Ok(Self { service: word(service)?, role: word(role)? })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.service, self.role)
    }
}

text_type!(Stage);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::matching;
    use proptest::prelude::*;

    #[test]
    fn a_stage_is_two_words() {
        let stage: Stage = "code/build-test".parse().unwrap();
        assert_eq!((stage.service().as_str(), stage.role().as_str()), ("code", "build-test"));
        for text in ["", "codegen", "codegen/", "/generate", "codegen/generate/0", "Code/gen"] {
            assert_eq!(text.parse::<Stage>(), Err(InvalidStage(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn a_stage_prints_as_it_is_parsed(
            service in matching(Word::PATTERN),
            role in matching(Word::PATTERN),
        ) {
            let stage = Stage::new(service.parse().unwrap(), role.parse().unwrap());
            prop_assert_eq!(stage.to_string().parse(), Ok(stage));
        }
    }
}
