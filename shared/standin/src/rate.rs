use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::settings::Rate;

/// Counts messages, to know whether there are too many of them.
#[derive(Debug)]
pub(crate) struct Meter {
    rate: Option<Rate>,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// How many in which part of the window, the oldest first.
    parts: VecDeque<(Instant, u64)>,
    sum: u64,
}

/// A window is forgotten piece by piece.
const PARTS: u32 = 60;

impl Meter {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self { rate, counted: Mutex::default() }
    }

    pub(crate) fn count(&self, messages: u64) {
        let Some(rate) = self.rate else { return };
        let now = Instant::now();
        let mut counted = self.counted(now, rate);
        counted.sum += messages;
        match counted.parts.back_mut() {
            Some((since, count)) if now - *since < rate.over / PARTS => *count += messages,
            _ => counted.parts.push_back((now, messages)),
        }
    }

    /// Whether the average over the window is above the limit.
    pub(crate) fn exceeded(&self) -> bool {
        let Some(rate) = self.rate else { return false };
        let allowed = f64::from(rate.per_second) * rate.over.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let sum = self.counted(Instant::now(), rate).sum as f64;
        sum >= allowed
    }

    fn counted(&self, now: Instant, rate: Rate) -> std::sync::MutexGuard<'_, Counted> {
        // Between two statements it is off by one part at most, which is no harm.
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((since, count)) = counted.parts.front().copied() {
            if now - since < rate.over {
                break;
            }
            counted.parts.pop_front();
            counted.sum -= count;
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_burst_may_use_up_the_minute_and_then_has_to_wait() {
        let meter = Meter::new(Some(Rate { per_second: 2, over: Duration::from_secs(60) }));
        meter.count(119);
        assert!(!meter.exceeded());
        tokio::time::advance(Duration::from_secs(30)).await;
        meter.count(1);
        assert!(meter.exceeded());
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(!meter.exceeded());
        meter.count(119);
        assert!(meter.exceeded());
    }

    #[test]
    fn without_a_limit_nothing_is_too_much() {
        let meter = Meter::new(None);
        meter.count(u64::MAX);
        assert!(!meter.exceeded());
    }
}
