use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::MessageId;

/// Where we left off in each lane. A claim that starts there does not walk over the dead rows of
/// what was claimed before, which is what makes queues slow while vacuum is held back.
pub(crate) struct Cursor {
    after: HashMap<i32, i64>,
    /// Where the next claim looks.
    from_the_start: bool,
    looked_from_the_start: Instant,
    look_again_after: Duration,
}

/// Behind what a claim looks; nothing is from the start.
pub(crate) struct Position {
    pub(crate) lanes: Option<Vec<i32>>,
    pub(crate) after: Option<Vec<i64>>,
}

/// A message with a lower id may appear later (its transaction was slower, or it is tried again):
/// it waits this long, or longer where a look from the start is slow; a tenth of our time at most
/// goes into those.
const LOOK_FROM_THE_START: Duration = Duration::from_millis(200);
/// More than this are not worth sending along: each costs a claim a comparison.
const MOST_LANES: usize = 1_000;

impl Cursor {
    pub(crate) fn new() -> Self {
        Self {
            after: HashMap::new(),
            from_the_start: true,
            looked_from_the_start: Instant::now(),
            look_again_after: LOOK_FROM_THE_START,
        }
    }

    /// Before sleeping: what is there may lie anywhere.
    pub(crate) fn start_over(&mut self) {
        self.from_the_start = true;
    }

    /// Whoever was rung looks behind the cursor first, since that is where new messages are; unless
    /// it finds as many as it asked for, it looks from the start right afterwards.
    pub(crate) fn position(&mut self, rung: bool) -> Position {
        let overdue = self.looked_from_the_start.elapsed() >= self.look_again_after;
        if self.after.is_empty() || (!rung && (self.from_the_start || overdue)) {
            return Position { lanes: None, after: None };
        }
        let (lanes, after) = self.after.iter().unzip();
        Position { lanes: Some(lanes), after: Some(after) }
    }

    pub(crate) fn advance(
        &mut self,
        limit: usize,
        from_the_start: Option<Duration>,
        taken: impl ExactSizeIterator<Item = (i32, MessageId)>,
    ) {
        if let Some(took) = from_the_start {
            self.looked_from_the_start = Instant::now();
            self.look_again_after = LOOK_FROM_THE_START.max(took * 9);
        }
        // It came back short: whatever is left lies before the cursor, or nowhere.
        self.from_the_start = taken.len() < limit;
        for (lane, id) in taken {
            let after = self.after.entry(lane).or_default();
            *after = (*after).max(id.get());
        }
        if self.after.len() > MOST_LANES {
            self.after.clear();
        }
    }
}
