use serde_json::{Value, json};
use standin::{Standin, provide};
use testkit::{Cluster, ClusterOptions};

use crate::fixture::{Fixture, PUBLISHABLE_KEY, SECRET_KEY, eventually, settings, tenant};
use crate::raw::Raw;

fn binding(more: &Value) -> Value {
    let mut binding = json!({ "event": "*", "schema": "public", "table": "notes" });
    for (key, value) in more.as_object().unwrap() {
        binding[key] = value.clone();
    }
    binding
}

/// Subscribes and waits until it holds; returns the ids of the bindings.
async fn subscribe(
    raw: &mut Raw,
    name: &str,
    changes: &[Value],
    token: Option<&str>,
) -> Vec<Value> {
    let answer = raw.join(name, json!({ "postgres_changes": changes }), token).await;
    let answer = answer["postgres_changes"].as_array().unwrap().clone();
    for (told, asked) in answer.iter().zip(changes) {
        // Clients compare what they asked for with what they are told.
        for (key, value) in asked.as_object().unwrap() {
            assert_eq!(&told[key], value);
        }
    }
    let system = raw.hear("system").await;
    assert_eq!(
        system.payload,
        json!({ "extension": "postgres_changes", "status": "ok", "channel": name,
            "message": "Subscribed to PostgreSQL" })
    );
    answer.into_iter().map(|told| told["id"].clone()).collect()
}

async fn next(raw: &mut Raw) -> Value {
    raw.hear("postgres_changes").await.payload
}

#[tokio::test]
async fn inserts_updates_and_deletes_are_told_as_json() {
    let on = Fixture::new().await;
    let mut raw = on.server().await;
    let ids = subscribe(&mut raw, "a", &[binding(&json!({}))], None).await;
    on.run(
        "insert into notes (id, kind, n, at, tags, data) values
         (1, 'it''s', 7, '2026-01-02 03:04:05.678+00', '{a,\"b c\"}', '{\"x\": [1, null]}')",
    )
    .await;
    let told = next(&mut raw).await;
    assert_eq!(told["ids"], json!(ids));
    let mut data = told["data"].clone();
    let at = data["commit_timestamp"].take();
    assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
    let record = json!({ "id": 1, "tenant": "a", "kind": "it's", "n": 7,
        "at": "2026-01-02T03:04:05.678+00:00", "tags": ["a", "b c"],
        "data": { "x": [1, null] }, "secret": "hush" });
    assert_eq!(
        data,
        json!({
            "schema": "public", "table": "notes", "type": "INSERT", "commit_timestamp": null,
            "errors": null, "record": record,
            "columns": [
                { "name": "id", "type": "int8" }, { "name": "tenant", "type": "text" },
                { "name": "kind", "type": "text" }, { "name": "n", "type": "int4" },
                { "name": "at", "type": "timestamptz" }, { "name": "tags", "type": "_text" },
                { "name": "data", "type": "jsonb" }, { "name": "secret", "type": "text" },
            ],
        })
    );
    on.run("update notes set n = 8, at = null").await;
    let data = next(&mut raw).await["data"].clone();
    assert_eq!((&data["type"], &data["old_record"]), (&json!("UPDATE"), &json!({ "id": 1 })));
    assert_eq!((&data["record"]["n"], &data["record"]["at"]), (&json!(8), &Value::Null));
    on.run("update notes set id = 2").await;
    let data = next(&mut raw).await["data"].clone();
    assert_eq!((&data["old_record"], &data["record"]["id"]), (&json!({ "id": 1 }), &json!(2)));
    on.run("delete from notes").await;
    let data = next(&mut raw).await["data"].clone();
    assert_eq!((&data["type"], &data["old_record"]), (&json!("DELETE"), &json!({ "id": 2 })));
    assert_eq!(data.get("record"), None);
}

#[tokio::test]
async fn changes_come_in_the_order_of_their_commits_and_truncating_is_not_told() {
    let on = Fixture::new().await;
    let mut raw = on.server().await;
    subscribe(&mut raw, "a", &[binding(&json!({ "event": "INSERT" }))], None).await;
    let other = on.test.client().await;
    other.batch_execute("begin; insert into notes (id) values (1)").await.unwrap();
    on.run("insert into notes (id) values (2)").await;
    other.batch_execute("commit").await.unwrap();
    for id in [2, 1] {
        assert_eq!(next(&mut raw).await["data"]["record"]["id"], id);
    }
    on.run("begin; insert into notes (id) values (3); rollback").await;
    on.run("update notes set n = 1; truncate notes; insert into notes (id) values (4)").await;
    assert_eq!(next(&mut raw).await["data"]["record"]["id"], 4);
}

