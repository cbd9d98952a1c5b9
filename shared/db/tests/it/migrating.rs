use db::DbSettings;
use db::migrate::{
    EMBEDDED, MigrateError, Migration, State, apply, apply_these, status, status_of,
};
use testkit::TestDb;

const ONE: Migration =
    Migration { version: "20300101000000", name: "one", sql: "create table one (n int);\n" };
const TWO: Migration = Migration {
    version: "20300102000000",
    name: "two",
    sql: "-- Two.\ncreate table two (n int);\n\ninsert into two values (1);\n",
};

/// Takes back what the template brought along.
async fn empty(test: &TestDb) -> DbSettings {
    let client = test.client().await;
    client
        .batch_execute(
            "drop schema cogo, public, supabase_migrations cascade; create schema public;
             grant usage on schema public to public",
        )
        .await
        .unwrap();
    test.settings()
}

async fn states(settings: &DbSettings, migrations: &[Migration]) -> Vec<State> {
    let lines = status_of(settings, migrations).await.unwrap();
    lines.into_iter().map(|line| line.state).collect()
}

#[tokio::test]
async fn our_migrations_apply_once() {
    let test = testkit::database().await;
    let settings = empty(&test).await;
    let before = status(&settings).await.unwrap();
    assert!(before.iter().all(|line| line.state == State::Pending), "{before:?}");
    let applied = apply(&settings).await.unwrap();
    assert_eq!(applied, EMBEDDED.iter().map(Migration::file).collect::<Vec<_>>());
    assert_eq!(apply(&settings).await.unwrap(), Vec::<String>::new());
    let after = status(&settings).await.unwrap();
    assert!(after.iter().all(|line| line.state == State::Applied), "{after:?}");
}

#[tokio::test]
async fn two_processes_migrating_at_once_apply_everything_once() {
    let test = testkit::database().await;
    let settings = empty(&test).await;
    let slow = [
        ONE,
        Migration { version: "20300103000000", name: "slow", sql: "select pg_sleep(0.3)" },
        TWO,
    ];
    let (one, other, third) = tokio::join!(
        apply_these(&settings, &slow),
        apply_these(&settings, &slow),
        apply_these(&settings, &slow)
    );
    let mut counts = [one.unwrap().len(), other.unwrap().len(), third.unwrap().len()];
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 3]);
}

#[tokio::test]
async fn a_changed_migration_is_refused_by_name_before_anything_is_applied() {
    let test = testkit::database().await;
    let settings = empty(&test).await;
    apply_these(&settings, &[ONE]).await.unwrap();
    let changed = Migration { sql: "create table one (n bigint);\n", ..ONE };
    let error = apply_these(&settings, &[changed, TWO]).await.unwrap_err();
    assert_eq!(error.to_string(), "changed after being applied: 20300101000000_one.sql");
    assert_eq!(states(&settings, &[changed, TWO]).await, [State::Changed, State::Pending]);
    apply_these(&settings, &[ONE, TWO]).await.unwrap();
}

#[tokio::test]
async fn what_supabase_or_a_newer_cogo_applied_is_accepted() {
    let test = testkit::database().await;
    let settings = empty(&test).await;
    apply_these(&settings, &[ONE]).await.unwrap();
    test.client()
        .await
        .batch_execute(
            "create table two (n int);
             insert into supabase_migrations.schema_migrations (version, name, statements) values
                 ('20300102000000', 'two',
                     array[E'-- Two.\\ncreate table two (n int)', 'insert into two values (1)']),
                 ('20310101000000', 'newer', array['select 1']),
                 ('20290101000000', null, null);
             update supabase_migrations.schema_migrations set statements = null
                 where version = '20300101000000'",
        )
        .await
        .unwrap();
    assert_eq!(apply_these(&settings, &[ONE, TWO]).await.unwrap(), Vec::<String>::new());
    let states = states(&settings, &[ONE, TWO]).await;
    assert_eq!(states, [State::Unknown, State::Applied, State::Applied, State::Unknown]);
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_and_tells_its_line() {
    let test = testkit::database().await;
    let settings = empty(&test).await;
    for (sql, line, code) in [
        ("create table x ();\n\nselect ü, nothing from\n  nowhere;\n", 4, "42P01"),
        ("create table x ();\n-- again;\n\ncreate table x ();\n", 4, "42P07"),
        ("create table x ();\ndo $$\nbegin\n  perform 1 / 0;\nend\n$$;\n", 2, "22012"),
    ] {
        let broken = Migration { sql, ..TWO };
        let error = apply_these(&settings, &[ONE, broken]).await.unwrap_err();
        let MigrateError::Failed { file, line: told, source } = error else { panic!("{error:?}") };
        assert_eq!((&*file, told), ("20300102000000_two.sql", line), "{sql}");
        assert_eq!(source.code().unwrap().code(), code, "{sql}");
        let x = "select to_regclass('x') is null";
        assert!(test.client().await.query_one(x, &[]).await.unwrap().get::<_, bool>(0));
        assert_eq!(states(&settings, &[ONE, TWO]).await, [State::Applied, State::Pending]);
    }
    let ending = Migration { sql: "create table y (); commit;", ..TWO };
    let error = apply_these(&settings, &[ONE, ending]).await.unwrap_err();
    assert!(matches!(error, MigrateError::EndsItsTransaction { .. }), "{error:?}");
}

#[tokio::test]
async fn whoever_owns_the_database_can_migrate_it() {
    let test = testkit::database().await;
    empty(&test).await;
    let name = test.url().rsplit('/').next().unwrap().to_owned();
    let client = test.client().await;
    client
        .batch_execute(&format!(
            "create role {name} login createrole; alter database {name} owner to {name};
             alter schema public owner to {name}"
        ))
        .await
        .unwrap();
    let url = test.url().replace("postgres@", &format!("{name}@"));
    let result = apply(&DbSettings::at(&url)).await;
    // Nobody else's databases know it.
    let dropped =
        format!("reassign owned by {name} to postgres; drop owned by {name}; drop role {name}");
    client.batch_execute(&dropped).await.unwrap();
    result.map_err(|error| crate::told(&error)).unwrap();
}
