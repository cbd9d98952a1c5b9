use db::{Json, Row};
use model::{MessageId, Shard, Tenant, TraceId, Traceparent, Word};
use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

/// A message as `bus_claim` answers it.
#[derive(Debug, Deserialize)]
pub(crate) struct Claimed {
    pub(crate) id: MessageId,
    pub(crate) lease: Uuid,
    pub(crate) lane: i32,
    pub(crate) service: Word,
    pub(crate) role: Word,
    pub(crate) shard: Shard,
    pub(crate) tenant: Tenant,
    pub(crate) project_id: Option<Uuid>,
    pub(crate) trace_id: TraceId,
    pub(crate) traceparent: Option<Traceparent>,
    pub(crate) parent_id: Option<MessageId>,
    pub(crate) ordering_key: Option<String>,
    pub(crate) attempt: i32,
    pub(crate) max_attempts: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) created_at: OffsetDateTime,
    pub(crate) lease_ms: i64,
    pub(crate) payload: Box<RawValue>,
}

/// The columns that [`Claimed::from_row`] reads.
macro_rules! claimed_columns {
    () => {
        "id, lease, lane, service, role, shard, tenant, project_id, trace_id, traceparent,
        parent_id, ordering_key, attempt, max_attempts, created_at, lease_ms, payload"
    };
}
pub(crate) use claimed_columns;

impl Claimed {
    pub(crate) fn from_row(row: &Row) -> Self {
        let Json(payload) = row.get::<Json<Box<RawValue>>>(16);
        Self {
            id: row.get(0),
            lease: row.get(1),
            lane: row.get(2),
            service: row.get(3),
            role: row.get(4),
            shard: row.get(5),
            tenant: row.get(6),
            project_id: row.get(7),
            trace_id: row.get(8),
            traceparent: row.get(9),
            parent_id: row.get(10),
            ordering_key: row.get(11),
            attempt: row.get(12),
            max_attempts: row.get(13),
            created_at: row.get(14),
            lease_ms: row.get(15),
            payload,
        }
    }
}
