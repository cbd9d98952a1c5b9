use std::mem::discriminant;
use std::sync::Arc;

use super::down::{Trouble, chain};

/// How the connection is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub link: Link,
    /// How often the connection was opened again after the first time.
    pub reconnects: u64,
    /// How often a channel became ready again after the first time.
    pub rejoins: u64,
    /// How many channels are joined, and how many of them hear everything.
    pub channels: usize,
    pub ready: usize,
}

#[derive(Clone, Debug, Default)]
pub enum Link {
    /// No channel was joined yet.
    #[default]
    Idle,
    Connecting,
    Open,
    /// Until it is open again; it is tried all the time.
    Down {
        why: Arc<Trouble>,
    },
    /// [`Realtime::close`](super::Realtime::close) was called.
    Closed,
}

impl Link {
    /// A word or a line for people.
    pub fn told(&self) -> String {
        match self {
            Self::Idle => "idle".to_owned(),
            Self::Connecting => "connecting".to_owned(),
            Self::Open => "open".to_owned(),
            Self::Down { why } => format!("down: {}", chain(&**why)),
            Self::Closed => "closed".to_owned(),
        }
    }
}

impl Status {
    pub(crate) fn is_the_same(&self, other: &Self) -> bool {
        let same_link = match (&self.link, &other.link) {
            (Link::Down { why }, Link::Down { why: other }) => Arc::ptr_eq(why, other),
            (link, other) => discriminant(link) == discriminant(other),
        };
        let counts =
            |status: &Self| (status.reconnects, status.rejoins, status.channels, status.ready);
        same_link && counts(self) == counts(other)
    }
}
