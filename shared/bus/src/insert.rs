use db::{Db, Json, Row, Statement, Type};
use model::{MessageId, TraceId};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::statement::statement;
use crate::{BusError, NewMessage, Published};

/// The same insert that anybody may write by hand. Apart from the one for many, whose arrays cost
/// more to take apart than a single row does to write.
pub(crate) static INSERT_ONE: Statement = statement(
    "bus.insert_one",
    "insert into public.agent_messages (
        service, role, shard, tenant, project_id, trace_id, traceparent, parent_id, ordering_key,
        priority, max_attempts, retry_at, expires_at, payload)
    values ($1, $2, $3, coalesce($4, 'default'), $5,
        $6, $7, $8, $9, $10, $11,
        coalesce($12, now() + $13 * interval '1 ms'), now() + $14 * interval '1 ms', $15)
    returning id, trace_id",
    &[
        Type::TEXT,
        Type::TEXT,
        Type::INT4,
        Type::TEXT,
        Type::UUID,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::TEXT,
        Type::INT2,
        Type::INT4,
        Type::TIMESTAMPTZ,
        Type::INT8,
        Type::INT8,
        Type::JSONB,
    ],
);

pub(crate) async fn insert_one(db: &Db, message: &NewMessage) -> Result<Published, BusError> {
    let row = db
        .query_one(
            &INSERT_ONE,
            &[
                &message.service.as_str(),
                &message.role.as_str(),
                &message.shard,
                &message.tenant.as_ref().map(|tenant| tenant.as_str()),
                &message.project_id,
                &trace(message),
                &message.traceparent.as_ref().map(ToString::to_string),
                &message.parent_id,
                &message.ordering_key,
                &message.priority,
                &message.max_attempts,
                &message.retry_at,
                &message.delay_ms,
                &message.ttl_ms,
                &Json(&*message.payload),
            ],
        )
        .await?;
    Ok(published(&row))
}

/// That of its trace context wins; the database sees to it.
fn trace(message: &NewMessage) -> TraceId {
    message.trace_id.unwrap_or_else(TraceId::mint)
}

fn published(row: &Row) -> Published {
    Published { id: row.get(0), trace: row.get(1), attached: false }
}

/// For many rows.
pub(crate) static INSERT: Statement = statement(
    "bus.insert",
    "insert into public.agent_messages (
        service, role, shard, tenant, project_id, trace_id, traceparent, parent_id, ordering_key,
        priority, max_attempts, retry_at, expires_at, payload)
    select service, role, shard, coalesce(tenant, 'default'), project_id,
        trace_id, traceparent, parent_id,
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

pub(crate) async fn insert(db: &Db, messages: &[NewMessage]) -> Result<Vec<Published>, BusError> {
    fn column<'a, T>(messages: &'a [NewMessage], value: impl Fn(&'a NewMessage) -> T) -> Vec<T> {
        messages.iter().map(value).collect()
    }
    let service: Vec<&str> = column(messages, |message| message.service.as_str());
    let role: Vec<&str> = column(messages, |message| message.role.as_str());
    let shard: Vec<i32> = column(messages, |message| message.shard);
    let tenant: Vec<Option<&str>> =
        column(messages, |message| message.tenant.as_ref().map(|tenant| tenant.as_str()));
    let project: Vec<Option<Uuid>> = column(messages, |message| message.project_id);
    let trace: Vec<TraceId> = column(messages, trace);
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
    Ok(rows.iter().map(published).collect())
}
