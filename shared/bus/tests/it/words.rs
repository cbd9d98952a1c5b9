//! What Rust takes for a word, a tenant, a trace, an event or a trace context, so does SQL, and the
//! other way round. What only SQL took would stop whoever reads it.

use bus::Listen;
use messages::EventType;
use model::{MessageId, Shard, Tenant, TraceId, Traceparent, Word};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use testkit::Way;

use crate::fixture::{Fixture, message, publish};

testkit::on_every_wire!(
    whatever_sql_accepts_as_a_message_the_crate_can_read,
    whatever_sql_accepts_as_an_event_the_crate_can_read,
);

/// Right, nearly right and wrong texts.
fn texts(like: &[&str], count: usize) -> Vec<String> {
    let mut runner = TestRunner::default();
    let mut texts: Vec<String> =
        ["", " ", "a", "é", "a\n", "\n", "a b", "default", "A", "0", "-", "a/b", "ａ"]
            .map(str::to_owned)
            .into();
    let patterns = like.iter().copied().chain(["[a-z0-9A-Z_.:/ é-]{0,6}", "\\PC{0,8}"]);
    for pattern in patterns {
        let strategy = proptest::string::string_regex(pattern).unwrap();
        for _ in 0..count {
            let text = strategy.new_tree(&mut runner).unwrap().current();
            // One wrong letter at either end, too.
            texts.push(format!("{text}-"));
            texts.push(format!("_{text}"));
            texts.push(text);
        }
    }
    texts.retain(|text| !text.contains('\0'));
    texts
}

/// Which of the texts a condition on `text` accepts.
async fn accepted(on: &Fixture, condition: &str, texts: &[String]) -> Vec<bool> {
    let sql = format!(
        "select coalesce({condition}, false) from unnest($1::text[]) with ordinality as given(text, place) order by place"
    );
    on.rows(&sql, &[&texts]).await.iter().map(|row| row.get(0)).collect()
}

/// The condition of a check constraint, with its column called `text`.
async fn rule(on: &Fixture, table: &str, constraint: &str, column: &str) -> String {
    let sql = "select pg_get_expr(conbin, conrelid) from pg_constraint where conrelid = $1::text::regclass and conname = $2";
    let rule: String = on.row(sql, &[&table, &constraint]).await.get(0);
    rule.replace(column, "text")
}

fn agree(texts: &[String], sql: &[bool], rust: impl Fn(&str) -> bool) {
    let both = texts.iter().zip(sql).filter(|(text, sql)| **sql && rust(text)).count();
    assert!(both > 10, "hardly any was right");
    for (text, sql) in texts.iter().zip(sql) {
        assert_eq!(*sql, rust(text), "{text:?}: SQL says {sql}");
    }
}

#[tokio::test]
async fn rust_and_sql_agree_on_words() {
    let on = Fixture::new().await;
    let texts = texts(&["[a-z][a-z0-9-]{0,62}", "[a-z][a-z0-9-]{60,66}", "[0-9-][a-z]{1,3}"], 60);
    for (table, constraint, column) in [
        ("cogo.lanes", "service_is_a_word", "service"),
        ("cogo.lanes", "role_is_a_word", "role"),
        ("public.bus_routes", "service_is_a_word", "service"),
        ("public.bus_routes", "role_is_a_word", "role"),
    ] {
        let rule = rule(&on, table, constraint, column).await;
        agree(&texts, &accepted(&on, &rule, &texts).await, |text| text.parse::<Word>().is_ok());
    }
}

#[tokio::test]
async fn rust_and_sql_agree_on_tenants() {
    let on = Fixture::new().await;
    let texts =
        texts(&["[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}", "[a-z]{126,130}", "[_.:-][a-z]{1,3}"], 60);
    let rule = rule(&on, "cogo.lanes", "tenant_is_a_name", "tenant").await;
    agree(&texts, &accepted(&on, &rule, &texts).await, |text| text.parse::<Tenant>().is_ok());
}

#[tokio::test]
async fn rust_and_sql_agree_on_events() {
    let on = Fixture::new().await;
    let texts = texts(&["[a-z][a-z0-9]*(_[a-z0-9]+)*", "[a-z]{60,66}", "[a-z_]{1,8}"], 60);
    let rule = rule(&on, "public.bus_events", "event_type_is_snake_case", "event_type").await;
    agree(&texts, &accepted(&on, &rule, &texts).await, |text| text.parse::<EventType>().is_ok());
}

#[tokio::test]
async fn rust_and_sql_agree_on_traces() {
    let on = Fixture::new().await;
    let mut texts = texts(&["[0-9a-f]{32}", "[0-9a-fA-F]{32}", "[0-9a-f]{31,33}"], 60);
    texts.push("0".repeat(32));
    let rule = rule(&on, "public.bus_events", "trace_id_is_32_hex_not_all_zero", "trace_id").await;
    agree(&texts, &accepted(&on, &rule, &texts).await, |text| text.parse::<TraceId>().is_ok());
}

#[tokio::test]
async fn rust_and_sql_agree_on_trace_contexts() {
    let on = Fixture::new().await;
    let context = "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}";
    let mut texts = texts(
        &[
            context,
            "00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
            &format!("{context}-[a-z]{{0,3}}"),
            &format!("{context}[a-z.]{{1,3}}"),
            "(00|ff)-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}-?",
        ],
        60,
    );
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let zeros = "0".repeat(32);
    texts.extend([
        format!("00-{zeros}-{span}-01"),
        format!("00-{trace}-0000000000000000-01"),
        format!("ff-{trace}-{span}-01"),
        format!("00-{trace}-{span}-01-"),
        format!("01-{trace}-{span}-01-\nwhat"),
    ]);
    let sql = accepted(&on, "cogo.is_traceparent(text)", &texts).await;
    agree(&texts, &sql, |text| text.parse::<Traceparent>().is_ok());
}

