use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Bus, BusError, Cancelled, NewMessage};
use db::{Db, DbError, Disposition, Json, Statement, Type};
use messages::Payload;
use miette::{IntoDiagnostic, miette};
use model::{MessageId, Route};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::account::{Account, Accounts};
use crate::act::{Act, Part};
use crate::plan::{How, LANES, Planned, Sending};

/// Publishes, as it can be done, and keeps account of what it was told.
#[derive(Clone)]
pub(crate) struct Publisher {
    bus: Bus,
    /// For plain inserts.
    sql: Db,
    accounts: Arc<Mutex<Accounts>>,
}

impl Publisher {
    pub(crate) fn new(bus: &Bus, sql: &Db) -> Self {
        Self { bus: bus.clone(), sql: sql.clone(), accounts: Arc::default() }
    }

    /// Sends the plan, spread over `time`.
    pub(crate) async fn publish_all(
        self,
        sendings: Vec<Sending>,
        time: Duration,
    ) -> miette::Result<Accounts> {
        let started = Instant::now();
        let count = u32::try_from(sendings.len().max(1)).into_diagnostic()?;
        let mut lanes = vec![Vec::new(); LANES];
        for (place, sending) in (0_u32..).zip(sendings) {
            lanes[sending.lane].push((started + time * place / count, sending));
        }
        let mut publishing = JoinSet::new();
        for sendings in lanes {
            publishing.spawn(self.clone().run(sendings));
        }
        while let Some(finished) = publishing.join_next().await {
            finished.into_diagnostic()??;
        }
        drop(publishing);
        let accounts = Arc::into_inner(self.accounts).expect("all publishers have ended");
        Ok(accounts.into_inner().expect("nothing panics while it holds this"))
    }

    async fn run(self, sendings: Vec<(Instant, Sending)>) -> miette::Result<()> {
        let mut cancelling = JoinSet::new();
        for (at, sending) in sendings {
            sleep_until(at).await;
            let published = self.send(&sending).await?;
            for (planned, id) in sending.messages.iter().zip(published) {
                self.account(|accounts| accounts.published.insert(planned.n, id));
                if let (Some(wait), Account::Acknowledged(id)) = (planned.cancel_after, id) {
                    cancelling.spawn(self.clone().cancel(id, wait));
                }
            }
        }
        while let Some(finished) = cancelling.join_next().await {
            finished.into_diagnostic()??;
        }
        Ok(())
    }

    async fn send(&self, sending: &Sending) -> miette::Result<Vec<Account>> {
        let one = &sending.messages[0];
        Ok(match sending.how {
            How::Keyed => vec![Account::Acknowledged(self.publish(one).await?)],
            How::Twice => {
                let (first, second) = tokio::try_join!(self.publish(one), self.publish(one))?;
                if first != second {
                    self.account(|accounts| accounts.disagreed.push(one.n));
                }
                vec![Account::Acknowledged(first)]
            }
            How::Together => {
                let messages: Result<Vec<_>, _> = sending.messages.iter().map(message).collect();
                let messages = messages?;
                let published = until_answered(|| self.bus.publish_all(&messages)).await?;
                published.iter().map(|published| Account::Acknowledged(published.id)).collect()
            }
            How::Inserted => vec![self.insert(one).await?],
            How::RolledBack => {
                // However this fails, nothing was committed.
                let _ = self.insert_and_roll_back(one).await;
                vec![Account::RolledBack]
            }
        })
    }

    async fn publish(&self, planned: &Planned) -> miette::Result<MessageId> {
        let message = message(planned)?;
        let published = until_answered(|| self.bus.publish(message.clone())).await?;
        Ok(published.id)
    }

    async fn insert(&self, planned: &Planned) -> miette::Result<Account> {
        let row = Json(row(planned));
        match self.sql.query_one(&INSERT, &[&row]).await {
            Ok(row) => Ok(Account::Acknowledged(row.get(0))),
            Err(error) if error.disposition() == Disposition::Retry => Ok(Account::InDoubt),
            Err(error) => Err(error.into()),
        }
    }

