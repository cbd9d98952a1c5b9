use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use db::{Db, DbError, DbSettings, Disposition, SessionMode, SessionSetting, Statement, Type};
use testkit::{Cluster, ClusterOptions, TestDb};

use crate::stall::Stall;

static PLUS: Statement =
    Statement { name: "test.plus", sql: "select $1 + 1", types: &[Type::INT4] };

static PID: Statement = Statement { name: "test.pid", sql: "select pg_backend_pid()", types: &[] };

static SLEEP: Statement =
    Statement { name: "test.sleep", sql: "select pg_sleep($1)", types: &[Type::FLOAT8] };

static NAMED: Statement = Statement {
    name: "test.named",
    sql: "select count(*) from pg_prepared_statements",
    types: &[],
};

static BROKEN: Statement =
    Statement { name: "test.broken", sql: "select 1 / $1", types: &[Type::INT4] };

fn one_connection(test: &TestDb) -> DbSettings {
    DbSettings { db_pool: NonZeroUsize::MIN, ..test.settings() }
}

async fn plus(db: &Db) -> Result<i32, DbError> {
    Ok(db.query_one(&PLUS, &[&1]).await?.get(0))
}

/// A connection that just broke may cost one call, and a starting server several.
async fn recovers(db: &Db) {
    let start = Instant::now();
    while let Err(error) = plus(db).await {
        assert_eq!(error.disposition(), Disposition::Retry, "{}", crate::told(&error));
        assert!(start.elapsed() < Duration::from_secs(20), "{}", crate::told(&error));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn statements_are_prepared_once_in_session_mode() {
    let test = testkit::database().await;
    let db = Db::connect(&one_connection(&test)).unwrap();
    for _ in 0..3 {
        assert_eq!(plus(&db).await.unwrap(), 2);
    }
    // This one, too, has a name by now.
    assert_eq!(db.query_one(&NAMED, &[]).await.unwrap().get::<i64>(0), 2);
}

#[tokio::test]
async fn no_statement_has_a_name_behind_a_pooler_in_transaction_mode() {
    let test = testkit::database().await;
    let settings = DbSettings { db_session: SessionSetting::Transaction, ..one_connection(&test) };
    let db = Db::connect(&settings).unwrap();
    assert_eq!(db.mode(), SessionMode::Transaction);
    assert_eq!(plus(&db).await.unwrap(), 2);
    assert_eq!(db.query(&PLUS, &[&1]).await.unwrap().len(), 1);
    let mut client = db.client().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    assert_eq!(transaction.query_one(&PLUS, &[&41]).await.unwrap().get::<i32>(0), 42);
    assert_eq!(transaction.query_one(&NAMED, &[]).await.unwrap().get::<i64>(0), 0);
    transaction.commit().await.unwrap();
    // Nor was the session told anything that its next user would inherit.
    let sql = "do $$ begin assert current_setting('statement_timeout') = '0'; end $$";
    client.batch("test", sql).await.unwrap();
}

#[tokio::test]
async fn behind_a_pooler_nobody_borrows_a_connection_on_which_a_statement_just_failed() {
    let test = testkit::database().await;
    for (session, is_kept) in
        [(SessionSetting::Transaction, false), (SessionSetting::Session, true)]
    {
        let settings = DbSettings { db_session: session, ..one_connection(&test) };
        let db = Db::connect(&settings).unwrap();
        let before: i32 = db.query_one(&PID, &[]).await.unwrap().get(0);
        db.query(&BROKEN, &[&0]).await.unwrap_err();
        let after: i32 = db.query_one(&PID, &[]).await.unwrap().get(0);
        assert_eq!(before == after, is_kept, "{session:?}");
    }
}

#[tokio::test]
async fn a_terminated_connection_is_replaced() {
    let test = testkit::database().await;
    let db = Db::connect(&one_connection(&test)).unwrap();
    let pid: i32 = db.query_one(&PID, &[]).await.unwrap().get(0);
    let admin = test.client().await;
    admin.execute("select pg_terminate_backend($1)", &[&pid]).await.unwrap();
    recovers(&db).await;
    assert_ne!(db.query_one(&PID, &[]).await.unwrap().get::<i32>(0), pid);
}

#[tokio::test]
async fn a_statement_whose_connection_is_terminated_fails_at_once_and_may_have_happened() {
    let test = testkit::database().await;
    let db = Db::connect(&one_connection(&test)).unwrap();
    let pid: i32 = db.query_one(&PID, &[]).await.unwrap().get(0);
    let admin = test.client().await;
    let (slept, ()) = tokio::join!(db.query(&SLEEP, &[&60.0]), async {
        let waits = "select from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
        while admin.query(waits, &[&pid]).await.unwrap().is_empty() {}
        admin.execute("select pg_terminate_backend($1)", &[&pid]).await.unwrap();
    });
    let error = slept.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry);
    assert!(error.may_have_happened(), "{error:?}");
    recovers(&db).await;
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let cluster = Cluster::start(&ClusterOptions { fsync: false, ..Default::default() }).unwrap();
    let db = Db::connect(&DbSettings::at(&cluster.url("postgres"))).unwrap();
    assert_eq!(plus(&db).await.unwrap(), 2);
    cluster.stop_immediate().unwrap();
    let error = plus(&db).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry, "{}", crate::told(&error));
    cluster.start_again().unwrap();
    recovers(&db).await;
}