#[tokio::test]
async fn what_a_worker_listens_to_in_rust_is_a_route_in_sql() {
    let on = Fixture::new().await;
    for text in [
        "a/b/0",
        "a/b/*",
        "a/b/2147483647",
        "a/b/0/acme",
        "a/b/*/acme",
        "code/build-test/7/a:b_c.d-e",
    ] {
        text.parse::<Listen>().unwrap();
        on.rows("select * from cogo.parse_route($1)", &[&text]).await;
    }
    let parse = "select count(*) from cogo.parse_route($1)";
    for text in texts(&["[a-z]{1,2}/[a-z]{1,2}/[0-9*]{1,2}(/[a-z]{0,2})?", "[a-z/*0-9-]{1,8}"], 60)
    {
        let sql = on.sql.query(parse, &[&text]).await.is_ok();
        let rust = text.parse::<Listen>().is_ok();
        // SQL also takes `007`.
        assert!(!rust || sql, "{text:?}");
    }
}

async fn whatever_sql_accepts_as_a_message_the_crate_can_read(way: Way) {
    let on = Fixture::over(way).await;
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let columns = [
        ("shard", vec!["0", "-1", "2147483647"]),
        ("tenant", vec!["'a'", "'a b'", "''"]),
        ("trace_id", vec!["repeat('0', 32)", "repeat('a', 32)"]),
        ("parent_id", vec!["0", "-1", "7", "9223372036854775807"]),
        ("replay_of", vec!["0", "-1", "7"]),
        ("priority", vec!["-32768", "32767"]),
        ("max_attempts", vec!["0", "1000", "2147483647"]),
        (
            "idempotency_key",
            vec!["'größe'", "''", "E'a\\nb'", "repeat('ü', 255)", "repeat('x', 256)"],
        ),
        ("ordering_key", vec!["'größe'", "''", "E'a\\tb'", "'日本'"]),
        ("retry_at", vec!["'infinity'", "'-infinity'", "'294276-01-01'", "'0001-01-01 BC'"]),
        ("expires_at", vec!["'infinity'", "'294276-01-01'"]),
    ];
    let contexts = [
        format!("'00-{trace}-{span}-01'"),
        format!("'00-{trace}-0000000000000000-01'"),
        format!("'ff-{trace}-{span}-01'"),
        format!("'00-{trace}-{span}-01-x'"),
        format!("'cc-{trace}-{span}-01-x'"),
    ];
    let contexts = ("traceparent", contexts.iter().map(String::as_str).collect());
    let mut made = 0;
    for (column, values) in columns.into_iter().chain([contexts]) {
        for value in values {
            let insert = format!(
                "insert into public.agent_messages (service, role, {column}) values ('codegen', 'generate', {value}) returning id"
            );
            let Ok(row) = on.sql.query_one(&insert, &[]).await else { continue };
            made += 1;
            let id: MessageId = row.get(0);
            assert!(on.bus.message(id).await.unwrap().is_some(), "{column} {value}");
            on.bus.peek(&"codegen/generate/*".parse().unwrap(), 100).await.unwrap();
            let mut station =
                bus::Station::new(&on.bus, "w1", &["codegen/generate/*".parse().unwrap()]);
            station.claim(10).await.unwrap();
        }
    }
    assert!(made > 15, "only {made} were accepted");
    on.is_whole().await;
}

async fn whatever_sql_accepts_as_an_event_the_crate_can_read(way: Way) {
    let on = Fixture::over(way).await;
    let given = [
        ("message_id", "0"),
        ("message_id", "-1"),
        ("message_id", "7"),
        ("shard", "-1"),
        ("shard", "3"),
        ("service", "'Bad Word'"),
        ("role", "''"),
        ("tenant", "'a b'"),
        ("tenant", "'acme'"),
        ("trace_id", "repeat('0', 32)"),
        ("agent_id", "E'\\t'"),
        ("reason", "''"),
        ("payload", "'null'"),
    ];
    for (column, value) in given {
        let trace = if column == "trace_id" { String::new() } else { ", repeat('a', 32)".into() };
        let named = if column == "trace_id" { "" } else { ", trace_id" };
        let insert = format!(
            "insert into public.bus_events (event_type, {column}{named}) values ('x', {value}{trace})"
        );
        let _ = on.sql.batch_execute(&insert).await;
    }
    let mut follow = bus::Follow::new();
    let events = on.bus.events_since(&mut follow).await.unwrap();
    assert!(events.len() >= 5, "{events:?}");
}

#[tokio::test]
async fn shards_are_whole_numbers_in_both() {
    let on = Fixture::new().await;
    for shard in [0_i64, 1, 999_999_999, 1_000_000_000, 2_147_483_647, 2_147_483_648, -1] {
        let rust = i32::try_from(shard).is_ok_and(|shard| Shard::try_from(shard).is_ok());
        let sql = publish(&on.sql, &message(&json!({ "shard": shard }))).await.is_ok();
        assert_eq!(sql, rust, "{shard}");
        if sql {
            let route = format!("codegen/generate/{shard}");
            assert_eq!(on.claim(&[&route], 1).await.len(), 1, "{shard}");
        }
    }
}
