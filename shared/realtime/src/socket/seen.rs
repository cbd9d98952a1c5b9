use std::collections::{HashSet, VecDeque};

/// A replay tells at most 25 broadcasts again; this many more may have come in between.
const REMEMBERED: usize = 1024;
/// The database's ids are UUIDs. A longer one is somebody's invention and not worth the memory.
const LONGEST: usize = 64;

/// The ids of the last broadcasts, so that one that is replayed is told once.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Whether this id is new.
    pub(crate) fn first_time(&mut self, id: &str) -> bool {
        if id.len() > LONGEST {
            return true;
        }
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED {
            let oldest = self.order.pop_front().expect("it was just pushed to");
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_and_memory_is_bounded() {
        let mut seen = Seen::default();
        assert!(seen.first_time("a"));
        assert!(!seen.first_time("a"));
        for number in 0..REMEMBERED {
            assert!(seen.first_time(&number.to_string()));
        }
        assert_eq!((seen.ids.len(), seen.order.len()), (REMEMBERED, REMEMBERED));
        assert!(seen.first_time("a"), "what was forgotten is new again");
        let long = "x".repeat(LONGEST + 1);
        assert!(seen.first_time(&long) && seen.first_time(&long));
        assert_eq!(seen.ids.len(), REMEMBERED);
    }
}
