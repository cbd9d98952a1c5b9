use std::collections::HashSet;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::heard::Heard;
use super::join::{InvalidJoin, JoinOptions};

/// What the holders of channels ask of the connection. No queue between them: asking never waits
/// and is never refused for want of room, so that dropping a channel always leaves it.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    wanted: Mutex<Wanted>,
    pub(crate) bell: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    /// The server keeps one channel per topic and connection.
    topics: HashSet<String>,
    asked: Vec<Asked>,
    closed: bool,
}

#[derive(Debug)]
pub(crate) enum Asked {
    Join { topic: String, options: JoinOptions, heard: Arc<Heard> },
    Leave { topic: String },
}

impl Roster {
    pub(crate) fn join(
        &self,
        topic: &str,
        options: JoinOptions,
        heard: Arc<Heard>,
    ) -> Result<(), InvalidJoin> {
        let mut wanted = self.wanted();
        if !wanted.topics.insert(topic.to_owned()) {
            return Err(InvalidJoin::Twice(topic.to_owned()));
        }
        if wanted.closed {
            heard.close();
        } else {
            wanted.asked.push(Asked::Join { topic: topic.to_owned(), options, heard });
        }
        drop(wanted);
        self.bell.notify_one();
        Ok(())
    }

    pub(crate) fn leave(&self, topic: &str) {
        let mut wanted = self.wanted();
        wanted.topics.remove(topic);
        if !wanted.closed {
            wanted.asked.push(Asked::Leave { topic: topic.to_owned() });
        }
        drop(wanted);
        self.bell.notify_one();
    }

    /// What was asked since the last call, in its order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        take(&mut self.wanted().asked)
    }

    /// Nobody will do what is asked from now on.
    pub(crate) fn close(&self) {
        let mut wanted = self.wanted();
        wanted.closed = true;
        for asked in wanted.asked.drain(..) {
            if let Asked::Join { heard, .. } = asked {
                heard.close();
            }
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        // Nothing in here panics half-way.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
