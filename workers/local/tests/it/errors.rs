use std::fs;

use crate::running::Cogo;

#[test]
fn wrong_usage_is_told_apart_and_exits_with_2() {
    let cogo = Cogo::at_url("postgres://nobody@127.0.0.1:1/nothing");
    for (arguments, told) in [
        (&["bus", "send", "codegen/generate"][..], "it has no shard; write service/role/shard"),
        (&["bus", "send", "Codegen/generate/0"], "the service is not a lower-case word"),
        (&["bus", "send", "a/b/0", "{\"text\": hello}"], "the payload is not JSON: expected value"),
        (&["bus", "send", "a/b/0", "{} {}"], "the payload is not JSON: trailing characters"),
        (&["bus", "send", "a/b/0/x", "{}", "--tenant", "y"], "names another tenant than --tenant"),
        (&["bus", "send", "a/b/0", "{}", "--delay", "-5s"], "is not a length of time"),
        (&["bus", "send", "a/b/0", "{}", "--max-attempts", "0"], "0 is not in 1..=1000"),
        (&["bus", "send", "a/b/0", "{}", "--priority", "1.5"], "invalid digit"),
        (&["bus", "peek", "a/*/0"], "is not a route"),
        (&["bus", "tail", "--type", "Done"], "is not an event type"),
        (&["bus", "cancel", "zero"], "is neither a trace id (32 hex digits) nor a message number"),
        (&["bus", "pause", "a/b/0"], "is not a stage"),
        (&["bus", "dlq", "replay"], "required arguments were not provided"),
        (&["trace", "xyz"], "is neither a trace id (32 hex digits) nor a message number"),
        (&["run", "bus-keper"], "'bus-keeper'"),
        (&["run"], "bus-keeper"),
        (&["buss"], "'bus'"),
        (&[], "Usage: cogo"),
        (&["bus", "stats", "--output", "yaml"], "[possible values: table, json]"),
    ] {
        let said = cogo.run(arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {}", said.err);
        let err = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(err.contains(told), "{arguments:?}: {}", said.err);
        assert_eq!(said.out, "", "{arguments:?}");
    }
}

#[test]
fn without_a_database_every_command_says_how_to_name_one() {
    for arguments in [
        &["bus", "stats"][..],
        &["bus", "tail"],
        &["trace", "1"],
        &["workers", "list"],
        &["db", "migrate"],
        &["db", "status"],
        &["run", "probe"],
        &["run", "bus-keeper"],
    ] {
        let said = Cogo::nowhere().run(arguments);
        assert_eq!(said.code, Some(1), "{arguments:?}");
        assert!(said.err.contains("no database is configured"), "{arguments:?}: {}", said.err);
        assert!(said.err.contains("set DATABASE_URL"), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let cogo = Cogo::at_url("postgres://cogo:hunter2@127.0.0.1:1/nothing");
    let said = cogo.run(&["bus", "stats"]);
    assert_eq!(said.code, Some(1));
    insta::assert_snapshot!(said.err, @r"
      × could not reach the database at 127.0.0.1:1/nothing
      ╰─▶ Connection refused (os error 111)
      help: check that Postgres runs there and that this machine may connect to it
    ");
}

#[tokio::test]
async fn a_database_without_a_bus_is_sent_to_the_migrations() {
    let db = testkit::database().await;
    let client = db.client().await;
    client.batch_execute("drop schema cogo cascade").await.unwrap();
    let said = Cogo::at(&db).run(&["bus", "stats"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("this database has no bus"), "{}", said.err);
    assert!(said.err.contains("cogo db migrate"), "{}", said.err);
}

#[tokio::test]
async fn what_is_not_there_exits_with_1_and_says_where_to_look() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (arguments, told) in [
        (&["bus", "cancel", "42"][..], "there is no message 42"),
        (&["bus", "cancel", trace], "there is no trace 4bf92f3577b34da6a3ce929d0e0e4736"),
        (&["bus", "replay", "42"], "there is no message 42"),
        (&["bus", "dlq", "show", "42"], "message 42 is not among the dead letters"),
        (&["bus", "dlq", "replay", "42"], "there is no message 42"),
        (&["trace", "42"], "there is no message 42"),
        (&["trace", trace], "nothing belongs to the trace"),
        (&["workers", "drain", "nobody"], "there is no worker `nobody`"),
        (&["bus", "send", "a/b/0", "@/nowhere/at/all"], "could not read the payload"),
    ] {
        let said = cogo.run(arguments);
        assert_eq!(said.code, Some(1), "{arguments:?}");
        assert!(said.err.contains(told), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn settings_may_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings");
    fs::write(&path, "DATABASE_URL=postgres://u@127.0.0.1:1/from_the_file\n").unwrap();
    let path = path.to_str().unwrap();
    for arguments in [["bus", "stats", "--settings", path], ["--settings", path, "bus", "stats"]] {
        let said = Cogo::nowhere().run(&arguments);
        assert!(said.err.contains("127.0.0.1:1/from_the_file"), "{}", said.err);
    }
}