    async fn insert_and_roll_back(&self, planned: &Planned) -> Result<(), DbError> {
        let mut client = self.sql.client().await?;
        let transaction = client.transaction().await?;
        transaction.query_one(&INSERT, &[&Json(row(planned))]).await?;
        transaction.rollback().await
    }

    async fn cancel(self, id: MessageId, wait: Duration) -> miette::Result<()> {
        sleep(wait).await;
        let cancelled = until_answered(|| self.bus.cancel(id, "chaos")).await?;
        if matches!(cancelled, Cancelled::Now | Cancelled::Ended("cancelled")) {
            self.account(|accounts| accounts.cancelled.push(id));
        }
        Ok(())
    }

    fn account<T>(&self, note: impl FnOnce(&mut Accounts) -> T) -> T {
        note(&mut self.accounts.lock().expect("nothing panics while it holds this"))
    }
}

/// Long enough for everything the tormentor does to be over.
const PATIENCE: Duration = Duration::from_secs(120);

async fn until_answered<T, F>(call: impl Fn() -> F) -> miette::Result<T>
where
    F: Future<Output = Result<T, BusError>>,
{
    let started = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.disposition() == Disposition::GiveUp => return Err(error.into()),
            Err(error) if started.elapsed() > PATIENCE => {
                return Err(miette!("the bus was away for {PATIENCE:?}").wrap_err(error));
            }
            Err(_) => sleep(Duration::from_millis(30)).await,
        }
    }
}

fn message(planned: &Planned) -> miette::Result<NewMessage> {
    let route = Route::new(Act::stage(), planned.shard).for_tenant(planned.tenant.clone());
    let mut message = NewMessage::to(&route, &payload(planned))
        .into_diagnostic()?
        .idempotency_key(format!("act {}", planned.n))
        .priority(planned.priority);
    if let Some(key) = &planned.ordering_key {
        message = message.ordering_key(key);
    }
    if let Some(delay) = planned.delay {
        message = message.delay(delay);
    }
    if let Some(ttl) = planned.ttl {
        message = message.ttl(ttl);
    }
    if let Some(attempts) = planned.max_attempts {
        message = message.max_attempts(attempts);
    }
    Ok(message)
}

fn payload(planned: &Planned) -> Value {
    let ms = u64::try_from(planned.takes.as_millis()).unwrap_or(u64::MAX);
    if planned.part == Part::Garbled {
        return json!({ "n": planned.n, "part": "no such part", "ms": ms });
    }
    json!(Act { n: planned.n, part: planned.part, ms })
}

/// As somebody in psql would write it.
static INSERT: Statement = Statement {
    name: "chaos.insert",
    sql: "insert into public.agent_messages
        (service, role, shard, tenant, priority, max_attempts, retry_at, expires_at, payload)
    select service, role, shard, tenant, priority, max_attempts,
        now() + delay_ms * interval '1 ms', now() + ttl_ms * interval '1 ms', payload
    from jsonb_to_record($1) as new(service text, role text, shard int, tenant text,
        priority smallint, max_attempts int, delay_ms bigint, ttl_ms bigint, payload jsonb)
    returning id",
    types: &[Type::JSONB],
};

fn row(planned: &Planned) -> Value {
    let millis =
        |time: Option<Duration>| time.and_then(|time| i64::try_from(time.as_millis()).ok());
    json!({
        "service": Act::SERVICE,
        "role": Act::ROLE,
        "shard": planned.shard,
        "tenant": planned.tenant,
        "priority": planned.priority,
        "max_attempts": planned.max_attempts,
        "delay_ms": millis(planned.delay),
        "ttl_ms": millis(planned.ttl),
        "payload": payload(planned),
    })
}
