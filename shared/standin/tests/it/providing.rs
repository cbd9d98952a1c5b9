use db::{Db, DbSettings, Statement};
use model::Secret;
use serde_json::json;
use standin::{ProvideError, Standin, StartError, provide};
use testkit::{Cluster, ClusterOptions};

use crate::fixture::{Fixture, settings};

#[tokio::test]
async fn policies_can_ask_who_the_caller_is() {
    let on = Fixture::new().await;
    let me = "00000000-0000-0000-0000-000000000007";
    let claims = json!({ "role": "authenticated", "sub": me, "email": "a@b.c" });
    let caller = on.test.as_role("authenticated", &claims).await;
    let sql = "select auth.uid()::text, auth.role(), auth.email(), auth.jwt()::text";
    let row = caller.query(sql, &[]).await.unwrap().remove(0);
    let told: Vec<&str> = (0..3).map(|column| row.get(column)).collect();
    assert_eq!(told, [me, "authenticated", "a@b.c"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(row.get(3)).unwrap(), claims);
    // Nobody asked in a request.
    let row = on.client.query_one("select auth.uid() is null, realtime.topic() is null", &[]).await;
    let row = row.unwrap();
    assert!(row.get::<_, bool>(0) && row.get::<_, bool>(1));
}

#[tokio::test]
async fn providing_again_changes_nothing_and_many_may_at_once() {
    let cluster = Cluster::start(&ClusterOptions { fsync: false, ..Default::default() }).unwrap();
    let mut all = tokio::task::JoinSet::new();
    for name in ["one", "two", "three"] {
        let db = DbSettings::at(&cluster.create_database(name).await.unwrap());
        for _ in 0..2 {
            let db = db.clone();
            all.spawn(async move { provide(&db, None).await });
        }
    }
    while let Some(provided) = all.join_next().await {
        provided.unwrap().unwrap();
    }
    let url = cluster.url("one");
    let client = Db::connect(&DbSettings::at(&url)).unwrap().client().await.unwrap();
    client.batch("test.send", "select realtime.send('{}', 'kept', 'a')").await.unwrap();
    provide(&DbSettings::at(&url), None).await.unwrap();
    static KEPT: Statement =
        Statement { name: "test.kept", sql: "select event from realtime.messages", types: &[] };
    assert_eq!(client.query_one(&KEPT, &[]).await.unwrap().get::<String>(0), "kept");
}

#[tokio::test]
async fn authenticator_can_log_in_with_its_password_which_no_log_has() {
    let options = ClusterOptions {
        fsync: false,
        settings: vec![("log_statement".to_owned(), "all".to_owned())],
        ..Default::default()
    };
    let cluster = Cluster::start(&options).unwrap();
    let url = cluster.create_database("one").await.unwrap();
    let password = Secret::new("it's hunter2".to_owned());
    provide(&DbSettings::at(&url), Some(&password)).await.unwrap();
    let login =
        format!("postgres://authenticator:it%27s%20hunter2@127.0.0.1:{}/one", cluster.port());
    let client = Db::connect(&DbSettings::at(&login)).unwrap().client().await.unwrap();
    for role in ["anon", "authenticated", "service_role"] {
        client
            .batch("test.role", &format!("begin; set local role {role}; rollback"))
            .await
            .unwrap();
    }
    let log = cluster.log();
    assert!(log.contains("create role authenticator"), "the log is kept");
    assert!(!log.contains("hunter2") && !log.contains("SCRAM-SHA-256"), "{log}");
    // The other way round it says whom to ask.
    let refused = provide(&DbSettings::at(&login), None).await;
    assert!(matches!(refused, Err(ProvideError::NotSuperuser)), "{refused:?}");
}

#[tokio::test]
async fn what_somebody_else_provides_is_left_alone() {
    let cluster = Cluster::start(&ClusterOptions { fsync: false, ..Default::default() }).unwrap();
    let url = cluster.create_database("one").await.unwrap();
    let db = DbSettings::at(&url);
    let client = Db::connect(&db).unwrap().client().await.unwrap();
    let theirs = "create schema auth; create schema realtime;
        create function auth.uid() returns uuid language sql as 'select null::uuid';
        create function realtime.send(payload jsonb, event text, topic text, private boolean)
            returns void language sql as ''";
    client.batch("test.theirs", theirs).await.unwrap();
    static SOURCES: Statement = Statement {
        name: "test.sources",
        sql: "select string_agg(prosrc, '|' order by proname) from pg_proc
              where pronamespace in ('auth'::regnamespace, 'realtime'::regnamespace)",
        types: &[],
    };
    provide(&db, None).await.unwrap();
    let row = client.query_one(&SOURCES, &[]).await.unwrap();
    assert_eq!(row.get::<String>(0), "|select null::uuid");
}

#[tokio::test]
async fn without_what_supabase_brings_along_it_does_not_start() {
    let test = testkit::database().await;
    let refused = Standin::start(settings(test.settings())).await;
    assert!(matches!(refused, Err(StartError::NotProvided)));
}
