use std::time::Duration;

use db::migrate;
use db::{Commit, Db, DbError, DbSettings, Disposition, Login, Session, Statement};
use testkit::{Cluster, ClusterOptions};

/// Nothing we print may contain it.
const CANARY: &str = "canary-5d1f";

static ONE: Statement = Statement { name: "test.one", sql: "select 1", types: &[] };

async fn fails(url: &str) -> DbError {
    let settings = DbSettings { db_connect_timeout: Duration::from_secs(2), ..DbSettings::at(url) };
    assert!(!format!("{settings:?}").contains(CANARY));
    let session = Session::open(&settings, &["a".to_owned()], Commit::Durable).await;
    let migrated = migrate::status(&settings).await.unwrap_err();
    let error = match Db::connect(&settings) {
        Err(error) => error,
        Ok(db) => {
            assert!(!format!("{db:?} {}", db.server()).contains(CANARY));
            db.query(&ONE, &[]).await.unwrap_err()
        }
    };
    for text in [
        crate::told(&error),
        crate::told(&session.unwrap_err()),
        crate::told(&migrated),
        miette::Report::new(migrated).to_string(),
    ] {
        assert!(!text.contains(CANARY), "{text}");
    }
    error
}

#[tokio::test]
async fn whatever_goes_wrong_the_password_is_not_told() {
    let cluster = Cluster::start(&ClusterOptions { fsync: false, ..Default::default() }).unwrap();
    let at =
        |port: u16, rest: &str| format!("postgres://postgres:{CANARY}@127.0.0.1:{port}/{rest}");
    let port = cluster.port();

    let error = fails(&at(port, "postgres")).await;
    assert!(
        matches!(error, DbError::LoginRefused { source: Login::WrongPassword(_), .. }),
        "{error:?}"
    );
    let error = fails(&at(port, "postgres?sslmode=require")).await;
    assert!(matches!(error, DbError::Tls { .. }), "{error:?}");
    assert_eq!(error.disposition(), Disposition::GiveUp);
    let error = fails(&at(port, "postgres?sslmode=verify-full&sslrootcert=/nowhere.pem")).await;
    assert!(matches!(error, DbError::InvalidTls(_)), "{error:?}");
    let error = fails(&at(1, "postgres")).await;
    assert!(matches!(error, DbError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.disposition(), Disposition::Retry);
    assert!(error.to_string().contains("127.0.0.1:1/postgres"), "{error}");
    let error = fails(&format!("postgres://postgres:{CANARY}@nowhere.invalid/postgres")).await;
    assert!(matches!(error, DbError::Unreachable { .. }), "{error:?}");
    for url in [
        CANARY.to_owned(),
        format!("postgres://u:{CANARY}@x@{CANARY}/d"),
        format!("postgres://h/d?{CANARY}=1"),
        format!("postgres://h:{CANARY}/d"),
    ] {
        let error = fails(&url).await;
        assert!(matches!(error, DbError::InvalidUrl(_)), "{url}: {error:?}");
    }

    let missing = cluster.url("missing");
    let db = Db::connect(&DbSettings::at(&missing)).unwrap();
    let error = db.query(&ONE, &[]).await.unwrap_err();
    assert!(
        matches!(error, DbError::LoginRefused { source: Login::NoDatabase(_), .. }),
        "{error:?}"
    );
    assert!(!crate::told(&error).contains(cluster.password()));
    assert_eq!(error.disposition(), Disposition::GiveUp);
}

#[tokio::test]
async fn a_refused_row_is_not_quoted() {
    let test = testkit::database().await;
    let client = test.client().await;
    client.batch_execute("create table t (a text check (a = ''))").await.unwrap();
    static INSERT: Statement =
        Statement { name: "test.insert", sql: "insert into t values ('canary-5d1f')", types: &[] };
    let error = test.db().query(&INSERT, &[]).await.unwrap_err();
    assert_eq!(error.server().unwrap().constraint.as_deref(), Some("t_a_check"));
    assert!(!crate::told(&error).contains(CANARY), "{}", crate::told(&error));
}

#[tokio::test]
async fn no_database_configured_is_told_as_such() {
    let settings = DbSettings { database_url: None, ..DbSettings::at("") };
    assert!(matches!(Db::connect(&settings), Err(DbError::NotConfigured)));
}
