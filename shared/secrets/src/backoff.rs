use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use crate::Trouble;

/// What keeps failing, and is therefore left alone for a while: one broken reference must not use
/// up a quota that all share.
#[derive(Debug)]
pub(crate) struct Backoff {
    times: u32,
    until: Instant,
    last: Trouble,
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

impl Backoff {
    /// Failed once more, after `earlier`.
    pub(crate) fn after(earlier: Option<&Self>, last: Trouble, now: Instant) -> Self {
        let times = earlier.map_or(1, |earlier| earlier.times.saturating_add(1));
        let longest = LONGEST.min(FIRST.saturating_mul(1 << (times - 1).min(16)));
        // Many processes fail at the same moment; they should not all come back at the same one.
        let wait = longest.mul_f64(rand::rng().random_range(0.7..=1.0));
        Self { times, until: now + wait, last }
    }

    /// What happened last, and how long to leave it alone yet.
    pub(crate) fn holds(&self, now: Instant) -> Option<(&Trouble, Duration)> {
        let left = self.until.saturating_duration_since(now);
        (!left.is_zero()).then_some((&self.last, left))
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_failure_waits_longer_up_to_a_minute() {
        let mut backoff: Option<Backoff> = None;
        for longest in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let now = Instant::now();
            let next = Backoff::after(backoff.as_ref(), Trouble::Sealed, now);
            let (last, left) = next.holds(now).unwrap();
            let longest = Duration::from_secs(longest);
            assert_eq!(*last, Trouble::Sealed);
            assert!(left <= longest && left >= longest.mul_f64(0.69), "{left:?} of {longest:?}");
            tokio::time::advance(left).await;
            assert!(next.holds(Instant::now()).is_none(), "it is over");
            backoff = Some(next);
        }
        let often = Backoff { times: u32::MAX, ..backoff.unwrap() };
        Backoff::after(Some(&often), Trouble::Sealed, Instant::now());
    }
}
