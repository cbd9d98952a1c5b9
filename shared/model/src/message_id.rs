use serde::{Deserialize, Serialize};

use crate::number_type::number_type;
use crate::quote;

/// The number of a message: its row in `agent_messages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct MessageId(i64);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a message number; write a whole number from 1, as in `42`", quote(.0))]
pub struct InvalidMessageId(String);

impl TryFrom<i64> for MessageId {
    type Error = InvalidMessageId;

    fn try_from(number: i64) -> Result<Self, InvalidMessageId> {
        if number > 0 { Ok(Self(number)) } else { Err(InvalidMessageId(number.to_string())) }
    }
}

number_type!(MessageId(i64), InvalidMessageId);

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use postgres_types::{FromSql, ToSql, Type};
    use proptest::prelude::*;

    #[test]
    fn a_message_number_starts_at_one() {
        for text in ["0", "-5", "", "4e2", "#42", "9223372036854775808"] {
            assert_eq!(text.parse::<MessageId>(), Err(InvalidMessageId(text.to_owned())));
        }
        assert_eq!("42".parse::<MessageId>().unwrap().get(), 42);
    }

    #[test]
    fn a_number_that_no_row_can_have_is_refused_from_postgres_too() {
        let id = MessageId::try_from(42).unwrap();
        let mut raw = BytesMut::new();
        id.to_sql(&Type::INT8, &mut raw).unwrap();
        assert_eq!(MessageId::from_sql(&Type::INT8, &raw).unwrap(), id);
        assert!(MessageId::from_sql(&Type::INT8, &0_i64.to_be_bytes()).is_err());
        assert!(!<MessageId as ToSql>::accepts(&Type::TEXT));
    }

    proptest! {
        #[test]
        fn a_message_number_prints_as_it_is_parsed(number in 1..=i64::MAX) {
            let id = MessageId::try_from(number).unwrap();
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
