use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use db::{Db, DbSettings, Json, SessionMode, Statement, Type};
use model::{MessageId, TraceId};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::insert::{insert, insert_one};
use crate::statement::statement;
use crate::{BusError, BusSettings, NewMessage};

/// The bus, as one process sees it. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    db_settings: DbSettings,
    settings: BusSettings,
    outbox: Mutex<Outbox>,
    flights: TaskTracker,
}

/// What became of a message that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Published {
    pub id: MessageId,
    #[serde(rename = "trace_id")]
    pub trace: TraceId,
    /// An earlier message with the same idempotency key was found, and this is that one.
    pub attached: bool,
}

impl Bus {
    /// Connects to nothing yet; fails only if the settings are wrong.
    pub fn connect(db: &DbSettings, settings: &BusSettings) -> Result<Self, BusError> {
        let inner = Inner {
            db: Db::connect(db)?,
            db_settings: db.clone(),
            settings: settings.clone(),
            outbox: Mutex::new(Outbox { waiting: VecDeque::new(), flights: 0 }),
            flights: TaskTracker::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn db_settings(&self) -> &DbSettings {
        &self.inner.db_settings
    }

    pub fn db(&self) -> &Db {
        &self.inner.db
    }

    /// As many rows as one answer brings: more than a person can read, and no memory is filled by
    /// what runs away. A Supabase project cuts every answer off at a thousand, without a word.
    pub(crate) fn most_rows(&self) -> i64 {
        if self.db().mode() == SessionMode::Supabase { 1_000 } else { 5_000 }
    }

    /// As many as one call may ask about, where each is answered with a row.
    pub(crate) fn most_answers(&self) -> usize {
        usize::try_from(self.most_rows()).expect("it is positive")
    }

    pub fn settings(&self) -> &BusSettings {
        &self.inner.settings
    }

    /// Publishes a message; it is on disk when this returns. Calls that come while others are being
    /// written go together in the next write, which is what makes many senders fast.
    pub async fn publish(&self, message: NewMessage) -> Result<Published, BusError> {
        let (answer, answered) = oneshot::channel();
        let start_flight = {
            let mut outbox = self.outbox();
            outbox.waiting.push_back(Waiting { message, answer });
            let start = outbox.flights < FLIGHTS;
            outbox.flights += usize::from(start);
            start
        };
        if start_flight {
            // A task of its own: a caller that gives up must not take the others' messages along.
            self.inner.flights.spawn(self.clone().fly());
        }
        answered.await.unwrap_or(Err(BusError::Interrupted))
    }

    /// Publishes all of them in one transaction, or none.
    pub async fn publish_all(&self, messages: &[NewMessage]) -> Result<Vec<Published>, BusError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        // One function takes everything, where a plain insert is quicker over a connection.
        let keyed = messages.iter().any(|message| message.idempotency_key.is_some());
        if keyed || self.db().mode() == SessionMode::Supabase {
            return publish_by_call(self.db(), messages).await;
        }
        match messages {
            [message] => Ok(vec![insert_one(self.db(), message).await?]),
            many => insert(self.db(), many).await,
        }
    }

    async fn fly(self) {
        loop {
            // Whoever is about to publish in this very moment may still come along.
            tokio::task::yield_now().await;
            let batch: Vec<Waiting> = {
                let mut outbox = self.outbox();
                if outbox.waiting.is_empty() {
                    outbox.flights -= 1;
                    return;
                }
                let count = outbox.waiting.len().min(LARGEST_BATCH);
                outbox.waiting.drain(..count).collect()
            };
            self.write(batch).await;
        }
    }

    async fn write(&self, batch: Vec<Waiting>) {
        let (messages, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.message, waiting.answer)).unzip();
        match self.publish_all(&messages).await {
            Ok(published) => {
                for (answer, published) in answers.into_iter().zip(published) {
                    let _ = answer.send(Ok(published));
                }
            }
            // One bad message must not fail the others: each is tried alone.
            Err(BusError::Refused { .. }) if messages.len() > 1 => {
                for (answer, message) in answers.into_iter().zip(&messages) {
                    let result = self.publish_all(std::slice::from_ref(message)).await;
                    let _ = answer.send(result.map(|published| published[0]));
                }
            }
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn outbox(&self) -> std::sync::MutexGuard<'_, Outbox> {
        self.inner.outbox.lock().expect("nothing panics while it holds the outbox")
    }
}

/// Messages that wait for the next write. Bounded by the number of callers, each of whom waits.
struct Outbox {
    waiting: VecDeque<Waiting>,
    flights: usize,
}

struct Waiting {
    message: NewMessage,
    answer: oneshot::Sender<Result<Published, BusError>>,
}

/// Two, so that one batch is prepared while the other waits for the disk.
const FLIGHTS: usize = 2;
const LARGEST_BATCH: usize = 500;

pub(crate) static PUBLISH: Statement =
    statement("bus.publish", "select public.bus_publish_all(p_messages => $1)", &[Type::JSONB]);

async fn publish_by_call(db: &Db, messages: &[NewMessage]) -> Result<Vec<Published>, BusError> {
    let row = db.query_one(&PUBLISH, &[&Json(messages)]).await?;
    let Json(published) = row.get(0);
    Ok(published)
}
