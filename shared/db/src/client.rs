use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::Object;
use futures_util::FutureExt;

use crate::statement::{Rules, Unfinished, Wire, statements};
use crate::{DbError, Trouble};

/// A connection on loan from the pool; dropping it gives it back, unless it broke or an answer is
/// still due on it.
#[derive(Debug)]
pub struct Client {
    object: Option<Object>,
    rules: Rules,
    unfinished: Unfinished,
}

impl Client {
    pub(crate) fn new(object: Object, rules: Rules) -> Self {
        Self { object: Some(object), rules, unfinished: Unfinished::default() }
    }

    statements!();

    pub async fn transaction(&mut self) -> Result<Transaction<'_>, DbError> {
        self.batch("begin", "begin").await?;
        Ok(Transaction { client: self, open: true, failed: AtomicBool::new(false) })
    }

    fn wire(&self) -> Wire<'_> {
        let object = self.object();
        Wire {
            client: object,
            cache: &object.statement_cache,
            rules: self.rules,
            unfinished: &self.unfinished,
            transaction: None,
            end: None,
        }
    }

    fn object(&self) -> &Object {
        self.object.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.unfinished.any() {
            // The next borrower would have to wait for an answer that is not its own.
            drop(self.object.take().map(Object::take));
        }
    }
}

/// Rolled back unless [`Transaction::commit`] succeeds.
#[derive(Debug)]
#[must_use = "a transaction that is not committed is rolled back"]
pub struct Transaction<'a> {
    client: &'a mut Client,
    open: bool,
    failed: AtomicBool,
}

impl Transaction<'_> {
    statements!();

    pub async fn commit(mut self) -> Result<(), DbError> {
        if self.failed.load(Ordering::Relaxed) {
            // The server would answer this commit with a rollback, and call it a success.
            let source = Trouble::Way("one of its statements failed".to_owned());
            return Err(DbError::Statement { statement: "commit", source });
        }
        self.open = false;
        self.client.batch("commit", "commit").await
    }

    pub async fn rollback(mut self) -> Result<(), DbError> {
        self.open = false;
        self.client.batch("rollback", "rollback").await
    }

    fn wire(&self) -> Wire<'_> {
        Wire { transaction: Some(&self.failed), ..self.client.wire() }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            // Polled once, it is sent; whoever uses the connection next comes after it.
            let _ = self.client.object().batch_execute("rollback").now_or_never();
        }
    }
}
