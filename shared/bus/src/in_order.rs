use std::collections::{BTreeSet, VecDeque};

/// Where somebody who follows the events strictly in the order of their numbers has got to.
///
/// Numbers are given when a row is written, but rows become visible when their transactions commit,
/// in any order. Whoever resumes from a number must have seen everything below it, so an event is
/// handed out only when no smaller number can come any more: everything behind a hole is held back
/// until the hole is filled, or proven dead. A position reached this way is a complete prefix, and
/// means the same to every process, also to one that starts after it.
///
/// **Dead** is proven by locks. Whoever inserts locks the table first (`RowExclusiveLock`) and holds
/// that until its transaction has ended and is visible or gone. So those who can still fill a hole
/// below a visible number hold the lock when we look at `pg_locks` after the look that showed the
/// hole. Once none of them holds it any more, the next look shows all that they wrote: what is
/// missing there never comes. Nobody who began later can fill it, since numbers only grow. (It needs
/// a sequence without a cache, which would hand out old numbers late; a test watches over that.)
///
/// Unlike a wait for all older transactions ([`crate::Follow`]), this takes milliseconds after a
/// rollback, and is not held up by a long transaction that writes elsewhere.
#[derive(Clone, Debug)]
pub struct InOrder {
    place: Place,
    marks: VecDeque<Mark>,
    /// The last look showed what cannot be handed out yet.
    held: bool,
}

#[derive(Clone, Debug)]
enum Place {
    /// It has not looked yet.
    Unknown,
    /// It starts behind this number, as soon as nothing at or below it can come any more.
    Anchoring { high: i64, writers: BTreeSet<String> },
    /// Everything up to here was handed out or does not exist.
    At(i64),
}

/// No hole at or below `high` can be filled by anybody but these.
#[derive(Clone, Debug)]
struct Mark {
    high: i64,
    writers: BTreeSet<String>,
}

/// More holes than this are proven dead one after the other instead of side by side.
const MOST_MARKS: usize = 32;

/// A two-phase transaction gives its locks to nobody in particular when it is prepared.
const PREPARED: &str = "-1/";

impl InOrder {
    /// Starts at the present, which it has to find out first.
    pub fn from_now() -> Self {
        Self { place: Place::Unknown, marks: VecDeque::new(), held: false }
    }

    /// Everything up to `number` is known to be complete: it was handed out in order before.
    pub fn after(number: i64) -> Self {
        Self { place: Place::At(number), marks: VecDeque::new(), held: false }
    }

    /// Everything up to here is complete, and has been handed out since the start. `None` until the
    /// start is found.
    pub fn position(&self) -> Option<i64> {
        match self.place {
            Place::At(number) => Some(number),
            Place::Unknown | Place::Anchoring { .. } => None,
        }
    }

    /// Something is held back until others have ended, so look again soon, and at who is writing.
    pub fn waits(&self) -> bool {
        self.held || !matches!(self.place, Place::At(_))
    }

    /// Takes in what a look for the start showed: the highest number, and who was writing.
    pub(crate) fn anchor(&mut self, newest: i64, writing: &BTreeSet<String>) {
        let (high, writers) = match std::mem::replace(&mut self.place, Place::Unknown) {
            Place::Unknown => (newest, writing.clone()),
            Place::Anchoring { high, writers } => (high, still(&writers, writing)),
            Place::At(number) => (number, BTreeSet::new()),
        };
        self.place =
            if writers.is_empty() { Place::At(high) } else { Place::Anchoring { high, writers } };
    }

