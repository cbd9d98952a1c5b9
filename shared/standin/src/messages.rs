//! The statements on `realtime.messages`: who may read and write a channel, and what was sent.

use db::{Db, DbError, Session, Statement, Type};
use serde_json::value::RawValue;
use time::{OffsetDateTime, PrimitiveDateTime};
use uuid::Uuid;

use crate::frame::{Body, Broadcast, Meta, raw};
use crate::identity::Identity;
use crate::join::Replay;

/// Whom a policy is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Right {
    Read,
    Write,
}

/// The partition a message that is never committed goes to: today's, unless that is said to be lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) days_ahead: i32,
}

static PROBE: Statement = Statement {
    name: "standin.probe",
    sql: "insert into realtime.messages (topic, extension, private, inserted_at)
          values ($1, 'broadcast', true, (now() at time zone 'utc') + make_interval(days => $2))
          returning id, inserted_at",
    types: &[Type::TEXT, Type::INT4],
};

static BECOME: Statement = Statement {
    name: "standin.become",
    sql: "select standin.become($1, $2, $3)",
    types: &[Type::TEXT, Type::TEXT, Type::TEXT],
};

static SEES_PROBE: Statement = Statement {
    name: "standin.sees_probe",
    sql: "select exists (select from realtime.messages where id = $1 and inserted_at = $2)",
    types: &[Type::UUID, Type::TIMESTAMP],
};

static MAY_WRITE: Statement = Statement {
    name: "standin.may_write",
    sql: "select standin.may_write(
              $1, 'broadcast', (now() at time zone 'utc') + make_interval(days => $2))",
    types: &[Type::TEXT, Type::INT4],
};

static REPLAYED: Statement = Statement {
    name: "standin.replay",
    sql: "select id, event, payload::text from (
              select id, inserted_at, event, payload from realtime.messages
              where topic = $1 and private and extension = 'broadcast' and inserted_at >= $2
              order by inserted_at desc limit $3
          ) as newest order by inserted_at",
    types: &[Type::TEXT, Type::TIMESTAMP, Type::INT8],
};

static ONE: Statement = Statement {
    name: "standin.message",
    sql: "select id, topic, event, coalesce(private, false), payload::text
          from realtime.messages where id = $1",
    types: &[Type::UUID],
};

/// More than this many in a minute, and some of those that were told twice are delivered twice.
pub(crate) const RECENT: i64 = 20_000;

static RECENTLY: Statement = Statement {
    name: "standin.recent_messages",
    sql: "select id, topic, event, coalesce(private, false), payload::text
          from (select * from realtime.messages
              where extension = 'broadcast'
                  and inserted_at > (now() at time zone 'utc') - interval '1 minute'
              order by inserted_at desc limit $1) as newest
          order by inserted_at",
    types: &[Type::INT8],
};

/// A message as it is in the table.
pub(crate) struct Stored {
    pub(crate) id: Uuid,
    pub(crate) topic: String,
    pub(crate) event: String,
    pub(crate) private: bool,
    pub(crate) payload: Box<RawValue>,
}

/// Asks the policies by really trying, in a transaction that is rolled back. Roles that need not
/// obey policies are answered by Postgres, too.
pub(crate) async fn has(
    db: &Db,
    right: Right,
    identity: &Identity,
    topic: &str,
    probe: Probe,
) -> Result<bool, DbError> {
    let mut client = db.client().await?;
    let transaction = client.transaction().await?;
    let Identity { role, claims, .. } = identity;
    let answer = match right {
        Right::Read => {
            let probe = transaction.query_one(&PROBE, &[&topic, &probe.days_ahead]).await?;
            let (id, at): (Uuid, PrimitiveDateTime) = (probe.get(0), probe.get(1));
            transaction.query_one(&BECOME, &[role, claims, &topic]).await?;
            match transaction.query_one(&SEES_PROBE, &[&id, &at]).await {
                Err(error) if denied(&error) => Ok(false),
                answer => answer.map(|row| row.get(0)),
            }
        }
        Right::Write => {
            transaction.query_one(&BECOME, &[role, claims, &topic]).await?;
            let answer = transaction.query_one(&MAY_WRITE, &[&topic, &probe.days_ahead]).await;
            answer.map(|row| row.get(0))
        }
    };
    transaction.rollback().await?;
    answer
}

/// insufficient_privilege: the role may not even look at the table.
pub(crate) fn denied(error: &DbError) -> bool {
    error.code().is_some_and(|code| code.code() == "42501")
}

/// The newest messages of a private channel since a time, the oldest first.
pub(crate) async fn replayed(
    db: &Db,
    topic: &str,
    replay: Replay,
) -> Result<Vec<Broadcast>, DbError> {
    let since = replay.since().unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let since = PrimitiveDateTime::new(since.date(), since.time());
    let rows = db.query(&REPLAYED, &[&topic, &since, &replay.limit]).await?;
    let broadcasts = rows.iter().map(|row| Broadcast {
        event: row.get::<Option<String>>(1).unwrap_or_default(),
        body: Body::Json(json(row.get(2))),
        meta: Some(Meta { id: row.get(0), replayed: true }),
        as_text: true,
    });
    Ok(broadcasts.collect())
}

pub(crate) async fn stored(session: &Session, id: Uuid) -> Result<Option<Stored>, DbError> {
    Ok(session.query(&ONE, &[&id]).await?.iter().map(Stored::of).next())
}

/// Of the last minute, the oldest first.
pub(crate) async fn recent(session: &Session) -> Result<Vec<Stored>, DbError> {
    let rows = session.query(&RECENTLY, &[&RECENT]).await?;
    Ok(rows.iter().map(Stored::of).collect())
}

impl Stored {
    fn of(row: &db::Row) -> Self {
        Self {
            id: row.get(0),
            topic: row.get(1),
            event: row.get::<Option<String>>(2).unwrap_or_default(),
            private: row.get(3),
            payload: json(row.get(4)),
        }
    }
}

fn json(text: Option<String>) -> Box<RawValue> {
    let parsed = text.and_then(|text| RawValue::from_string(text).ok());
    parsed.unwrap_or_else(|| raw(&serde_json::json!({})))
}
