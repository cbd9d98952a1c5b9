use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::api_error::ApiError;
use crate::settings::HttpSettings;

/// How many requests each caller may make, in this process.
pub(crate) struct Rates {
    limiter: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
    checked: AtomicU32,
}

/// Callers that have been silent are forgotten after so many requests of others.
const FORGET_EVERY: u32 = 4096;

impl Rates {
    pub(crate) fn new(settings: &HttpSettings) -> Self {
        let quota =
            Quota::per_second(settings.rate_per_caller).allow_burst(settings.burst_per_caller);
        Self {
            limiter: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            checked: AtomicU32::new(0),
        }
    }

    pub(crate) fn check(&self, caller: &str) -> Result<(), ApiError> {
        if self.checked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&caller.to_owned()).map_err(|wait| {
            ApiError::too_many(
                "rate_exceeded",
                "this caller makes more requests than it may",
                "wait as long as `Retry-After` says; RATE_PER_CALLER is the limit",
                wait.wait_time_from(self.clock.now()),
            )
        })
    }
}
