use std::time::Duration;

use db::{Json, Statement, Type};
use serde::Deserialize;
use serde_json::Value;

use crate::new_message::millis;
use crate::statement::statement;
use crate::{Bus, BusError};

/// What a keeper's round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Swept {
    pub reclaimed: u64,
    pub expired: u64,
    pub promoted: u64,
    pub rung: u64,
    pub workers_gone: u64,
    /// A limit was reached: sweep again at once.
    pub more: bool,
}

/// How long finished things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub messages: Duration,
    pub events: Duration,
    pub workers: Duration,
    pub dead_letters: Duration,
    /// A trace in which something happened this recently is kept whole.
    pub quiet: Duration,
}

/// What one batch of retention deleted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Retained {
    pub messages: u64,
    pub events: u64,
    pub workers: u64,
    pub dead_letters: u64,
    /// Where the next batch starts; `None` when the round is complete.
    pub from: Option<Value>,
}

pub(crate) static SWEEP: Statement = statement(
    "bus.sweep",
    "select public.bus_sweep(p_worker => $1, p_limit => $2)",
    &[Type::TEXT, Type::INT4],
);

pub(crate) static RETAIN: Statement = statement(
    "bus.retain",
    "select public.bus_retain(p_worker => $1, p_from => $2, p_limit => $3,
        p_messages => $4::interval, p_events => $5::interval, p_workers => $6::interval,
        p_dead_letters => $7::interval, p_quiet => $8::interval)",
    &[
        Type::TEXT,
        Type::JSONB,
        Type::INT4,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
    ],
);

/// As Postgres reads it.
fn interval(time: Duration) -> String {
    format!("{} ms", millis(time))
}

impl Bus {
    /// One keeper's round; `None` when another keeper leads.
    pub async fn sweep(&self, worker: &str, limit: i32) -> Result<Option<Swept>, BusError> {
        let rows = self.db().query(&SWEEP, &[&worker, &limit]).await?;
        Ok(rows[0].get::<Option<Json<Swept>>>(0).map(|Json(swept)| swept))
    }

    /// One batch of retention, starting where the last one stopped; `None` when another leads.
    pub async fn retain(
        &self,
        worker: &str,
        from: Option<&Value>,
        limit: i32,
        retention: &Retention,
    ) -> Result<Option<Retained>, BusError> {
        let rows = self
            .db()
            .query(
                &RETAIN,
                &[
                    &worker,
                    &from.map(Json),
                    &limit,
                    &interval(retention.messages),
                    &interval(retention.events),
                    &interval(retention.workers),
                    &interval(retention.dead_letters),
                    &interval(retention.quiet),
                ],
            )
            .await?;
        Ok(rows[0].get::<Option<Json<Retained>>>(0).map(|Json(retained)| retained))
    }
}
