use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use db::{Db, DbSettings, Json, Statement, Type};
use model::{MessageId, TraceId};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    pub id: MessageId,
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
        if messages.iter().any(|message| message.idempotency_key.is_some()) {
            publish_with_keys(self.db(), messages).await
        } else {
            insert(self.db(), messages).await
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

/// The same insert that anybody may write by hand, for many rows.
pub(crate) static INSERT: Statement = statement(
    "bus.insert",
    "insert into public.agent_messages (
        service, role, shard, tenant, project_id, trace_id, traceparent, parent_id, ordering_key,
        priority, max_attempts, retry_at, expires_at, payload)
    select service, role, shard, coalesce(tenant, 'default'), project_id,
        coalesce(trace_id, replace(gen_random_uuid()::text, '-', '')), traceparent, parent_id,
        ordering_key, priority, max_attempts,
        coalesce(retry_at, now() + delay_ms * interval '1 ms'),
        now() + ttl_ms * interval '1 ms', payload
    from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::uuid[], $6::text[], $7::text[],
        $8::bigint[], $9::text[], $10::smallint[], $11::int[], $12::timestamptz[], $13::bigint[],
        $14::bigint[], $15::jsonb[])
        with ordinality as new(service, role, shard, tenant, project_id, trace_id, traceparent,
        parent_id, ordering_key, priority, max_attempts, retry_at, delay_ms, ttl_ms, payload, place)
    order by place
    returning id, trace_id",
    &[
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT4_ARRAY,
        Type::TEXT_ARRAY,
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT2_ARRAY,
        Type::INT4_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::JSONB_ARRAY,
    ],
);

async fn insert(db: &Db, messages: &[NewMessage]) -> Result<Vec<Published>, BusError> {
    fn column<'a, T>(messages: &'a [NewMessage], value: impl Fn(&'a NewMessage) -> T) -> Vec<T> {
        messages.iter().map(value).collect()
    }
    let service: Vec<&str> = column(messages, |message| message.service.as_str());
    let role: Vec<&str> = column(messages, |message| message.role.as_str());
    let shard: Vec<i32> = column(messages, |message| message.shard);
    let tenant: Vec<Option<&str>> =
        column(messages, |message| message.tenant.as_ref().map(|tenant| tenant.as_str()));
    let project: Vec<Option<Uuid>> = column(messages, |message| message.project_id);
    let trace: Vec<Option<TraceId>> = column(messages, |message| message.trace_id);
    let traceparent: Vec<Option<String>> =
        column(messages, |message| message.traceparent.as_ref().map(ToString::to_string));
    let parent: Vec<Option<MessageId>> = column(messages, |message| message.parent_id);
    let ordering: Vec<Option<&str>> = column(messages, |message| message.ordering_key.as_deref());
    let priority: Vec<i16> = column(messages, |message| message.priority);
    let attempts: Vec<Option<i32>> = column(messages, |message| message.max_attempts);
    let retry_at: Vec<Option<OffsetDateTime>> = column(messages, |message| message.retry_at);
    let delay: Vec<Option<i64>> = column(messages, |message| message.delay_ms);
    let ttl: Vec<Option<i64>> = column(messages, |message| message.ttl_ms);
    let payload: Vec<Json<&RawValue>> = column(messages, |message| Json(&*message.payload));
    let rows = db
        .query(
            &INSERT,
            &[
                &service,
                &role,
                &shard,
                &tenant,
                &project,
                &trace,
                &traceparent,
                &parent,
                &ordering,
                &priority,
                &attempts,
                &retry_at,
                &delay,
                &ttl,
                &payload,
            ],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Published { id: row.get(0), trace: row.get(1), attached: false })
        .collect())
}

pub(crate) static PUBLISH: Statement = statement(
    "bus.publish",
    "select id, trace_id, attached from public.bus_publish($1) order by place",
    &[Type::JSONB],
);

async fn publish_with_keys(db: &Db, messages: &[NewMessage]) -> Result<Vec<Published>, BusError> {
    let rows = db.query(&PUBLISH, &[&Json(messages)]).await?;
    Ok(rows
        .iter()
        .map(|row| Published { id: row.get(0), trace: row.get(1), attached: row.get(2) })
        .collect())
}
