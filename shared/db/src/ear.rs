use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use realtime::{
    Broadcast, ChangeEvent, ChangeFilter, Channel, Happening, InvalidJoin, JoinOptions, Payload,
    Realtime,
};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::bell::{Bell, Heard, Rang};

/// What is heard over Realtime.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// What the database broadcasts on a private topic.
    Broadcasts(String),
    /// Rows that are inserted, as `postgres_changes` tells them: later, and fewer a second.
    Inserts { schema: &'static str, table: &'static str, filter: String },
}

/// Somebody's ear at Realtime, for some topics. Connects again for ever, whatever happens.
#[derive(Debug)]
pub struct Ear {
    bell: Arc<Bell>,
    topics: Vec<Arc<Open>>,
}

/// The topics of one process, which all go over one connection. Several ears share a topic: the
/// server keeps one of a name for each connection.
#[derive(Debug)]
pub(crate) struct Hub {
    realtime: Realtime,
    open: Mutex<HashMap<String, Weak<Open>>>,
}

/// A topic that somebody listens to; left when the last ear is dropped.
#[derive(Debug)]
struct Open {
    state: Arc<State>,
    _listening: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    ready: AtomicBool,
    bells: Mutex<Vec<Weak<Bell>>>,
}

impl Hub {
    pub(crate) fn new(realtime: Realtime) -> Self {
        Self { realtime, open: Mutex::default() }
    }

    pub(crate) fn ear(&self, topics: &[Topic]) -> Ear {
        let bell = Arc::new(Bell::default());
        let topics = topics.iter().map(|topic| self.open(topic, &bell)).collect();
        Ear { bell, topics }
    }

    fn open(&self, topic: &Topic, bell: &Arc<Bell>) -> Arc<Open> {
        let name = topic.name();
        let mut known = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, open| open.strong_count() > 0);
        if let Some(open) = known.get(&name).and_then(Weak::upgrade) {
            open.state.add(bell);
            return open;
        }
        let state = Arc::new(State::default());
        state.add(bell);
        let mut listening = JoinSet::new();
        listening.spawn(listen(self.realtime.clone(), topic.clone(), state.clone()));
        let open = Arc::new(Open { state, _listening: listening });
        known.insert(name, Arc::downgrade(&open));
        open
    }
}

impl Ear {
    /// Waits until something rings, and tells all that rang since the last call. Nothing is lost
    /// when the caller stops waiting. Says that everything rang whenever a topic is heard (again):
    /// what happened before was missed.
    pub async fn notified(&self) -> Heard {
        loop {
            if let Some(heard) = self.bell.take() {
                return heard;
            }
            self.bell.notify.notified().await;
        }
    }

    /// Whether every topic is heard at this moment, as far as we know.
    pub fn is_ready(&self) -> bool {
        self.topics.iter().all(|topic| topic.state.ready.load(Ordering::Relaxed))
    }
}

async fn listen(realtime: Realtime, topic: Topic, state: Arc<State>) {
    let name = topic.name();
    let mut channel = join(&realtime, &topic).await;
    while let Some(happening) = channel.next().await {
        match happening {
            Happening::Ready => {
                state.ready.store(true, Ordering::Relaxed);
                state.each(Bell::ring_everything);
            }
            // The connection itself says why.
            Happening::Down { .. } => state.ready.store(false, Ordering::Relaxed),
            Happening::Missed(_) => state.each(Bell::ring_everything),
            Happening::Broadcast(Broadcast { payload, .. }) => {
                let payload = match payload {
                    Payload::Json(text) => text.get().to_owned(),
                    Payload::Binary(_) => String::new(),
                };
                let rang = Rang { channel: name.clone(), payload };
                state.each(|bell| bell.ring(rang.clone()));
            }
            Happening::Change(_) => {
                let rang = Rang { channel: name.clone(), payload: String::new() };
                state.each(|bell| bell.ring(rang.clone()));
            }
        }
    }
}

/// The last one who listened may be just leaving.
const LEAVING: Duration = Duration::from_millis(20);

async fn join(realtime: &Realtime, topic: &Topic) -> Channel {
    loop {
        match realtime.join(&topic.name(), topic.options()) {
            Ok(channel) => return channel,
            Err(InvalidJoin::Twice(_)) => sleep(LEAVING).await,
            Err(error) => panic!("a topic of ours can be joined: {error}"),
        }
    }
}

impl State {
    fn add(&self, bell: &Arc<Bell>) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|bell| bell.strong_count() > 0);
        bells.push(Arc::downgrade(bell));
    }

    fn each(&self, ring: impl Fn(&Bell)) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.iter().filter_map(Weak::upgrade).for_each(|bell| ring(&bell));
    }
}

impl Topic {
    /// As it comes back in [`Rang::channel`].
    pub fn name(&self) -> String {
        match self {
            Self::Broadcasts(topic) => topic.clone(),
            Self::Inserts { schema, table, filter } => format!("{schema}.{table}:{filter}"),
        }
    }

    fn options(&self) -> JoinOptions {
        match self {
            Self::Broadcasts(_) => {
                JoinOptions { private: true, replication_ready: true, ..JoinOptions::default() }
            }
            Self::Inserts { schema, table, filter } => JoinOptions {
                postgres_changes: vec![ChangeFilter {
                    event: ChangeEvent::Insert,
                    schema: (*schema).to_owned(),
                    table: Some((*table).to_owned()),
                    filter: Some(filter.clone()),
                    select: vec!["id".to_owned()],
                }],
                ..JoinOptions::default()
            },
        }
    }
}
