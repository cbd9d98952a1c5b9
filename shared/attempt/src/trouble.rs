use std::error::Error;

use bus::{Message, Settle};
use telemetry::Chain;
use worker::Failure;

/// Why nothing came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A code, as in `budget_exceeded`.
    pub reason: &'static str,
    pub what: String,
    pub next: Next,
}

/// What becomes of the message then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt may end differently.
    Retry,
    /// No attempt would.
    Fail,
    /// It is not wanted any more.
    Stopped,
}

impl Trouble {
    pub fn fail(reason: &'static str, what: impl Into<String>) -> Self {
        Self { reason, what: what.into(), next: Next::Fail }
    }

    pub fn retry(reason: &'static str, what: impl Into<String>) -> Self {
        Self { reason, what: what.into(), next: Next::Retry }
    }

    pub fn retry_after(reason: &'static str, error: &(dyn Error + 'static)) -> Self {
        Self::retry(reason, Chain(error).to_string())
    }

    pub fn invalid(what: impl Into<String>) -> Self {
        Self::fail("payload_invalid", what)
    }

    pub fn ttl_exceeded() -> Self {
        Self::fail("ttl_exceeded", "the time that the assignment gives (ttl_ms) is over")
    }

    pub fn stopped() -> Self {
        Self { reason: "stopped", what: "it was told to stop".to_owned(), next: Next::Stopped }
    }

    /// Whether the message has another attempt that may end differently.
    pub fn is_retried(&self, message: &Message) -> bool {
        self.next == Next::Retry && !message.is_last_attempt()
    }

    /// An attempt that was stopped has no outcome of its own: whoever stopped it knows what becomes
    /// of the message, and there is nothing to tell.
    pub fn settle(&self) -> Result<Settle, Failure> {
        let Self { reason, what, next } = self;
        match next {
            Next::Retry => Ok(Settle::retry(format!("{reason}: {what}"))),
            Next::Fail => Ok(Settle::fail(*reason, what)),
            Next::Stopped => Err(Failure::retry(what)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Route, TraceId};
    use serde_json::{Value, json};

    fn settled(trouble: &Trouble) -> Value {
        serde_json::to_value(trouble.settle().unwrap()).unwrap()
    }

    #[test]
    fn what_no_attempt_would_mend_is_a_dead_letter_with_the_reason() {
        assert_eq!(
            settled(&Trouble::invalid("`template` is missing")),
            json!({ "outcome": "fail", "reason": "payload_invalid", "error": "`template` is missing" })
        );
        assert_eq!(settled(&Trouble::ttl_exceeded())["reason"], "ttl_exceeded");
    }

    #[test]
    fn what_may_end_differently_is_retried_and_the_reason_stays_readable() {
        let cause = std::io::Error::other("the disk is full");
        let trouble = Trouble::retry_after("workspace_unavailable", &cause);
        let error = "workspace_unavailable: the disk is full";
        assert_eq!(settled(&trouble), json!({ "outcome": "retry", "error": error }));
    }

    #[test]
    fn what_was_stopped_is_not_settled_here() {
        assert!(Trouble::stopped().settle().is_err());
    }

    #[test]
    fn another_attempt_follows_only_where_it_helps_and_one_is_left() {
        let retry = Trouble::retry("command_failed", "it ended with 1");
        for (trouble, attempt, follows) in [
            (&retry, 1, true),
            (&retry, 2, true),
            (&retry, 3, false),
            (&Trouble::ttl_exceeded(), 1, false),
            (&Trouble::stopped(), 1, false),
        ] {
            assert_eq!(trouble.is_retried(&message(attempt)), follows, "{trouble:?}, {attempt}");
        }
    }

    fn message(attempt: i32) -> Message {
        let route: Route = "codegen/generate/0/acme".parse().unwrap();
        Message {
            id: 1.try_into().unwrap(),
            route: route.into(),
            project_id: None,
            trace: TraceId::mint(),
            traceparent: None,
            parent: None,
            ordering_key: None,
            attempt,
            max_attempts: 3,
            created_at: time::OffsetDateTime::now_utc(),
            payload: Box::default(),
        }
    }
}
