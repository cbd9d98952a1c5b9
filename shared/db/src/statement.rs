use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::StatementCache;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};
use tokio_util::sync::CancellationToken;

use crate::error::stale_plan;
use crate::parameter::{Parameters, sql};
use crate::{DbError, Row, SessionMode, Trouble, within};

/// A statement and all there is to know about it before running it.
///
/// ```
/// use db::{Statement, Type};
///
/// static DEPTH: Statement = Statement {
///     name: "bus.depth",
///     sql: "select count(*) from agent_messages where service = $1",
///     types: &[Type::TEXT],
/// };
/// ```
///
/// Behind a pooler in transaction mode its results must be of built-in types: reading another
/// type's definition takes a named statement.
#[derive(Debug)]
pub struct Statement {
    /// How errors call it: crate and verb.
    pub name: &'static str,
    pub sql: &'static str,
    /// Of `$1`, `$2`, …; told, because asking the server takes a named statement.
    pub types: &'static [Type],
}

/// One connection and how statements are run on it.
#[derive(Clone, Copy)]
pub(crate) struct Wire<'a> {
    pub(crate) client: &'a Client,
    pub(crate) cache: &'a StatementCache,
    pub(crate) rules: Rules,
    pub(crate) unfinished: &'a Unfinished,
    /// Within a transaction, whether one of its statements failed.
    pub(crate) transaction: Option<&'a AtomicBool>,
    /// For a connection that is not from the pool: what ends it.
    pub(crate) end: Option<&'a CancellationToken>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) mode: SessionMode,
    /// How long we wait for an answer.
    pub(crate) limit: Option<Duration>,
}

/// Counts statements that were sent and not answered: because they are under way, because nobody
/// waits any more, or because the connection broke.
#[derive(Debug, Default)]
pub(crate) struct Unfinished(AtomicUsize);

impl Statement {
    /// Whether it only calls one of our functions, with every argument named, and so can also be
    /// run where there is only the REST API.
    pub fn is_call(&self) -> bool {
        crate::call::is_call(self.sql)
    }
}

