use std::time::Instant;

use db::{Db, DbSettings, Statement, Type};
use miette::IntoDiagnostic;
use tokio::task::JoinSet;

/// What Postgres can do on this machine when asked for nothing but the bare minimum: a table with an
/// id and a payload, no routing, lease, fence, retry, receipt or doorbell.
pub(crate) struct Limits {
    db: DbSettings,
}

static INSERT: Statement = Statement {
    name: "bench.limit_insert",
    sql: "insert into limits (payload) values ('{\"at\": 0}')",
    types: &[],
};
static INSERT_MANY: Statement = Statement {
    name: "bench.limit_insert_many",
    sql: "insert into limits (payload) select '{\"at\": 0}' from generate_series(1, $1)",
    types: &[Type::INT4],
};
static TAKE: Statement = Statement {
    name: "bench.limit_take",
    sql: "update limits set taken = true where ctid = any (array(
            select ctid from limits where not taken order by id limit 500
            for update skip locked))
        returning id, payload",
    types: &[],
};
static END: Statement = Statement {
    name: "bench.limit_end",
    sql: "delete from limits where id = any ($1)",
    types: &[Type::INT8_ARRAY],
};

impl Limits {
    pub(crate) async fn new(db: &DbSettings) -> miette::Result<Self> {
        let mut db = db.clone();
        db.db_pool = 20.try_into().into_diagnostic()?;
        Db::connect(&db)?
            .client()
            .await?
            .batch(
                "bench.limits",
                "create table if not exists limits (
                    id bigint generated always as identity primary key,
                    taken boolean not null default false, payload jsonb not null)
                with (fillfactor = 50)",
            )
            .await?;
        Ok(Self { db })
    }

    /// Rows a second, one per transaction.
    pub(crate) async fn inserts(&self, connections: usize, count: usize) -> miette::Result<f64> {
        let pool = Db::connect(&self.db)?;
        let started = Instant::now();
        let mut senders = JoinSet::new();
        for _ in 0..connections {
            let (pool, share) = (pool.clone(), count / connections);
            senders.spawn(async move {
                let client = pool.client().await?;
                for _ in 0..share {
                    client.execute(&INSERT, &[]).await?;
                }
                Ok::<(), db::DbError>(())
            });
        }
        finish(senders).await?;
        Ok(rate(count, started))
    }

    /// Messages a second through claim and settle, 500 at a time on two connections.
    pub(crate) async fn process(&self, count: usize) -> miette::Result<f64> {
        let pool = Db::connect(&self.db)?;
        pool.client().await?.batch("bench.limits", "truncate limits").await?;
        let thousands = i32::try_from(count).into_diagnostic()?;
        pool.query(&INSERT_MANY, &[&thousands]).await?;
        pool.client().await?.batch("bench.limits", "vacuum analyze limits").await?;
        let started = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..2 {
            let pool = pool.clone();
            workers.spawn(async move {
                let client = pool.client().await?;
                loop {
                    let rows = client.query(&TAKE, &[]).await?;
                    if rows.is_empty() {
                        return Ok::<(), db::DbError>(());
                    }
                    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
                    client.execute(&END, &[&ids]).await?;
                }
            });
        }
        finish(workers).await?;
        Ok(rate(count, started))
    }
}

async fn finish(mut tasks: JoinSet<Result<(), db::DbError>>) -> miette::Result<()> {
    while let Some(done) = tasks.join_next().await {
        done.into_diagnostic()??;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn rate(count: usize, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}
