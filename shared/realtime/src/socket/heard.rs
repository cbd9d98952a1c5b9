use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::change::Change;
use super::down::Down;
use super::frame::Broadcast;

/// What a channel has to tell.
#[derive(Clone, Debug)]
pub enum Happening {
    /// From now on everything is heard. Also after each rejoin: what happened since `Down` may have
    /// been missed, so look for yourself.
    Ready,
    /// Nothing is heard until the next `Ready`. Told again only when the reason changes.
    Down {
        why: Arc<Down>,
    },
    Broadcast(Broadcast),
    Change(Box<Change>),
    /// So many broadcasts and changes were dropped because nobody asked for them in time.
    Missed(u64),
}

/// The way from the connection to whoever reads a channel. Never makes the connection wait: what
/// does not fit is counted and dropped.
#[derive(Debug)]
pub(crate) struct Heard {
    queue: Mutex<Queue>,
    notify: Notify,
    most: usize,
    most_bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Happening>,
    bytes: usize,
    closed: bool,
}

impl Heard {
    pub(crate) fn new(most: usize, most_bytes: usize) -> Self {
        Self { queue: Mutex::default(), notify: Notify::new(), most: most.max(1), most_bytes }
    }

    pub(crate) fn tell(&self, happening: Happening) {
        self.queue().push(happening, self.most, self.most_bytes);
        self.notify.notify_one();
    }

    /// There will be nothing more.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.notify.notify_one();
    }

    pub(crate) async fn next(&self) -> Option<Happening> {
        loop {
            // Asked first: what was told before the end is told.
            let closed = self.queue().closed;
            if let Some(happening) = self.try_next() {
                return Some(happening);
            }
            if closed {
                return None;
            }
            self.notify.notified().await;
        }
    }

    pub(crate) fn try_next(&self) -> Option<Happening> {
        let mut queue = self.queue();
        let happening = queue.waiting.pop_front()?;
        queue.bytes -= size(&happening);
        Some(happening)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A queue is whole whenever the lock is free.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// At most `most` happenings, one count of the missed, and one of up and down.
    fn push(&mut self, happening: Happening, most: usize, most_bytes: usize) {
        let full = self.waiting.len() >= most;
        match &happening {
            Happening::Ready | Happening::Down { .. } => {
                // Only the last of them is still true.
                if let Some(Happening::Ready | Happening::Down { .. }) = self.waiting.back() {
                    self.waiting.pop_back();
                } else if full && let Some(stale) = self.beyond(most, is_state) {
                    self.waiting.remove(stale);
                }
            }
            Happening::Broadcast(_) | Happening::Change(_) | Happening::Missed(_) => {
                let size = size(&happening);
                // One that is larger than all the room is still taken when there is nothing else.
                let heavy = self.bytes > 0 && self.bytes + size > most_bytes;
                if full || heavy {
                    self.miss(most);
                    return;
                }
                self.bytes += size;
            }
        }
        self.waiting.push_back(happening);
    }

    fn miss(&mut self, most: usize) {
        if let Some(Happening::Missed(count)) = self.waiting.back_mut() {
            *count += 1;
            return;
        }
        if let Some(at) = self.beyond(most, |told| matches!(told, Happening::Missed(_)))
            && let Happening::Missed(count) = &mut self.waiting[at]
        {
            *count += 1;
            return;
        }
        self.waiting.push_back(Happening::Missed(1));
    }

    fn beyond(&self, most: usize, is: fn(&Happening) -> bool) -> Option<usize> {
        (most..self.waiting.len()).rev().find(|&at| is(&self.waiting[at]))
    }
}

fn is_state(happening: &Happening) -> bool {
    matches!(happening, Happening::Ready | Happening::Down { .. })
}

fn size(happening: &Happening) -> usize {
    match happening {
        Happening::Broadcast(broadcast) => broadcast.payload.len(),
        Happening::Change(change) => change.size(),
        Happening::Ready | Happening::Down { .. } | Happening::Missed(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::frame::Payload;
    use proptest::prelude::*;

    fn broadcast(bytes: usize) -> Happening {
        let payload = Payload::Binary(vec![0; bytes]);
        Happening::Broadcast(Broadcast { event: String::new(), payload, id: None, replayed: false })
    }

    fn down() -> Happening {
        Happening::Down { why: Arc::new(Down::Crashed { topic: "t".to_owned() }) }
    }

    fn letters(queue: &Queue) -> String {
        let letter = |happening: &Happening| match happening {
            Happening::Ready => "R".to_owned(),
            Happening::Down { .. } => "D".to_owned(),
            Happening::Broadcast(_) | Happening::Change(_) => "b".to_owned(),
            Happening::Missed(count) => count.to_string(),
        };
        queue.waiting.iter().map(letter).collect()
    }

    #[test]
    fn what_does_not_fit_is_counted_where_it_is_missing() {
        for (pushed, left) in [
            ("RbbD", "RbbD"),
            ("RbbbDR", "Rbb1R"),
            ("RbbbbbDbR", "Rbb4R"),
            ("RD", "D"),
            ("DRDR", "R"),
            ("bbbbD", "bbb1D"),
        ] {
            let mut queue = Queue::default();
            for letter in pushed.chars() {
                let happening = match letter {
                    'R' => Happening::Ready,
                    'D' => down(),
                    _ => broadcast(1),
                };
                queue.push(happening, 3, 100);
            }
            assert_eq!(letters(&queue), left, "{pushed}");
        }
    }

    #[test]
    fn bytes_are_bounded_but_one_always_fits() {
        let mut queue = Queue::default();
        queue.push(broadcast(1000), 10, 100);
        queue.push(broadcast(1), 10, 100);
        assert_eq!(letters(&queue), "b1");
    }

    proptest! {
        #[test]
        fn whatever_comes_the_queue_stays_small_and_nothing_goes_uncounted(
            pushed in proptest::collection::vec(0_u8..4, 0..200),
        ) {
            let heard = Heard::new(5, 40);
            let mut sent = 0;
            let mut taken = 0;
            for action in pushed {
                match action {
                    0 => heard.tell(Happening::Ready),
                    1 => heard.tell(down()),
                    2 => {
                        heard.tell(broadcast(9));
                        sent += 1;
                    }
                    _ => {
                        taken += heard.try_next().as_ref().map_or(0, told);
                    }
                }
                prop_assert!(heard.queue().waiting.len() <= 5 + 2);
            }
            taken += heard.queue().waiting.iter().map(told).sum::<u64>();
            prop_assert_eq!(taken, sent);
        }
    }

    fn told(happening: &Happening) -> u64 {
        match happening {
            Happening::Broadcast(_) | Happening::Change(_) => 1,
            Happening::Missed(count) => *count,
            Happening::Ready | Happening::Down { .. } => 0,
        }
    }
}
