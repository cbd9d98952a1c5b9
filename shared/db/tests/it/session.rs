use std::time::{Duration, Instant};

use db::{
    Commit, DbError, DbSettings, Disposition, Rang, Session, SessionSetting, Statement, Type,
};
use testkit::{Cluster, ClusterOptions};
use tokio::time::timeout;

use crate::stall::Stall;

const PATIENCE: Duration = Duration::from_secs(10);

/// Clocks of tokio are no finer.
const TICK: Duration = Duration::from_millis(20);

static PID: Statement = Statement { name: "test.pid", sql: "select pg_backend_pid()", types: &[] };

static SLEEP: Statement =
    Statement { name: "test.sleep", sql: "select pg_sleep($1)", types: &[Type::FLOAT8] };

async fn listen(settings: &DbSettings) -> Session {
    Session::open(settings, &["codegen/generate".to_owned()], Commit::Forgettable).await.unwrap()
}

#[tokio::test]
async fn many_rings_of_one_bell_are_heard_as_one() {
    let test = testkit::database().await;
    let session = listen(&test.settings()).await;
    let sql = "select pg_notify('codegen/generate', (n % 3)::text), pg_notify('other', '')
               from generate_series(1, 9999) as n";
    test.client().await.batch_execute(sql).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let rings = timeout(PATIENCE, session.notified()).await.unwrap().unwrap();
        assert!(!rings.more);
        heard.extend(rings.rang);
    }
    heard.sort();
    heard.dedup();
    let rang = |payload: &str| Rang {
        channel: "codegen/generate".to_owned(),
        payload: payload.to_owned(),
    };
    assert_eq!(heard, [rang("0"), rang("1"), rang("2")]);
}

#[tokio::test]
async fn too_many_different_rings_are_heard_as_more() {
    let test = testkit::database().await;
    let session = listen(&test.settings()).await;
    let sql = "select pg_notify('codegen/generate', n::text) from generate_series(1, 5000) as n";
    test.client().await.batch_execute(sql).await.unwrap();
    // Nobody asked so far, and all of it has arrived once a later answer has.
    while session.query_one(&PID, &[]).await.is_ok() {
        let rings = timeout(PATIENCE, session.notified()).await.unwrap().unwrap();
        if rings.more {
            assert_eq!(rings.rang.len(), 1024);
            return;
        }
    }
}

#[tokio::test]
async fn a_ring_is_not_lost_by_whoever_stops_waiting() {
    let test = testkit::database().await;
    let session = listen(&test.settings()).await;
    assert!(timeout(Duration::from_millis(20), session.notified()).await.is_err());
    session.listen("later").await.unwrap();
    test.client().await.batch_execute("notify later, 'x'").await.unwrap();
    let heard = timeout(PATIENCE, session.notified()).await.unwrap().unwrap();
    assert_eq!(heard.rang, [Rang { channel: "later".to_owned(), payload: "x".to_owned() }]);
    session.unlisten("later").await.unwrap();
    test.client().await.batch_execute("notify later, 'y'").await.unwrap();
    session.probe(PATIENCE).await.unwrap();
    assert!(timeout(Duration::from_millis(20), session.notified()).await.is_err());
}

#[tokio::test]
async fn a_session_may_forget_its_last_commits_only_if_asked_to() {
    let test = testkit::database().await;
    static COMMIT: Statement = Statement {
        name: "test.commit",
        sql: "select current_setting('synchronous_commit')",
        types: &[],
    };
    test.client()
        .await
        .batch_execute("alter role postgres set synchronous_commit = on")
        .await
        .unwrap();
    for (commit, setting) in [(Commit::Forgettable, "off"), (Commit::Durable, "on")] {
        let session = Session::open(&test.settings(), &[], commit).await.unwrap();
        let row = session.query_one(&COMMIT, &[]).await.unwrap();
        assert_eq!(row.get::<String>(0), setting);
    }
}

#[tokio::test]
async fn when_the_server_goes_every_pending_and_later_call_fails_at_once() {
    let cluster = Cluster::start(&ClusterOptions { fsync: false, ..Default::default() }).unwrap();
    let session = listen(&DbSettings::at(&cluster.url("postgres"))).await;
    let start = Instant::now();
    let (slept, heard, ()) =
        tokio::join!(session.execute(&SLEEP, &[&60.0]), session.notified(), async {
            cluster.stop_immediate().unwrap();
        });
    for error in [slept.unwrap_err(), heard.unwrap_err()] {
        assert!(matches!(error, DbError::Lost { .. }), "{error:?}");
        assert_eq!(error.disposition(), Disposition::Retry);
    }
    timeout(PATIENCE, session.closed()).await.unwrap();
    assert!(session.is_closed());
    session.query_one(&PID, &[]).await.unwrap_err();
    session.notified().await.unwrap_err();
    session.probe(PATIENCE).await.unwrap_err();
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_connection_that_died_without_a_word_is_found_by_a_probe() {
    let cluster = Cluster::start(&ClusterOptions { fsync: false, ..Default::default() }).unwrap();
    let stall = Stall::before(cluster.port()).await;
    let url = cluster.url("postgres").replace(&cluster.port().to_string(), &stall.port.to_string());
    let session = listen(&DbSettings::at(&url)).await;
    session.probe(PATIENCE).await.unwrap();
    stall.stall();
    let start = Instant::now();
    let (asked, probed) =
        tokio::join!(session.query_one(&PID, &[]), session.probe(Duration::from_millis(100)));
    asked.unwrap_err();
    probed.unwrap_err();
    timeout(PATIENCE, session.closed()).await.unwrap();
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test]
async fn an_idle_session_finds_a_dead_connection_by_itself_within_15_seconds() {
    let cluster = Cluster::start(&ClusterOptions { fsync: false, ..Default::default() }).unwrap();
    let stall = Stall::before(cluster.port()).await;
    let url = cluster.url("postgres").replace(&cluster.port().to_string(), &stall.port.to_string());
    let session = listen(&DbSettings::at(&url)).await;
    // Given up by its caller; it must not keep the session from looking after itself.
    assert!(timeout(TICK, session.execute(&SLEEP, &[&0.1])).await.is_err());
    stall.stall();
    // From here on nothing happens but waiting, so the clock may run ahead.
    tokio::time::pause();
    timeout(Duration::from_secs(15) + TICK, session.closed()).await.unwrap();
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_has_no_sessions() {
    let test = testkit::database().await;
    let settings = DbSettings { db_session: SessionSetting::Transaction, ..test.settings() };
    let refused = Session::open(&settings, &[], Commit::Durable).await;
    assert!(matches!(refused, Err(DbError::NeedsSession)));
}
