//! Behind a real PgBouncer, which gives every transaction another server process where it can.

use std::collections::BTreeSet;
use std::time::Duration;

use db::migrate::{self, MigrateError};
use db::{Commit, Db, DbError, DbSettings, Session, SessionMode, SessionSetting, Statement, Type};
use testkit::{Pooler, Pooling, TestDb};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// What a server process was told by those who had it before, and which one it is.
static LEFT: Statement = Statement {
    name: "test.left",
    sql: "select pg_backend_pid(), current_setting('statement_timeout'), count(*)
        from pg_prepared_statements",
    types: &[],
};

static PLUS: Statement =
    Statement { name: "test.plus", sql: "select $1 + 1", types: &[Type::INT4] };

static SLEEP: Statement =
    Statement { name: "test.sleep", sql: "select pg_sleep($1)", types: &[Type::FLOAT8] };

async fn behind(pooling: Pooling) -> (TestDb, Pooler) {
    let test = testkit::database().await;
    let pooler = Pooler::before(&test.url(), pooling).await;
    (test, pooler)
}

async fn left(db: &Db) -> (i32, String, i64) {
    let row = db.query_one(&LEFT, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test]
async fn in_transaction_mode_every_statement_may_reach_another_process_and_leaves_nothing_there() {
    let (_test, pooler) = behind(Pooling::Transaction).await;
    let db = Db::connect(&pooler.settings()).unwrap();
    assert_eq!(db.mode(), SessionMode::Transaction, "as the URL says");
    let mut processes = BTreeSet::new();
    for _ in 0..20 {
        let (process, timeout, named) = left(&db).await;
        assert_eq!((timeout.as_str(), named), ("0", 0));
        processes.insert(process);
    }
    assert!(processes.len() > 1, "the pooler did not pool: {processes:?}");
}

#[tokio::test]
async fn in_transaction_mode_a_transaction_stays_in_one_process() {
    let (_test, pooler) = behind(Pooling::Transaction).await;
    let db = Db::connect(&pooler.settings()).unwrap();
    let mut client = db.client().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let mut processes = BTreeSet::new();
    for _ in 0..5 {
        let row = transaction.query_one(&LEFT, &[]).await.unwrap();
        processes.insert(row.get::<i32>(0));
    }
    transaction.commit().await.unwrap();
    assert_eq!(processes.len(), 1, "{processes:?}");
}

#[tokio::test]
async fn in_transaction_mode_a_statement_that_takes_too_long_is_given_up_and_the_next_one_works() {
    let (_test, pooler) = behind(Pooling::Transaction).await;
    let settings = DbSettings { db_statement_timeout: Duration::from_secs(1), ..pooler.settings() };
    let db = Db::connect(&settings).unwrap();
    let error = db.query(&SLEEP, &[&60.0]).await.unwrap_err();
    assert!(matches!(error, DbError::TooSlow(_)), "{error:?}");
    assert_eq!(db.query_one(&PLUS, &[&1]).await.unwrap().get::<i32>(0), 2);
}

#[tokio::test]
async fn in_transaction_mode_there_is_no_listening_and_no_migrating() {
    let (_test, pooler) = behind(Pooling::Transaction).await;
    let refused = Session::open(&pooler.settings(), &["x".to_owned()], Commit::Durable).await;
    assert!(matches!(refused, Err(DbError::NeedsSession)), "{refused:?}");
    let refused = migrate::status(&pooler.settings()).await;
    assert!(matches!(refused, Err(MigrateError::Database(DbError::NeedsSession))), "{refused:?}");
}

/// What being right about the mode is for.
#[tokio::test]
async fn who_takes_transaction_mode_for_a_session_leaves_names_for_others() {
    let (_test, pooler) = behind(Pooling::Transaction).await;
    let wrong = DbSettings { db_session: SessionSetting::Session, ..pooler.settings() };
    let mistaken = Db::connect(&wrong).unwrap();
    let _ = mistaken.query_one(&PLUS, &[&1]).await;
    drop(mistaken);
    let db = Db::connect(&pooler.settings()).unwrap();
    let (mut told, mut names) = (0, 0);
    for _ in 0..20 {
        let (_, timeout, named) = left(&db).await;
        told += usize::from(timeout == "30s");
        names += named;
    }
    assert!(told > 0 && names > 0, "{told} and {names}");
}

#[tokio::test]
async fn in_session_mode_statements_have_names_rings_are_heard_and_nothing_is_left() {
    let (test, pooler) = behind(Pooling::Session).await;
    let db = Db::connect(&pooler.settings()).unwrap();
    assert_eq!(db.mode(), SessionMode::Session);
    for _ in 0..3 {
        assert_eq!(db.query_one(&PLUS, &[&41]).await.unwrap().get::<i32>(0), 42);
    }
    let (process, limit, named) = left(&db).await;
    assert_eq!((limit.as_str(), named), ("30s", 2));

    let channels = ["codegen/generate".to_owned()];
    let session = Session::open(&pooler.settings(), &channels, Commit::Forgettable).await.unwrap();
    test.client().await.batch_execute("notify \"codegen/generate\", 'x'").await.unwrap();
    let heard = timeout(PATIENCE, session.notified()).await.unwrap().unwrap();
    assert_eq!(heard.rang[0].payload, "x");
    let status = migrate::status(&pooler.settings()).await.unwrap();
    assert_eq!(status.len(), migrate::EMBEDDED.len());

    // Whoever has that process next finds it as new.
    drop((db, session));
    let silent = DbSettings { db_session: SessionSetting::Transaction, ..pooler.settings() };
    let found = async {
        loop {
            let (next, limit, named) = left(&Db::connect(&silent).unwrap()).await;
            if next == process {
                return (limit, named);
            }
        }
    };
    let (limit, named) = timeout(PATIENCE, found).await.expect("it is used again");
    assert_eq!((limit.as_str(), named), ("0", 0));
}