#[tokio::test]
async fn an_overlong_statement_is_cancelled_by_the_server_and_the_connection_stays() {
    let test = testkit::database().await;
    let settings =
        DbSettings { db_statement_timeout: Duration::from_millis(50), ..one_connection(&test) };
    let db = Db::connect(&settings).unwrap();
    let pid: i32 = db.query_one(&PID, &[]).await.unwrap().get(0);
    let error = db.query(&SLEEP, &[&60.0]).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry);
    assert_eq!(error.code().unwrap().code(), "57014");
    assert_eq!(db.query_one(&PID, &[]).await.unwrap().get::<i32>(0), pid);
}

#[tokio::test]
async fn a_connection_that_stopped_answering_is_given_up_and_replaced() {
    let cluster = Cluster::start(&ClusterOptions { fsync: false, ..Default::default() }).unwrap();
    let stall = Stall::before(cluster.port()).await;
    let url = cluster.url("postgres").replace(&cluster.port().to_string(), &stall.port.to_string());
    // In transaction mode nobody but us watches the time.
    let settings = DbSettings {
        db_statement_timeout: Duration::from_millis(200),
        db_connect_timeout: Duration::from_secs(2),
        db_session: SessionSetting::Transaction,
        ..DbSettings::at(&url)
    };
    let db = Db::connect(&settings).unwrap();
    assert_eq!(plus(&db).await.unwrap(), 2);
    stall.stall();
    let error = plus(&db).await.unwrap_err();
    assert!(matches!(error, DbError::TooSlow(_)), "{error:?}");
    assert!(error.may_have_happened());
    // The next call does not wait on the same connection, but for a new one.
    let error = plus(&db).await.unwrap_err();
    assert!(matches!(error, DbError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_caller_who_stops_waiting_leaves_no_answer_for_the_next() {
    let test = testkit::database().await;
    let db = Db::connect(&one_connection(&test)).unwrap();
    let hasty = tokio::time::timeout(Duration::from_millis(100), db.query(&SLEEP, &[&60.0]));
    assert!(hasty.await.is_err());
    let start = Instant::now();
    assert_eq!(plus(&db).await.unwrap(), 2);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_transaction_holds_all_or_nothing() {
    let test = testkit::database().await;
    let db = Db::connect(&one_connection(&test)).unwrap();
    let mut client = db.client().await.unwrap();
    client.batch("test", "create table t (n int)").await.unwrap();
    static INSERT: Statement =
        Statement { name: "test.insert", sql: "insert into t values ($1)", types: &[Type::INT4] };
    static COUNT: Statement =
        Statement { name: "test.count", sql: "select count(*) from t", types: &[] };

    let transaction = client.transaction().await.unwrap();
    transaction.execute(&INSERT, &[&1]).await.unwrap();
    drop(transaction);
    assert_eq!(client.query_one(&COUNT, &[]).await.unwrap().get::<i64>(0), 0);

    let transaction = client.transaction().await.unwrap();
    transaction.execute(&INSERT, &[&1]).await.unwrap();
    transaction.execute(&BROKEN, &[&0]).await.unwrap_err();
    // The server would answer with a rollback that looks like success.
    transaction.commit().await.unwrap_err();
    assert_eq!(client.query_one(&COUNT, &[]).await.unwrap().get::<i64>(0), 0);

    let transaction = client.transaction().await.unwrap();
    transaction.execute(&INSERT, &[&1]).await.unwrap();
    transaction.commit().await.unwrap();
    drop(client);
    assert_eq!(db.query_one(&COUNT, &[]).await.unwrap().get::<i64>(0), 1);
}

#[tokio::test]
async fn a_prepared_statement_survives_a_migration_of_what_it_reads() {
    let test = testkit::database().await;
    let db = Db::connect(&one_connection(&test)).unwrap();
    static READ: Statement = Statement { name: "test.read", sql: "select * from t", types: &[] };
    let admin = test.client().await;
    admin.batch_execute("create table t (a int); insert into t values (1)").await.unwrap();
    assert_eq!(db.query_one(&READ, &[]).await.unwrap().len(), 1);
    admin.batch_execute("alter table t add b int").await.unwrap();
    assert_eq!(db.query_one(&READ, &[]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_full_pool_says_so() {
    let test = testkit::database().await;
    let settings =
        DbSettings { db_connect_timeout: Duration::from_millis(50), ..one_connection(&test) };
    let db = Db::connect(&settings).unwrap();
    let _busy = tokio::time::timeout(Duration::from_secs(5), async {
        // The first connection may take longer than that on a busy machine.
        loop {
            if let Ok(client) = db.client().await {
                return client;
            }
        }
    })
    .await
    .unwrap();
    let error = plus(&db).await.unwrap_err();
    assert!(matches!(error, DbError::PoolBusy { size: 1, .. }), "{error:?}");
    assert_eq!(error.disposition(), Disposition::Retry);
}

#[tokio::test]
async fn we_are_called_by_our_name() {
    let test = testkit::database().await;
    let db = Db::connect(&test.settings().named("codegen-worker")).unwrap();
    static NAME: Statement = Statement {
        name: "test.name",
        sql: "select current_setting('application_name')",
        types: &[],
    };
    let row = db.query_one(&NAME, &[]).await.unwrap();
    assert_eq!(row.get::<String>(0), "codegen-worker");
}
