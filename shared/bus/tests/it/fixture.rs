use std::time::Duration;

use bus::{Bus, BusSettings};
use serde_json::{Value, json};
use testkit::{Reached, TestDb, Way};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row};
use uuid::Uuid;

/// A database of one's own and the ways into it.
pub(crate) struct Fixture {
    pub(crate) bus: Bus,
    pub(crate) sql: Client,
    _reached: Reached,
    pub(crate) test: TestDb,
}

/// What a claim gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) id: i64,
    pub(crate) lease: Uuid,
    pub(crate) tenant: String,
    pub(crate) attempt: i32,
    pub(crate) max_attempts: i32,
    pub(crate) service: String,
}

/// What a settle said: the message, whether it was accepted, and the state it is in then.
pub(crate) type Answer = (i64, bool, Option<String>);

/// One statement for all, so that it is right in the middle of other people's work, too.
const BROKEN: &str = "
    with places(id, place, lane_id, stream) as (
        select id, 'ready', lane_id, stream from cogo.ready
        union all select id, 'later', lane_id, stream from cogo.later
        union all select id, 'leased', lane_id, stream from cogo.leases
        union all select id, 'ended', null, null from cogo.receipts
        union all select id, 'waiting', lane_id, stream from cogo.ordered where not placed
    )
    select format('message %s is in %s places: %s', coalesce(message.id, places.id), count(places.place),
        coalesce(string_agg(places.place, ', '), 'none'))
    from cogo.agent_messages as message full join places on places.id = message.id
    group by message.id, places.id having count(places.place) <> 1
    union all
    select format('%s %s has no message', places.place, places.id)
    from places where not exists (select from cogo.agent_messages as message where message.id = places.id)
    union all
    select format('%s %s is in a lane of others', places.place, places.id)
    from places join cogo.agent_messages as message on message.id = places.id
    join cogo.lanes as lane on lane.id = places.lane_id
    where (lane.service, lane.role, lane.shard, lane.tenant, lane.priority)
        <> (message.service, message.role, message.shard, message.tenant, message.priority)
    union all
    select format('%s %s has an ordering key and is in no stream', places.place, places.id)
    from places join cogo.agent_messages as message on message.id = places.id
    where message.ordering_key is not null and places.place <> 'ended'
        and (places.stream is null or not exists (
            select from cogo.ordered where ordered.stream = places.stream and ordered.id = places.id))
    union all
    select format('%s %s is in a stream, and should not be', places.place, places.id)
    from places join cogo.agent_messages as message on message.id = places.id
    where places.stream is not null and message.ordering_key is null
    union all
    select format('stream %s has %s messages in their turn', ordered.stream, count(*) filter (where ordered.placed))
    from cogo.ordered group by ordered.stream having count(*) filter (where ordered.placed) <> 1
    union all
    select format('ordered %s says it is its turn, and it is in no place', ordered.id)
    from cogo.ordered where ordered.placed and not exists (
        select from places where places.id = ordered.id and places.place in ('ready', 'later', 'leased'))
    union all
    select format('failed %s has no dead letter', receipts.id)
    from cogo.receipts where receipts.status = 'failed'
        and not exists (select from public.agent_messages_dlq as letter where letter.orig_id = receipts.id)
    union all
    select format('dead letter of %s, which is %s', letter.orig_id, coalesce(receipts.status, 'unfinished'))
    from public.agent_messages_dlq as letter join cogo.agent_messages as message on message.id = letter.orig_id
    left join cogo.receipts on receipts.id = letter.orig_id
    where receipts.status is distinct from 'failed'";

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::over(Way::Direct).await
    }

    /// Where the bus goes this way; plain SQL is always sent over a connection.
    pub(crate) async fn over(way: Way) -> Self {
        let test = testkit::database().await;
        let sql = test.client().await;
        let reached = way.reach(&test.url()).await;
        let bus = Bus::connect(&reached.settings, &BusSettings::default()).unwrap();
        Self { bus, sql, _reached: reached, test }
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) async fn rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        let rows = self.sql.query(sql, parameters).await;
        rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    pub(crate) async fn row(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Row {
        let mut rows = self.rows(sql, parameters).await;
        assert_eq!(rows.len(), 1, "{sql}");
        rows.remove(0)
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.row(&format!("select ({sql})::bigint"), &[]).await.get(0)
    }

    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        self.row(&format!("select ({sql})::text"), &[]).await.get(0)
    }

    /// Publishes and answers the ids.
    pub(crate) async fn publish(&self, messages: Value) -> Vec<i64> {
        publish(&self.sql, &messages).await.unwrap().into_iter().map(|(id, _)| id).collect()
    }

    /// One message to `codegen/generate/0`, but for what is said.
    pub(crate) async fn send(&self, fields: Value) -> i64 {
        self.publish(message(&fields)).await[0]
    }

    pub(crate) async fn claim(&self, routes: &[&str], limit: i32) -> Vec<Claim> {
        claim(&self.sql, "w1", routes, limit).await.unwrap()
    }

    pub(crate) async fn claim_one(&self) -> Claim {
        let mut claims = self.claim(&["codegen/generate/*"], 1).await;
        assert_eq!(claims.len(), 1, "there is nothing to claim");
        claims.remove(0)
    }

    pub(crate) async fn claimed_ids(&self, limit: i32) -> Vec<i64> {
        let claims = self.claim(&["codegen/generate/*"], limit).await;
        claims.iter().map(|claim| claim.id).collect()
    }

    pub(crate) async fn settle(&self, outcomes: Value) -> Vec<Answer> {
        settle(&self.sql, "w1", &outcomes).await.unwrap()
    }

    /// Settles one claim with `outcome` and what else is said; the state it leaves behind.
    pub(crate) async fn end(&self, claim: &Claim, outcome: &str, more: Value) -> String {
        let answers = self.settle(json!([settling(claim, outcome, &more)])).await;
        assert_eq!((answers.len(), answers[0].0, answers[0].1), (1, claim.id, true), "{answers:?}");
        answers.into_iter().next().unwrap().2.unwrap()
    }

    pub(crate) async fn done(&self, claim: &Claim) {
        assert_eq!(self.end(claim, "done", json!({})).await, "done");
    }

    pub(crate) async fn status(&self, id: i64) -> String {
        self.row("select status from public.agent_messages where id = $1", &[&id]).await.get(0)
    }

    pub(crate) async fn attempts(&self, id: i64) -> i32 {
        self.row("select attempts from public.agent_messages where id = $1", &[&id]).await.get(0)
    }

    /// Where it lies: ready, later, leased, ended or waiting.
    pub(crate) async fn place(&self, id: i64) -> String {
        let sql = "select 'ready' from cogo.ready where id = $1
            union all select 'later' from cogo.later where id = $1
            union all select 'leased' from cogo.leases where id = $1
            union all select 'ended' from cogo.receipts where id = $1
            union all select 'waiting' from cogo.ordered where id = $1 and not placed";
        self.row(sql, &[&id]).await.get(0)
    }

    pub(crate) async fn events(&self, id: i64) -> Vec<String> {
        let sql = "select event_type from public.bus_events where message_id = $1 order by id";
        self.rows(sql, &[&id]).await.iter().map(|row| row.get(0)).collect()
    }

    pub(crate) async fn cancel(&self, id: i64) -> String {
        self.row("select public.bus_cancel($1)", &[&id]).await.get(0)
    }

    pub(crate) async fn sweep(&self) -> Value {
        let swept: Option<Value> = self.row("select public.bus_sweep('keeper')", &[]).await.get(0);
        swept.expect("this keeper leads")
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.test.advance(Duration::from_secs(seconds)).await;
    }

    /// Each message is in exactly one place, and everything else agrees with that.
    pub(crate) async fn is_whole(&self) {
        is_whole(&self.sql).await;
    }
}