#[tokio::test]
async fn a_row_that_is_gone_when_the_log_is_read_is_told_as_gone_only() {
    // Policies are asked about rows as they are. So it is in earnest, even for those above policies.
    let on = Fixture::new().await;
    let mut raw = on.server().await;
    subscribe(&mut raw, "a", &[binding(&json!({}))], None).await;
    on.run("begin; insert into notes (id) values (1); commit; delete from notes").await;
    assert_eq!(next(&mut raw).await["data"]["type"], "DELETE");
}

#[tokio::test]
async fn each_binding_is_told_what_fits_it() {
    let on = Fixture::new().await;
    let mut raw = on.server().await;
    let filters = [
        "kind=eq.x",
        "kind=neq.x",
        "n=gt.1",
        "n=gte.1",
        "n=lt.1",
        "n=lte.1",
        "id=in.(1,3)",
        "kind=is.null",
        "kind=like.x%",
        "kind=not.eq.x",
        "n=not.in.(2)",
        "kind=eq.x,n=eq.1",
        "at=eq.2026-01-01T01:00:00+01:00",
        "kind=isdistinct.x",
        "kind=not.is.null",
        "kind=ilike.X%",
        "kind=match.^.y$",
    ];
    let changes: Vec<Value> =
        filters.iter().map(|filter| binding(&json!({ "filter": filter }))).collect();
    let ids = subscribe(&mut raw, "a", &changes, None).await;
    for (row, fits) in [
        ("(1, 'x', 1, '2026-01-01T00:00:00Z')", &[0, 3, 5, 6, 8, 10, 11, 12, 14, 15][..]),
        ("(2, 'xy', 2, null)", &[1, 2, 3, 8, 9, 13, 14, 15, 16]),
        ("(3, null, null, null)", &[6, 7, 13]),
        ("(4, 'z', 0, null)", &[1, 4, 5, 9, 10, 13, 14]),
    ] {
        on.run(&format!("insert into notes (id, kind, n, at) values {row}")).await;
        let told = next(&mut raw).await["ids"].clone();
        let expected: Vec<&Value> = fits.iter().map(|index| &ids[*index]).collect();
        assert_eq!(told, json!(expected), "{row}");
    }
}