    /// Takes in the numbers that a look showed, ascending, from behind the position, and who was
    /// writing after it; says how many of them can be handed out. `cut` means that there are more
    /// than the look had room for.
    pub(crate) fn saw(
        &mut self,
        numbers: &[i64],
        cut: bool,
        writing: Option<&BTreeSet<String>>,
    ) -> usize {
        let Place::At(mut position) = self.place else { return 0 };
        // Cleared by an earlier look, so this one shows all that their writers wrote.
        let cleared = self.marks.iter().take_while(|mark| mark.writers.is_empty()).last();
        if let Some(mark) = cleared {
            let reach = if cut { numbers.last().copied().unwrap_or(position) } else { i64::MAX };
            position = position.max(mark.high.min(reach));
        }
        let mut ready = 0;
        for number in numbers {
            if *number > position + 1 {
                break;
            }
            position = position.max(*number);
            ready += 1;
        }
        self.place = Place::At(position);
        self.marks.retain(|mark| mark.high > position);
        let held = numbers[ready..].last();
        self.held = held.is_some();
        // Only asked for when something is held back: reading locks costs the whole server a little.
        if let Some(writing) = writing {
            for mark in &mut self.marks {
                mark.writers = still(&mark.writers, writing);
            }
            if let Some(high) = held {
                self.note(*high, writing);
            }
        }
        ready
    }

    /// Remembers who may still fill the holes before `high`: those who wrote after the look that
    /// showed it.
    fn note(&mut self, high: i64, writing: &BTreeSet<String>) {
        let known = self.marks.back().is_some_and(|mark| mark.high >= high);
        if !known && self.marks.len() < MOST_MARKS {
            self.marks.push_back(Mark { high, writers: writing.clone() });
        }
    }
}

