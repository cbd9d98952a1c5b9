//! What other crates' tests rely on.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod image_registry;
mod rest;

use std::time::Duration;

use serde_json::json;
use testkit::{Cluster, ClusterOptions, Stopped};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

#[tokio::test]
async fn every_test_has_a_migrated_database_of_its_own() {
    let one = testkit::database().await;
    let other = testkit::database().await;
    one.client().await.batch_execute("create table mine ()").await.unwrap();
    assert!(other.client().await.batch_execute("table mine").await.is_err());
    let status = db::migrate::status(&other.settings()).await.unwrap();
    assert_eq!(status.len(), db::migrate::EMBEDDED.len());
    assert!(status.iter().all(|line| line.state == db::migrate::State::Applied), "{status:?}");
}

#[tokio::test]
async fn a_database_is_dropped_with_its_value_even_while_somebody_is_connected() {
    let kept = testkit::database().await;
    let gone = testkit::database().await;
    let name = gone.url().rsplit('/').next().unwrap().to_owned();
    let client = gone.client().await;
    drop(gone);
    let sql = "select from pg_database where datname = $1";
    let rows = kept.client().await.query(sql, &[&name]).await.unwrap();
    assert!(rows.is_empty(), "{name} is still there");
    assert!(client.batch_execute("select 1").await.is_err());
}

#[tokio::test]
async fn time_passes_when_told_without_waking_a_trigger() {
    let test = testkit::database().await;
    let client = test.client().await;
    client
        .batch_execute(
            "create table public.moments (one timestamptz, other timestamptz, name text,
                 next timestamptz generated always as (one) stored);
             create function no() returns trigger language plpgsql as
                 $$ begin raise exception 'a trigger ran'; end $$;
             insert into public.moments values ('2030-01-01 00:01 Z', null, 'a');
             create trigger no before update on public.moments for each row execute function no()",
        )
        .await
        .unwrap();
    test.advance(Duration::from_millis(61_500)).await;
    let sql = "select one = '2029-12-31 23:59:58.5 Z' and next = one and other is null from public.moments";
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn a_caller_has_a_role_and_claims_and_nothing_of_either_outlives_a_failure() {
    let test = testkit::database().await;
    let client = test.client().await;
    client.batch_execute("create table public.secrets ()").await.unwrap();
    let caller = test.as_role("authenticated", &json!({ "tenant": "o'neill" })).await;
    let refused = caller.query("table public.secrets", &[]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    let sql = "select current_user::text, current_setting('request.jwt.claims')::json ->> 'tenant'";
    let row = caller.query(sql, &[]).await.unwrap().remove(0);
    assert_eq!((row.get(0), row.get(1)), ("authenticated", "o'neill"));
}

#[tokio::test]
async fn the_shared_server_is_not_stopped_while_a_test_uses_it() {
    let test = testkit::database().await;
    let stopped = testkit::stop().unwrap();
    assert!(stopped.iter().any(|server| matches!(server, Stopped::InUse(_))), "{stopped:?}");
    test.client().await.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn a_cluster_keeps_what_was_committed_through_a_crash_and_goes_without_a_trace() {
    let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    let url = cluster.create_migrated_database("mine").await.unwrap();
    let client = connect(&url).await;
    client.batch_execute("create table kept (n int); insert into kept values (7)").await.unwrap();
    let before = cluster.pid().unwrap();
    cluster.restart_immediate().unwrap();
    let pid = cluster.pid().unwrap();
    assert_ne!(pid, before);
    assert!(client.batch_execute("select 1").await.is_err());
    let row = connect(&url).await.query_one("table kept", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    let fsync = connect(&cluster.socket_url("mine")).await;
    let fsync = fsync.query_one("select current_setting('fsync')", &[]).await.unwrap();
    assert_eq!(fsync.get::<_, &str>(0), "on");

    drop(cluster);
    // A zombie, if whoever inherited it does not care, has no command line.
    let left = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(left.is_empty(), "{left}");
    assert!(tokio_postgres::connect(&url, NoTls).await.is_err());
}

#[expect(clippy::disallowed_methods, reason = "the connection ends with its client")]
async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