#[tokio::test]
async fn events_tables_and_selected_columns_are_told_apart() {
    let on = Fixture::new().await;
    on.run(
        "create table other (id int primary key, x int); create schema s;
         create table s.notes (id int primary key); create table unpublished (id int primary key);
         alter publication supabase_realtime add table other, s.notes",
    )
    .await;
    let mut raw = on.server().await;
    let ids = subscribe(
        &mut raw,
        "a",
        &[
            binding(&json!({ "event": "UPDATE" })),
            json!({ "event": "*", "schema": "public" }),
            json!({ "event": "INSERT", "schema": "s", "table": "notes" }),
        ],
        None,
    )
    .await;
    on.run("insert into unpublished values (1); insert into other values (1)").await;
    on.run("insert into s.notes values (1); insert into notes (id) values (1)").await;
    on.run("update notes set n = 1").await;
    for (table, fits) in
        [("other", vec![1]), ("notes", vec![2]), ("notes", vec![1]), ("notes", vec![0, 1])]
    {
        let told = next(&mut raw).await;
        let expected: Vec<&Value> = fits.iter().map(|index: &usize| &ids[*index]).collect();
        assert_eq!((&told["data"]["table"], &told["ids"]), (&json!(table), &json!(expected)));
    }
    let mut some = on.server().await;
    subscribe(&mut some, "b", &[binding(&json!({ "select": ["id", "n"] }))], None).await;
    on.run("update notes set n = 5").await;
    let data = next(&mut some).await["data"].clone();
    assert_eq!(data["record"], json!({ "id": 1, "n": 5 }));
    assert_eq!(data["columns"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn policies_and_column_privileges_hold_for_each_subscriber() {
    let on = Fixture::new().await;
    let changes = [binding(&json!({}))];
    let (mut ours, mut theirs, mut nobody, mut server) =
        (on.anybody().await, on.anybody().await, on.anybody().await, on.server().await);
    subscribe(&mut ours, "a", &changes, Some(&tenant("a"))).await;
    subscribe(&mut theirs, "a", &changes, Some(&tenant("b"))).await;
    subscribe(&mut nobody, "a", &changes, None).await;
    subscribe(&mut server, "a", &changes, None).await;
    on.run("insert into notes (id, tenant) values (1, 'a'), (2, 'b')").await;
    let data = next(&mut ours).await["data"].clone();
    assert_eq!(data["record"]["id"], 1);
    assert_eq!(data["record"].get("secret"), None);
    assert!(data["columns"].as_array().unwrap().iter().all(|one| one["name"] != "secret"));
    assert_eq!(next(&mut theirs).await["data"]["record"]["id"], 2);
    for id in [1, 2] {
        // Nobody may not even read the key.
        let data = next(&mut nobody).await["data"].clone();
        assert_eq!(data["errors"], json!(["Error 401: Unauthorized"]));
        assert_eq!((&data["record"], &data["columns"]), (&json!({}), &json!([])));
        assert_eq!(next(&mut server).await["data"]["record"]["id"], id);
    }
    // That a row is gone is told to all; more than its key to none, for it has policies.
    on.run("alter table notes replica identity full; delete from notes where id = 2").await;
    assert_eq!(next(&mut ours).await["data"]["old_record"], json!({ "id": 2 }));
    assert_eq!(next(&mut server).await["data"]["old_record"], json!({ "id": 2 }));
}

#[tokio::test]
async fn a_table_without_policies_tells_the_whole_old_row_if_its_identity_is_full() {
    let on = Fixture::new().await;
    on.run(
        "create table plain (id uuid primary key, note text);
         alter table plain replica identity full; alter table plain alter note set storage external;
         create table keyless (x int); alter table keyless replica identity full;
         grant select on plain, keyless to anon;
         alter publication supabase_realtime add table plain, keyless",
    )
    .await;
    let mut raw = on.anybody().await;
    let changes = [
        json!({ "event": "*", "schema": "public", "table": "plain" }),
        json!({ "event": "*", "schema": "public", "table": "keyless" }),
    ];
    subscribe(&mut raw, "a", &changes, None).await;
    let (one, two) =
        ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002");
    let long = "x".repeat(5_000);
    on.run(&format!("insert into plain values ('{one}', '{long}')")).await;
    assert_eq!(next(&mut raw).await["data"]["record"]["id"], one);
    // The long value is not written again; the log has it only as the old one.
    on.run(&format!("update plain set id = '{two}'")).await;
    let data = next(&mut raw).await["data"].clone();
    assert_eq!(data["record"], json!({ "id": two, "note": long }));
    assert_eq!(data["old_record"], json!({ "id": one, "note": long }));
    on.run("delete from plain").await;
    assert_eq!(next(&mut raw).await["data"]["old_record"], json!({ "id": two, "note": long }));
    on.run("insert into keyless values (1)").await;
    let data = next(&mut raw).await["data"].clone();
    assert_eq!(data["errors"], json!(["Error 400: Bad Request, no primary key"]));
    assert_eq!(data["record"], json!({}));
}

#[tokio::test]
async fn of_a_row_that_is_too_large_only_short_values_are_told() {
    let on = Fixture::new().await;
    let mut raw = on.server().await;
    subscribe(&mut raw, "a", &[binding(&json!({}))], None).await;
    on.run(
        "insert into notes (id, kind, data)
         values (1, 'short', jsonb_build_object('a', repeat('x', 1200000)))",
    )
    .await;
    let data = next(&mut raw).await["data"].clone();
    assert_eq!(data["errors"], json!(["Error 413: Payload Too Large"]));
    assert_eq!((&data["record"]["id"], &data["record"]["kind"]), (&json!(1), &json!("short")));
    assert_eq!(data["record"].get("data"), None);
}

#[tokio::test]
async fn what_cannot_be_subscribed_to_is_told_after_the_join() {
    let on = Fixture::new().await;
    on.run("create table unpublished (id int primary key)").await;
    let mut raw = on.server().await;
    for (changes, why) in [
        (binding(&json!({ "table": "unpublished" })), "alter publication supabase_realtime add"),
        (binding(&json!({ "table": "missing" })), "not in the publication"),
        (binding(&json!({ "schema": "missing", "table": "*" })), "not in the publication"),
        (binding(&json!({ "filter": "kind" })), "is no filter"),
        (binding(&json!({ "filter": "nothing=eq.1" })), "has no column `nothing`"),
        (binding(&json!({ "filter": "n=eq.many" })), "invalid input syntax for type integer"),
        (binding(&json!({ "filter": "id=in.(1,x)" })), "invalid input syntax for type bigint"),
        (binding(&json!({ "select": ["nothing"] })), "has no column `nothing`"),
        (binding(&json!({ "event": "TRUNCATE" })), "`TRUNCATE` is no event"),
        (json!("notes"), "must be an object"),
    ] {
        raw.join("a", json!({ "postgres_changes": [changes] }), None).await;
        let system = raw.hear("system").await;
        assert_eq!(system.payload["status"], "error");
        assert_eq!(system.payload["extension"], "postgres_changes");
        let message = system.payload["message"].as_str().unwrap();
        assert!(message.starts_with("Unable to subscribe") && message.contains(why), "{message}");
    }
}

#[tokio::test]
async fn the_log_is_read_only_while_somebody_wants_to_know() {
    let on = Fixture::new().await;
    let slots = async || {
        let sql = "select from pg_replication_slots where database = current_database()";
        on.client.query(sql, &[]).await.unwrap().len()
    };
    assert_eq!((slots().await, on.standin.counts().polls), (0, 0));
    let mut raw = on.server().await;
    for _ in 0..2 {
        subscribe(&mut raw, "a", &[binding(&json!({}))], None).await;
        assert_eq!(slots().await, 1);
        on.run("insert into notes (id) select coalesce(max(id), 0) + 1 from notes").await;
        next(&mut raw).await;
        raw.ask("realtime:a", "phx_leave", json!({})).await;
        eventually(async || slots().await == 0).await;
    }
}

#[tokio::test]
async fn without_logical_decoding_it_is_said_what_is_missing() {
    let cluster = Cluster::start(&ClusterOptions { fsync: false, ..Default::default() }).unwrap();
    let url = cluster.create_database("one").await.unwrap();
    let db = db::DbSettings::at(&url);
    provide(&db, None).await.unwrap();
    let sql = "create table notes (id int primary key);
        alter publication supabase_realtime add table notes";
    let client = db::Db::connect(&db).unwrap().client().await.unwrap();
    client.batch("test.table", sql).await.unwrap();
    let standin = Standin::start(settings(db)).await.unwrap();
    let mut raw = Raw::connect(standin.address(), SECRET_KEY, "2.0.0").await;
    raw.join("a", json!({ "postgres_changes": [binding(&json!({}))] }), None).await;
    let system = raw.hear("system").await;
    assert_eq!(system.payload["status"], "error");
    let message = system.payload["message"].as_str().unwrap();
    assert!(message.contains("set wal_level = 'logical'"), "{message}");
    // Once it is mended, they are told by themselves.
    client.batch("test.mend", "alter system set wal_level = 'logical'").await.unwrap();
    cluster.restart_immediate().unwrap();
    while raw.hear("system").await.payload["status"] != "ok" {}
    standin.stop().await;
}

#[tokio::test]
async fn a_broken_feed_is_told_and_mends_itself() {
    let on = Fixture::new().await;
    let mut raw = Raw::connect(on.standin.address(), PUBLISHABLE_KEY, "1.0.0").await;
    subscribe(&mut raw, "a", &[binding(&json!({}))], Some(&tenant("a"))).await;
    on.run(
        "select pg_terminate_backend(active_pid) from pg_replication_slots
         where database = current_database()",
    )
    .await;
    assert_eq!(raw.hear("system").await.payload["status"], "error");
    let system = raw.hear("system").await;
    assert_eq!(system.payload["message"], "Subscribed to PostgreSQL");
    on.run("insert into notes (id) values (1)").await;
    assert_eq!(next(&mut raw).await["data"]["record"]["id"], 1);
}