/// Of those who were writing, who still is; and everybody prepared, since it may be one of them.
fn still(writers: &BTreeSet<String>, writing: &BTreeSet<String>) -> BTreeSet<String> {
    if writers.is_empty() {
        return BTreeSet::new();
    }
    let still = |one: &&String| writers.contains(*one) || one.starts_with(PREPARED);
    writing.iter().filter(still).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn these(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// What is handed out of a look at these numbers.
    fn look(order: &mut InOrder, numbers: &[i64], writing: &[&str]) -> Vec<i64> {
        let writing = order.waits().then(|| these(writing));
        let ready = order.saw(numbers, false, writing.as_ref());
        numbers[..ready].to_vec()
    }

    #[test]
    fn what_follows_without_a_hole_is_handed_out_at_once() {
        let mut order = InOrder::after(10);
        assert_eq!(look(&mut order, &[11, 12], &[]), [11, 12]);
        assert_eq!((order.position(), order.waits()), (Some(12), false));
        assert!(look(&mut order, &[], &[]).is_empty());
    }

    #[test]
    fn what_is_behind_a_hole_waits_until_it_is_filled() {
        let mut order = InOrder::after(10);
        assert_eq!(look(&mut order, &[11, 13], &["a"]), [11]);
        assert!(order.waits());
        assert!(look(&mut order, &[13, 14], &["a"]).is_empty());
        assert_eq!(look(&mut order, &[12, 13, 14], &[]), [12, 13, 14]);
        assert!(!order.waits());
    }

    #[test]
    fn a_hole_is_dead_in_the_look_after_its_last_writer_was_gone() {
        let mut order = InOrder::after(10);
        look(&mut order, &[12], &[]);
        assert!(look(&mut order, &[12], &["a", "b"]).is_empty(), "who writes is known from now on");
        assert!(look(&mut order, &[12], &["b", "new"]).is_empty());
        // It may have committed after this look and before we saw that it is gone.
        assert!(look(&mut order, &[12], &["new"]).is_empty());
        assert_eq!(look(&mut order, &[11, 12], &["new"]), [11, 12]);

        look(&mut order, &[14], &[]);
        look(&mut order, &[14], &[]);
        assert_eq!(look(&mut order, &[14], &["new"]), [14]);
        assert_eq!((order.position(), order.waits()), (Some(14), false));
    }

    #[test]
    fn whoever_is_prepared_may_be_the_writer_we_wait_for() {
        let mut order = InOrder::after(10);
        look(&mut order, &[12], &[]);
        look(&mut order, &[12], &["3/7"]);
        assert!(look(&mut order, &[12], &["-1/815"]).is_empty());
        assert!(look(&mut order, &[12], &["-1/815"]).is_empty());
        assert!(look(&mut order, &[12], &[]).is_empty());
        assert_eq!(look(&mut order, &[11, 12], &[]), [11, 12]);
    }

    #[test]
    fn a_start_is_found_when_all_who_were_writing_have_ended() {
        let mut order = InOrder::from_now();
        order.anchor(20, &these(&["a"]));
        assert_eq!((order.position(), order.waits()), (None, true));
        order.anchor(25, &these(&["a", "b"]));
        assert_eq!(order.position(), None);
        order.anchor(30, &these(&["b"]));
        assert_eq!((order.position(), order.waits()), (Some(20), false));
    }

    #[test]
    fn a_look_that_was_cut_short_says_nothing_of_what_it_did_not_reach() {
        let mut order = InOrder::after(0);
        look(&mut order, &[1, 9], &[]);
        look(&mut order, &[9], &[]);
        // 9 is settled, but this look ended before it.
        assert_eq!(order.saw(&[3, 5], true, Some(&these(&[]))), 2);
        assert_eq!(order.position(), Some(5));
        assert_eq!(look(&mut order, &[9, 10], &[]), [9, 10]);
    }

    /// A world of transactions: each takes numbers, and ends some looks later.
    #[derive(Clone, Debug)]
    enum Step {
        Begin,
        Write(usize),
        Commit(usize),
        Rollback(usize),
        Look { limit: usize, between: usize },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            2 => Just(Step::Begin),
            4 => (0..8usize).prop_map(Step::Write),
            2 => (0..8usize).prop_map(Step::Commit),
            1 => (0..8usize).prop_map(Step::Rollback),
            4 => (1..6usize, 0..3usize).prop_map(|(limit, between)| Step::Look { limit, between }),
        ];
        proptest::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn whatever_the_writers_do_each_committed_number_comes_once_and_in_order(steps in steps()) {
            let mut next = 1;
            let mut names = 0;
            let mut open: Vec<(String, Vec<i64>)> = Vec::new();
            let mut committed = BTreeSet::new();
            let mut order = InOrder::after(0);
            let mut seen: Vec<i64> = Vec::new();
            let look = |order: &mut InOrder, seen: &mut Vec<i64>, committed: &BTreeSet<i64>,
                        writing: &BTreeSet<String>, limit: usize| {
                let from = order.position().unwrap() + 1;
                let numbers: Vec<i64> = committed.range(from..).take(limit).copied().collect();
                let cut = numbers.len() == limit;
                let asked = order.waits().then_some(writing);
                let ready = order.saw(&numbers, cut, asked);
                seen.extend(&numbers[..ready]);
            };
            for step in steps {
                match step {
                    Step::Begin => {
                        names += 1;
                        open.push((format!("{names}/1"), Vec::new()));
                    }
                    Step::Write(which) if !open.is_empty() => {
                        let which = which % open.len();
                        open[which].1.push(next);
                        next += 1;
                    }
                    Step::Commit(which) if !open.is_empty() => {
                        let (_, numbers) = open.remove(which % open.len());
                        committed.extend(numbers);
                    }
                    Step::Rollback(which) if !open.is_empty() => {
                        open.remove(which % open.len());
                    }
                    Step::Look { limit, between } => {
                        // Commits between the snapshot and the reading of the locks.
                        let snapshot = committed.clone();
                        for _ in 0..between.min(open.len()) {
                            committed.extend(open.remove(0).1);
                        }
                        let writing = open.iter().filter(|one| !one.1.is_empty());
                        let writing = writing.map(|one| one.0.clone()).collect();
                        look(&mut order, &mut seen, &snapshot, &writing, limit);
                    }
                    Step::Write(_) | Step::Commit(_) | Step::Rollback(_) => {}
                }
            }
            // When all have ended, nothing is held back for long.
            for _ in 0..committed.len() + 4 {
                look(&mut order, &mut seen, &committed, &BTreeSet::new(), 5);
            }
            let all: Vec<i64> = committed.into_iter().collect();
            prop_assert_eq!(seen, all);
        }
    }
}