pub(crate) async fn is_whole(sql: &Client) {
    let broken: Vec<String> =
        sql.query(BROKEN, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// `codegen/generate/0` with an empty payload, but for what is said.
pub(crate) fn message(fields: &Value) -> Value {
    with(json!({ "service": "codegen", "role": "generate", "payload": {} }), fields)
}

pub(crate) fn settling(claim: &Claim, outcome: &str, more: &Value) -> Value {
    with(json!({ "id": claim.id, "lease": claim.lease, "outcome": outcome }), more)
}

fn with(mut object: Value, more: &Value) -> Value {
    let fields = more.as_object().expect("fields are an object").clone();
    object.as_object_mut().unwrap().extend(fields);
    object
}

/// The ids, and whether they are of earlier messages.
pub(crate) async fn publish(sql: &Client, messages: &Value) -> Result<Vec<(i64, bool)>, Error> {
    let rows = sql.query("select id, attached from public.bus_publish($1)", &[messages]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

pub(crate) async fn claim(
    sql: &Client,
    worker: &str,
    routes: &[&str],
    limit: i32,
) -> Result<Vec<Claim>, Error> {
    // Joined with nothing: the function sees messages that are newer than this statement's snapshot.
    let query = "select id, lease, tenant, attempt, max_attempts, service
        from public.bus_claim($1, $2, $3)";
    let rows = sql.query(query, &[&worker, &routes, &limit]).await?;
    let claimed = rows.iter().map(|row| Claim {
        id: row.get(0),
        lease: row.get(1),
        tenant: row.get(2),
        attempt: row.get(3),
        max_attempts: row.get(4),
        service: row.get(5),
    });
    Ok(claimed.collect())
}

pub(crate) async fn settle(
    sql: &Client,
    worker: &str,
    outcomes: &Value,
) -> Result<Vec<Answer>, Error> {
    let query = "select id, accepted, state from public.bus_settle($1, $2)";
    let rows = sql.query(query, &[&worker, outcomes]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// What the server said to something it refused.
pub(crate) fn refusal<T>(result: Result<T, Error>) -> String {
    let error = result.err().expect("this should be refused");
    let said = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    let constraint = said.constraint().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{} {}{constraint}", said.code().code(), said.message())
}

/// Waits until `sql`, a condition, is true.
pub(crate) async fn until(client: &Client, sql: &str) {
    let waiting = async {
        while !client.query_one(&format!("select ({sql})"), &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "it never came to: {sql}");
}
