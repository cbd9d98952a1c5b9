use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Where somebody who follows a table by its numbers has got to.
///
/// Numbers are given when a row is written, but rows become visible when their transactions commit,
/// in any order: whoever only asks for "after the highest I saw" loses the slower ones. So numbers
/// that were skipped are remembered as gaps and asked for again, until no transaction that might
/// still fill them can be running: first [`SETTLING`], in which a transaction that had its number
/// but not yet an id of its own gets one, then until all that ran at the end of that time have
/// ended (`pg_snapshot_xmin`). Rows that were rolled back leave a gap that ends the same way.
///
/// Comparing the rows' own `xmin` with the last snapshot instead would be shorter and wrong: a row
/// that was written inside a PL/pgSQL exception block carries a subtransaction's id, about which
/// snapshots say nothing.
#[derive(Clone, Debug)]
pub struct Follow {
    pub(crate) high: i64,
    gaps: Vec<Gaps>,
    /// How far to look back when starting.
    pub(crate) started: bool,
}

#[derive(Clone, Debug)]
struct Gaps {
    numbers: BTreeSet<i64>,
    noted_at: Instant,
    /// When no transaction older than this runs, nobody can fill them any more.
    fence: Option<i64>,
}

/// Between taking a number and getting an id, a transaction executes a few lines of C; this is a
/// thousand times longer.
const SETTLING: Duration = Duration::from_secs(1);

/// A restored backup or a `setval` may skip millions, none of which will ever come.
const WIDEST_GAP: i64 = 100_000;

impl Follow {
    /// Starts at the present.
    pub fn new() -> Self {
        Self { high: 0, gaps: Vec::new(), started: false }
    }

    /// The numbers to ask for again.
    pub(crate) fn skipped(&self) -> Vec<i64> {
        self.gaps.iter().flat_map(|gaps| gaps.numbers.iter().copied()).collect()
    }

    /// Takes in the numbers that an answer had, in ascending order, and the transactions that ran
    /// when it was given: the oldest that did, and the next one to come.
    pub(crate) fn saw(&mut self, now: Instant, numbers: &[i64], oldest_running: i64, next: i64) {
        for gaps in &mut self.gaps {
            for number in numbers {
                gaps.numbers.remove(number);
            }
        }
        self.gaps.retain_mut(|gaps| {
            if gaps.fence.is_none() && now - gaps.noted_at >= SETTLING {
                gaps.fence = Some(next);
            }
            let over = gaps.fence.is_some_and(|fence| oldest_running >= fence);
            !over && !gaps.numbers.is_empty()
        });
        let mut skipped = BTreeSet::new();
        for number in numbers {
            if *number > self.high {
                if number - self.high <= WIDEST_GAP {
                    skipped.extend(self.high + 1..*number);
                }
                self.high = *number;
            }
        }
        if !skipped.is_empty() {
            self.gaps.push(Gaps { numbers: skipped, noted_at: now, fence: None });
        }
    }
}

impl Default for Follow {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following(high: i64) -> Follow {
        Follow { high, started: true, ..Follow::new() }
    }

    #[test]
    fn a_number_that_was_skipped_is_asked_for_until_it_comes() {
        let mut follow = following(10);
        let now = Instant::now();
        follow.saw(now, &[11, 14], 5, 9);
        assert_eq!((follow.high, follow.skipped()), (14, vec![12, 13]));
        follow.saw(now, &[12], 5, 9);
        assert_eq!(follow.skipped(), [13]);
        follow.saw(now, &[13, 15], 5, 9);
        assert_eq!((follow.high, follow.skipped()), (15, vec![]));
    }

    #[test]
    fn a_gap_is_given_up_when_all_who_could_fill_it_have_ended() {
        let mut follow = following(10);
        let now = Instant::now();
        follow.saw(now, &[12], 5, 9);
        // All that ran then have ended, but somebody may just have taken the number.
        follow.saw(now, &[], 9, 9);
        assert_eq!(follow.skipped(), [11]);
        let later = now + SETTLING;
        follow.saw(later, &[], 9, 20);
        assert_eq!(follow.skipped(), [11], "whoever runs now may still fill it");
        follow.saw(later, &[], 19, 25);
        assert_eq!(follow.skipped(), [11]);
        follow.saw(later, &[], 20, 25);
        assert!(follow.skipped().is_empty());
    }

    #[test]
    fn a_leap_of_the_sequence_is_not_waited_for() {
        let mut follow = following(10);
        follow.saw(Instant::now(), &[50_000_000], 5, 9);
        assert_eq!((follow.high, follow.skipped()), (50_000_000, vec![]));
    }
}
