use std::error::Error;
use std::time::Duration;

use bus::Settle;
use telemetry::Chain;

/// Why a handler did not finish its message, and whether another attempt would help.
#[derive(Debug)]
// Boxed, so that a handler's `Result` stays small.
pub struct Failure(Box<Settle>);

impl Failure {
    /// Worth another attempt, after the route's backoff.
    pub fn retry(why: impl Into<String>) -> Self {
        Self(Box::new(Settle::retry(why)))
    }

    pub fn retry_after(wait: Duration, why: impl Into<String>) -> Self {
        Self(Box::new(Settle::retry(why).after(wait)))
    }

    /// No attempt would help: to the dead letters, with a reason code such as `payload_invalid`.
    pub fn fatal(reason: impl Into<String>, why: impl Into<String>) -> Self {
        Self(Box::new(Settle::fail(reason, why)))
    }

    pub(crate) fn settle(self) -> Settle {
        *self.0
    }
}

/// An error that says nothing else is worth another attempt.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(Chain(&error).to_string())
    }
}