impl Unfinished {
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Wire<'_> {
    pub(crate) async fn query(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, DbError> {
        let parameters = &*sql(parameters);
        let mut result =
            self.answered(statement.name, self.query_once(statement, parameters)).await;
        if self.plan_was_stale(statement, &result) {
            result = self.answered(statement.name, self.query_once(statement, parameters)).await;
        }
        Ok(result?.into_iter().map(Row::wire).collect())
    }

    async fn query_once(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        match self.rules.mode {
            SessionMode::Session => {
                let prepared =
                    self.cache.prepare_typed(self.client, statement.sql, statement.types).await?;
                self.client.query(&prepared, parameters).await
            }
            SessionMode::Transaction | SessionMode::Supabase => {
                self.client.query_typed(statement.sql, &typed(statement, parameters)).await
            }
        }
    }

    pub(crate) async fn execute(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<u64, DbError> {
        let parameters = &*sql(parameters);
        let mut result =
            self.answered(statement.name, self.execute_once(statement, parameters)).await;
        if self.plan_was_stale(statement, &result) {
            result = self.answered(statement.name, self.execute_once(statement, parameters)).await;
        }
        result
    }

    async fn execute_once(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        match self.rules.mode {
            SessionMode::Session => {
                let prepared =
                    self.cache.prepare_typed(self.client, statement.sql, statement.types).await?;
                self.client.execute(&prepared, parameters).await
            }
            SessionMode::Transaction | SessionMode::Supabase => {
                self.client.execute_typed(statement.sql, &typed(statement, parameters)).await
            }
        }
    }

    pub(crate) async fn query_opt(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<Option<Row>, DbError> {
        let rows = self.query(statement, parameters).await?;
        if rows.len() > 1 {
            return Err(wrong_count(statement, rows.len()));
        }
        Ok(rows.into_iter().next())
    }

    pub(crate) async fn query_one(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<Row, DbError> {
        self.query_opt(statement, parameters).await?.ok_or_else(|| wrong_count(statement, 0))
    }

    /// Several statements without parameters, by the simple protocol.
    pub(crate) async fn batch(&self, name: &'static str, sql: &str) -> Result<(), DbError> {
        self.answered(name, self.client.batch_execute(sql)).await
    }

    /// A migration may change what a prepared statement returns. The server says so before it does
    /// anything, so preparing it anew and asking again is safe; within a transaction that is lost.
    fn plan_was_stale<T>(&self, statement: &Statement, result: &Result<T, DbError>) -> bool {
        let Err(DbError::TryAgain { source: Trouble::Server(said), .. }) = result else {
            return false;
        };
        if !stale_plan(said) {
            return false;
        }
        self.cache.remove(statement.sql, statement.types);
        self.transaction.is_none()
    }

    pub(crate) async fn answered<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, DbError> {
        let mut sent = Sent::count(self.unfinished, self.end.is_some());
        let result = match self.rules.limit {
            Some(limit) => within(name, limit, work).await,
            None => Ok(work.await),
        };
        let result = match result {
            Ok(answer) => answer.map_err(|error| DbError::running(name, &error)),
            Err(late) => {
                if let Some(end) = self.end {
                    end.cancel();
                }
                Err(DbError::TooSlow(late))
            }
        };
        let lost = result.as_ref().is_err_and(DbError::spoils_the_connection);
        // An error is told before the server is ready again. At that moment a pooler gives the server
        // to somebody else, even in the middle of what the next borrower sends.
        let too_early = result.is_err() && self.rules.mode != SessionMode::Session;
        if !lost && !too_early {
            sent.forget_me = true;
        }
        if let (Err(_), Some(failed)) = (&result, self.transaction) {
            failed.store(true, Ordering::Relaxed);
        }
        result
    }
}

/// A statement on its way.
struct Sent<'a> {
    unfinished: &'a Unfinished,
    /// Whether it is to be counted no more once nobody waits for it.
    forget_me: bool,
}

impl<'a> Sent<'a> {
    fn count(unfinished: &'a Unfinished, forget_me: bool) -> Self {
        unfinished.0.fetch_add(1, Ordering::Relaxed);
        Self { unfinished, forget_me }
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if self.forget_me {
            self.unfinished.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn typed<'a>(
    statement: &Statement,
    parameters: &[&'a (dyn ToSql + Sync)],
) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    // The other mode would say so, too; `zip` would only forget the rest.
    assert_eq!(parameters.len(), statement.types.len(), "parameters of {}", statement.name);
    parameters.iter().copied().zip(statement.types.iter().cloned()).collect()
}

pub(crate) fn wrong_count(statement: &Statement, count: usize) -> DbError {
    let source = Trouble::Way(format!("it returned {count} rows where one was due"));
    DbError::Statement { statement: statement.name, source }
}

/// Writes the four ways to run a statement, for whatever has a `wire()`.
macro_rules! statements {
    () => {
        pub async fn query(
            &self,
            statement: &$crate::Statement,
            parameters: &[&dyn $crate::Parameter],
        ) -> Result<Vec<$crate::Row>, $crate::DbError> {
            self.wire().query(statement, parameters).await
        }

        /// Exactly one row, or an error.
        pub async fn query_one(
            &self,
            statement: &$crate::Statement,
            parameters: &[&dyn $crate::Parameter],
        ) -> Result<$crate::Row, $crate::DbError> {
            self.wire().query_one(statement, parameters).await
        }

        /// At most one row, or an error.
        pub async fn query_opt(
            &self,
            statement: &$crate::Statement,
            parameters: &[&dyn $crate::Parameter],
        ) -> Result<Option<$crate::Row>, $crate::DbError> {
            self.wire().query_opt(statement, parameters).await
        }

        /// How many rows it touched.
        pub async fn execute(
            &self,
            statement: &$crate::Statement,
            parameters: &[&dyn $crate::Parameter],
        ) -> Result<u64, $crate::DbError> {
            self.wire().execute(statement, parameters).await
        }

        /// Several statements without parameters at once; `name` is for errors.
        pub async fn batch(&self, name: &'static str, sql: &str) -> Result<(), $crate::DbError> {
            self.wire().batch(name, sql).await
        }
    };
}
pub(crate) use statements;
