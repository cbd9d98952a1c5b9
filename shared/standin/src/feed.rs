use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db::{Commit, DbError, Session, Statement, Type};
use telemetry::Chain;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use crate::binding::Binding;
use crate::changes::Batch;
use crate::counts::add;
use crate::identity::Identity;
use crate::pgoutput::Unreadable;
use crate::place::Place;
use crate::server::Server;

/// Reads the write-ahead log and finds whoever wants to know, but only while somebody does: a slot
/// that nobody reads keeps the log from being removed.
#[derive(Debug)]
pub(crate) struct Feed {
    subscriptions: Mutex<Subscriptions>,
    wanted: watch::Sender<Demand>,
    state: watch::Sender<State>,
}

/// A slot lives as long as somebody wants it without a pause; each such time has its own number, so
/// that nobody takes the end of one for the beginning of the next.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    count: usize,
    number: u64,
}

#[derive(Default)]
struct Subscriptions {
    all: HashMap<u64, Arc<Subscription>>,
    next: u64,
}

impl std::fmt::Debug for Subscriptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} subscriptions", self.all.len())
    }
}

/// Who wants to know of which changes.
pub(crate) struct Subscription {
    pub(crate) place: Place,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) who: watch::Receiver<Arc<Identity>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody wants to know, or it is being started.
    Off,
    /// What is committed from now on is told.
    Ready,
    Failed(String),
}

/// Dropping it unsubscribes.
pub(crate) struct Subscribed {
    feed: Arc<Feed>,
    number: u64,
}

/// Dropping it means that one less wants to know.
pub(crate) struct Wanted(Arc<Feed>);

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(
        "wal_level is `{0}`, and changes can be read only with `logical`: run alter system set \
         wal_level = 'logical' and restart Postgres"
    )]
    WalLevel(String),
    #[error("could not read changes from the database")]
    Database(#[from] DbError),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// As often as the real server looks, at best.
const POLL: Duration = Duration::from_millis(100);
const AGAIN: Duration = Duration::from_secs(1);

static WAL_LEVEL: Statement =
    Statement { name: "standin.wal_level", sql: "select current_setting('wal_level')", types: &[] };

static MAKE_SLOT: Statement = Statement {
    name: "standin.make_slot",
    sql: "select from pg_create_logical_replication_slot($1, 'pgoutput', true)",
    types: &[Type::NAME],
};

/// Whole transactions, until there are so many rows.
static READ: Statement = Statement {
    name: "standin.read_changes",
    sql: "select data from pg_logical_slot_get_binary_changes(
              $1, null, 1000, 'proto_version', '1', 'publication_names', 'supabase_realtime')",
    types: &[Type::NAME],
};

impl Default for Feed {
    fn default() -> Self {
        Self {
            subscriptions: Mutex::default(),
            wanted: watch::Sender::new(Demand::default()),
            state: watch::Sender::new(State::Off),
        }
    }
}

/// For ever.
pub(crate) async fn feed(server: Arc<Server>) {
    let feed = &server.feed;
    let mut wanted = feed.wanted.subscribe();
    loop {
        let Ok(demand) = wanted.wait_for(|demand| demand.count > 0).await.map(|demand| *demand)
        else {
            return;
        };
        let ended = tokio::select! {
            broken = read(&server, demand) => Some(broken),
            _ = wanted.wait_for(|now| now.number != demand.number) => None,
        };
        let Some(broken) = ended else { continue };
        let why = Chain(&broken).to_string();
        warn!(error = %why, "changes of tables are not told; trying again");
        feed.state.send_if_modified(|state| {
            let new = State::Failed(why);
            let told = *state == new;
            *state = new;
            !told
        });
        sleep(AGAIN).await;
    }
}

/// Returns why it ended. Dropping it drops the slot.
async fn read(server: &Server, demand: Demand) -> Broken {
    match try_to_read(server, demand).await {
        Ok(never) => match never {},
        Err(broken) => broken,
    }
}

async fn try_to_read(server: &Server, demand: Demand) -> Result<Infallible, Broken> {
    let db = server.settings.db.clone().named("standin-changes");
    let session = Session::open(&db, &[], Commit::Forgettable).await?;
    let level: String = session.query_one(&WAL_LEVEL, &[]).await?.get(0);
    if level != "logical" {
        return Err(Broken::WalLevel(level));
    }
    let slot = format!("standin_{:016x}", rand::random::<u64>());
    session.query(&MAKE_SLOT, &[&slot]).await?;
    server.feed.ready(demand);
    debug!("changes of tables are told");

    let mut tick = interval(POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        add(&server.counters.polls, 1);
        let rows = session.query(&READ, &[&slot]).await?;
        if !rows.is_empty() {
            let messages: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
            Batch::read(messages.iter().map(Vec::as_slice))?.deliver(server).await?;
        }
    }
}

impl Feed {
    pub(crate) fn want(self: &Arc<Self>) -> Wanted {
        self.wanted.send_modify(|demand| demand.count += 1);
        Wanted(self.clone())
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn subscribe(self: &Arc<Self>, subscription: Subscription) -> Subscribed {
        let mut subscriptions = self.subscriptions();
        subscriptions.next += 1;
        let number = subscriptions.next;
        subscriptions.all.insert(number, Arc::new(subscription));
        Subscribed { feed: self.clone(), number }
    }

    /// Everybody, in the order they subscribed.
    pub(crate) fn all(&self) -> Vec<Arc<Subscription>> {
        let subscriptions = self.subscriptions();
        let mut all: Vec<_> = subscriptions.all.iter().collect();
        all.sort_by_key(|(number, _)| **number);
        all.into_iter().map(|(_, subscription)| subscription.clone()).collect()
    }

    /// Unless nobody wanted it any more in the meantime.
    fn ready(&self, demand: Demand) {
        let now = self.wanted.borrow();
        if now.number == demand.number {
            self.state.send_replace(State::Ready);
        }
    }

    fn subscriptions(&self) -> MutexGuard<'_, Subscriptions> {
        // A map is whole whenever the lock is free.
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.feed.subscriptions().all.remove(&self.number);
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.wanted.send_modify(|demand| {
            demand.count -= 1;
            if demand.count == 0 {
                demand.number += 1;
                self.0.state.send_replace(State::Off);
            }
        });
    }
}
