use std::error::Error;

use telemetry::Chain;

/// Why nothing was made.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// A code, as in `budget_exceeded`.
    pub(crate) reason: &'static str,
    pub(crate) what: String,
    pub(crate) next: Next,
}

/// What becomes of the message then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another attempt may end differently.
    Retry,
    /// No attempt would.
    Fail,
    /// It is not wanted any more.
    Stopped,
}

impl Trouble {
    pub(crate) fn fail(reason: &'static str, what: impl Into<String>) -> Self {
        Self { reason, what: what.into(), next: Next::Fail }
    }

    pub(crate) fn retry(reason: &'static str, what: impl Into<String>) -> Self {
        Self { reason, what: what.into(), next: Next::Retry }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::fail("payload_invalid", what)
    }

    pub(crate) fn retry_after(reason: &'static str, error: &(dyn Error + 'static)) -> Self {
        Self::retry(reason, Chain(error).to_string())
    }

    pub(crate) fn ttl_exceeded() -> Self {
        Self::fail("ttl_exceeded", "the time that the assignment gives (ttl_ms) is over")
    }

    pub(crate) fn stopped() -> Self {
        Self { reason: "stopped", what: "it was told to stop".to_owned(), next: Next::Stopped }
    }
}
