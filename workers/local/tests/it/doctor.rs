use testkit::{Pooler, Pooling};

use crate::running::{Cogo, Said, eventually};

fn verdict(said: &Said, check: &str) -> String {
    let line = said.out.lines().find(|line| line.contains(check));
    line.unwrap_or_else(|| panic!("no {check} in\n{}", said.out)).chars().take(1).collect()
}

#[tokio::test]
async fn a_healthy_bus_with_a_keeper_is_well() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    let said = cogo.run(&["doctor"]);
    assert_eq!(said.code, Some(1), "nobody keeps the bus yet");
    assert!(said.out.contains("run `cogo run bus-keeper`"), "{}", said.out);

    let _keeper = cogo.start(&["run", "bus-keeper"]);
    eventually("the keeper leads", || verdict(&cogo.run(&["doctor"]), "keeper") == "✓").await;
    let said = cogo.run(&["doctor"]);
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert!(said.out.ends_with("all is well\n"), "{}", said.out);
    let report = cogo.json(&["doctor"]);
    assert_eq!(report["healthy"], true);
}

#[tokio::test]
async fn what_an_operator_broke_is_found_and_named() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    db.client()
        .await
        .batch_execute(
            "alter table cogo.leases no force row level security;
             grant execute on function public.bus_cancel(bigint, text) to public;
             update supabase_migrations.schema_migrations set statements = '{select 1}'
             where name = 'bus_claim'",
        )
        .await
        .unwrap();
    let said = cogo.run(&["doctor"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("20261120090300_bus_claim"), "{}", said.out);
    let status = cogo.run(&["db", "status"]);
    assert_eq!(status.code, Some(1));
    assert!(status.out.contains("changed"), "{}", status.out);

    db.client()
        .await
        .batch_execute(
            "update supabase_migrations.schema_migrations set statements = null
             where name = 'bus_claim'",
        )
        .await
        .unwrap();
    let said = cogo.run(&["doctor"]);
    for named in ["not forced on cogo.leases", "bus_cancel(bigint,text): anybody may execute it"] {
        assert!(said.out.contains(named), "{named}\n{}", said.out);
    }
}

#[test]
fn a_database_that_is_not_there_is_the_one_thing_that_is_wrong() {
    let said = Cogo::at_url("postgres://cogo:hunter2@127.0.0.1:1/x").run(&["doctor"]);
    assert_eq!(said.code, Some(1));
    insta::assert_snapshot!(said.out, @r"
    ✗ connection  could not reach the database at 127.0.0.1:1/x: Connection refused (os error 111)
                  → check that Postgres runs there and that this machine may connect to it

    one thing is wrong
    ");
}

#[tokio::test]
async fn a_database_without_our_functions_is_to_be_migrated() {
    let db = testkit::database().await;
    db.client().await.batch_execute("drop function public.bus_server()").await.unwrap();
    let said = Cogo::at(&db).run(&["doctor"]);
    assert_eq!((said.code, verdict(&said, "migrations")), (Some(1), "✗".to_owned()));
    assert!(said.out.contains("run `cogo db migrate`"), "{}", said.out);
}

#[tokio::test]
async fn behind_a_pooler_in_transaction_mode_doctor_says_what_follows() {
    let db = testkit::database().await;
    let pooler = Pooler::before(&db.url(), Pooling::Transaction).await;
    let said = Cogo::at_url(&pooler.url()).run(&["doctor"]);
    assert_eq!(verdict(&said, "session mode"), "!");
    assert_eq!(verdict(&said, "migrations"), "!");
    assert!(said.out.contains("workers poll, up to a second late"), "{}", said.out);
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_that_passes_for_a_session_is_found_out() {
    let db = testkit::database().await;
    let pooler = Pooler::before(&db.url(), Pooling::Transaction).await;
    let said = Cogo::at_url(&pooler.url()).run(&["doctor", "--db-session", "session"]);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.out.contains("set DB_SESSION=transaction"), "{}", said.out);
}

#[tokio::test]
async fn behind_a_pooler_in_session_mode_nothing_is_amiss() {
    let db = testkit::database().await;
    let pooler = Pooler::before(&db.url(), Pooling::Session).await;
    let said = Cogo::at_url(&pooler.url()).run(&["doctor"]);
    for check in ["session mode", "doorbell", "migrations"] {
        assert_eq!(verdict(&said, check), "✓", "{}", said.out);
    }
}

#[tokio::test]
async fn migrating_twice_does_nothing_the_second_time() {
    let db = testkit::database().await;
    let said = Cogo::at(&db).run(&["db", "migrate"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.starts_with("nothing to do: all "), "{}", said.out);
    assert_eq!(Cogo::at(&db).run(&["db", "status"]).code, Some(0));
}
