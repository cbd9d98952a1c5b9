use std::sync::Arc;
use std::time::Duration;

use db::{Db, DbSettings};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, NoTls, Row};

use crate::shared::Shared;

/// A fresh database under all our migrations, dropped with the value.
///
/// ```no_run
/// # async fn test() {
/// let test = testkit::database().await;
/// let db = test.db();
/// # }
/// ```
#[derive(Debug)]
pub struct TestDb {
    name: String,
    shared: Arc<Shared>,
}

/// # Panics
/// When there is no Postgres, or the migrations cannot be applied.
pub async fn database() -> TestDb {
    static SHARED: OnceCell<(Arc<Shared>, String)> = OnceCell::const_new();
    let (shared, template) = SHARED
        .get_or_init(async || {
            let joined = tokio::task::spawn_blocking(Shared::join).await;
            let shared = told(joined.expect("joining the server does not panic"));
            let template = told(shared.template().await);
            (Arc::new(shared), template)
        })
        .await;
    let name = format!("t_{:016x}", rand::random::<u64>());
    let client = connect(&shared.url("postgres")).await;
    let sql = format!("create database {name} template {template}");
    client.batch_execute(&sql).await.expect("the template is there and nobody uses it");
    TestDb { name, shared: shared.clone() }
}

impl TestDb {
    /// As a superuser, who is above all policies.
    pub fn url(&self) -> String {
        self.shared.url(&self.name)
    }

    pub fn settings(&self) -> DbSettings {
        DbSettings::at(&self.url())
    }

    pub fn db(&self) -> Db {
        Db::connect(&self.settings()).expect("our own settings are right")
    }

    /// A connection of its own, as a superuser, for what the crate under test should not help with.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    /// Somebody who comes through the API, as `anon`, `authenticated` or `service_role`.
    pub async fn as_role(&self, role: &str, claims: &Value) -> Caller {
        let setup = format!(
            "set local role {}; set local request.jwt.claims = '{}'",
            quoted(role),
            claims.to_string().replace('\'', "''")
        );
        Caller { client: self.client().await, setup }
    }

    /// Makes time pass: moves every moment in the tables of `cogo` and `public` into the past.
    pub async fn advance(&self, time: Duration) {
        let sql = format!(
            "begin;
             set local session_replication_role = replica; -- no triggers
             do $$
             declare
                 v_table record;
             begin
                 for v_table in
                     select c.oid::regclass as name,
                         string_agg(format('%1$I = %1$I - interval ''{seconds} s''', a.attname), ', ') as moves
                     from pg_class as c join pg_attribute as a on a.attrelid = c.oid
                     where c.relnamespace in (select oid from pg_namespace where nspname in ('cogo', 'public'))
                         and c.relkind in ('r', 'p') and not c.relispartition
                         and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
                         and a.atttypid = 'timestamptz'::regtype
                     group by c.oid
                 loop
                     execute format('update %s set %s', v_table.name, v_table.moves);
                 end loop;
             end
             $$;
             commit",
            seconds = time.as_secs_f64()
        );
        self.client().await.batch_execute(&sql).await.expect("moments can be moved");
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let url = self.shared.url("postgres");
        let sql = format!("drop database if exists {} with (force)", self.name);
        // A runtime of its own: this one may be about to end, and must not be blocked.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                // Whatever remains is dropped an hour later.
                let _ = connect(&url).await.batch_execute(&sql).await;
            });
        });
        let _ = dropping.join();
    }
}

/// Runs each statement in a transaction of its own, as PostgREST does.
pub struct Caller {
    client: Client,
    setup: String,
}

impl Caller {
    pub async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.client.batch_execute(&format!("begin; {}", self.setup)).await?;
        let result = self.client.query(sql, parameters).await;
        // A commit may fail, too: some constraints are checked only there.
        let end = if result.is_ok() { "commit" } else { "rollback" };
        self.client.batch_execute(end).await?;
        result
    }

    /// How many rows it touched.
    pub async fn execute(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        self.client.batch_execute(&format!("begin; {}", self.setup)).await?;
        let result = self.client.execute(sql, parameters).await;
        let end = if result.is_ok() { "commit" } else { "rollback" };
        self.client.batch_execute(end).await?;
        result
    }
}

#[expect(clippy::disallowed_methods, reason = "the connection ends with its client")]
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("it runs");
    tokio::spawn(connection);
    client
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A test can do nothing about it, but whoever runs it can.
fn told<T>(result: Result<T, localstack::PostgresError>) -> T {
    result.unwrap_or_else(|error| {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}\n  because {error}");
            cause = error.source();
        }
        panic!("no database for tests: {text}")
    })
}
