use std::collections::BTreeMap;

use model::MessageId;

/// What the publishers were told of each message of the plan, by its number.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    pub published: BTreeMap<i64, Account>,
    /// Messages that a cancellation left cancelled, as its caller was told.
    pub cancelled: Vec<MessageId>,
    /// Two publishes of one idempotency key were answered with different messages.
    pub disagreed: Vec<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    Acknowledged(MessageId),
    /// It was sent once, and no answer came: it may be there or not.
    InDoubt,
    /// Its transaction was not committed.
    RolledBack,
}
