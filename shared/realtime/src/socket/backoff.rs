use std::time::Duration;

/// How long to wait before the next try: twice as long after each failure, up to a cap, and by
/// chance shorter, so that a fleet that lost its server does not return in one moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, cap: Duration) -> Self {
        // Zero would turn trying again into a spin.
        let first = first.max(Duration::from_millis(1));
        Self { first, cap: cap.max(first), failures: 0 }
    }

    pub(crate) fn failed(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.cap).mul_f64(rand::random_range(0.25..=1.0))
    }

    pub(crate) fn recovered(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_longer_than_the_last_and_none_is_nothing() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
        for longest in [1, 2, 4, 8, 16, 20, 20, 20] {
            let longest = Duration::from_secs(longest);
            let wait = backoff.failed();
            assert!(wait <= longest && wait >= longest / 4, "{wait:?} of {longest:?}");
        }
        backoff.failures = u32::MAX;
        assert!(backoff.failed() <= Duration::from_secs(20));
        backoff.recovered();
        assert!(backoff.failed() <= Duration::from_secs(1));
        assert!(!Backoff::new(Duration::ZERO, Duration::ZERO).failed().is_zero());
    }
}
