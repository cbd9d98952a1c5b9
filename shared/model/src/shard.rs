use serde::{Deserialize, Serialize};

use crate::number_type::number_type;
use crate::quote;

/// Which slice of a stage's messages: 0 and up. Most stages only ever use shard 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize,
)]
#[serde(try_from = "i32", into = "i32")]
pub struct Shard(i32);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a shard; write a whole number from 0 to {}", quote(.0), i32::MAX)]
pub struct InvalidShard(String);

impl TryFrom<i32> for Shard {
    type Error = InvalidShard;

    fn try_from(number: i32) -> Result<Self, InvalidShard> {
        if number >= 0 { Ok(Self(number)) } else { Err(InvalidShard(number.to_string())) }
    }
}

number_type!(Shard(i32), InvalidShard);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_shard_is_a_plain_number_from_zero() {
        for text in ["0", "7", "2147483647"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for text in ["", "-1", "+1", "007", "1.0", "2147483648", " 1", "one"] {
            assert_eq!(text.parse::<Shard>(), Err(InvalidShard(text.to_owned())));
        }
        assert!(serde_json::from_str::<Shard>("-1").is_err());
        assert_eq!(serde_json::to_string(&Shard(3)).unwrap(), "3");
    }

    proptest! {
        #[test]
        fn a_shard_prints_as_it_is_parsed(number in 0..=i32::MAX) {
            let shard = Shard::try_from(number).unwrap();
            prop_assert_eq!(shard.to_string().parse(), Ok(shard));
        }
    }
}
