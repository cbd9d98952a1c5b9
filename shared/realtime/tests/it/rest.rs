use std::time::Duration;

use model::Secret;
use realtime::{Endpoint, Filter, Rest, RestError, RestLimits};
use serde::Deserialize;
use serde_json::json;
use testkit::{Supabase, TestDb};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const KEY: &str = "sb_secret_canary";

fn limits() -> RestLimits {
    let (connect, answer) = (Duration::from_secs(10), Duration::from_secs(60));
    RestLimits { connections: 2, connect, answer }
}

fn rest_at(url: &str, limits: RestLimits) -> Rest {
    Rest::new(&Endpoint::new(url, Secret::new(KEY.to_owned())).unwrap(), limits)
}

/// Nothing of a key may be in what is shown.
fn hushed(error: &RestError) -> String {
    let told = format!("{error} {error:?}");
    assert!(!told.contains("canary"), "{told}");
    told
}

async fn project() -> (TestDb, Supabase, Rest) {
    let test = testkit::database().await;
    let supabase = Supabase::start(&test).await;
    let endpoint = Endpoint::new(&supabase.url(), supabase.secret_key().clone()).unwrap();
    let rest = Rest::new(&endpoint, limits());
    (test, supabase, rest)
}

async fn make(test: &TestDb, supabase: &Supabase, sql: &str) {
    let client = test.client().await;
    client.batch_execute(sql).await.unwrap();
    client.batch_execute("notify pgrst, 'reload schema'").await.unwrap();
    // PostgREST reads the schema anew in its own time.
    let endpoint = Endpoint::new(&supabase.url(), supabase.secret_key().clone()).unwrap();
    let rest = Rest::new(&endpoint, limits());
    while rest.call("ready", &json!({})).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn functions_answer_with_values_rows_and_nothing() {
    let (test, supabase, rest) = project().await;
    make(
        &test,
        &supabase,
        "create function public.ready() returns void language sql as '';
         create function public.plus(a int, b int) returns int language sql as 'select a + b';
         create function public.these(n int) returns table (i int, t text)
             language sql as 'select i, ''t'' || i from generate_series(1, n) as i';
         grant execute on function plus(int, int), these(int), ready() to service_role",
    )
    .await;
    let told =
        |answer: Option<Box<serde_json::value::RawValue>>| answer.map(|it| it.get().to_owned());
    let plus = rest.call("plus", &json!({ "a": 1, "b": 2 })).await.unwrap();
    assert_eq!(told(plus).as_deref(), Some("3"));
    let these = rest.call("these", &json!({ "n": 2 })).await.unwrap().unwrap();
    let these: serde_json::Value = serde_json::from_str(these.get()).unwrap();
    assert_eq!(these, json!([{ "i": 1, "t": "t1" }, { "i": 2, "t": "t2" }]));
    assert_eq!(told(rest.call("ready", &json!({})).await.unwrap()), None);
}

#[derive(Debug, Deserialize, PartialEq)]
struct Line {
    k: String,
    n: i64,
}

#[tokio::test]
async fn rows_are_inserted_all_or_none_and_selected_by_values_as_they_are() {
    let (test, supabase, rest) = project().await;
    make(
        &test,
        &supabase,
        "create function public.ready() returns void language sql as '';
         create table public.lines (k text primary key, n bigint not null default 7);
         grant execute on function ready() to service_role;
         grant all on lines to service_role",
    )
    .await;
    let odd = ["a,b", "c)", "d\"e", "f\\", "g&h=i", ""];
    let rows: Vec<_> = odd.iter().map(|k| json!({ "k": k })).collect();
    let made: Vec<Line> = rest.insert("lines", &rows, Some("k,n")).await.unwrap();
    assert_eq!(made.iter().map(|line| line.k.as_str()).collect::<Vec<_>>(), odd);
    assert!(made.iter().all(|line| line.n == 7));
    let none: Vec<Line> = rest.insert("lines", &json!({ "k": "z", "n": 9 }), None).await.unwrap();
    assert!(none.is_empty(), "nothing was asked back");

    for k in odd {
        // PostgREST reads an empty text in a list as no value at all.
        let filters = [Filter::Is("k", k), Filter::In("k", &[k])];
        for filter in &filters[..if k.is_empty() { 1 } else { 2 }] {
            let found: Vec<Line> = rest.select("lines", "k,n", &[*filter]).await.unwrap();
            assert_eq!(found, [Line { k: k.to_owned(), n: 7 }], "{filter:?}");
        }
    }
    let filters = [Filter::Above("n", 6), Filter::OrderBy("n.desc"), Filter::Limit(1)];
    let most: Vec<Line> = rest.select("lines", "k,n", &filters).await.unwrap();
    assert_eq!(most, [Line { k: "z".to_owned(), n: 9 }]);

    let twice = rest.insert::<Line>("lines", &json!([{ "k": "new" }, { "k": "z" }]), None).await;
    assert!(matches!(&twice, Err(RestError::Server(said)) if said.code == "23505"), "{twice:?}");
    let new: Vec<Line> = rest.select("lines", "k,n", &[Filter::Is("k", "new")]).await.unwrap();
    assert!(new.is_empty(), "the other row was not written either");
}

#[tokio::test]
async fn refusals_are_told_as_the_database_told_them() {
    let (test, supabase, rest) = project().await;
    make(
        &test,
        &supabase,
        "create function public.ready() returns void language sql as '';
         create function public.refuse(code text) returns void language plpgsql as $$
         begin
             raise exception using errcode = code, message = 'no', detail = 'canary', hint = 'h';
         end $$;
         grant execute on function ready(), refuse(text) to service_role",
    )
    .await;
    for code in ["22023", "P0002", "55000", "23514"] {
        let error = rest.call("refuse", &json!({ "code": code })).await.unwrap_err();
        // The detail may quote a row, and with it a payload.
        hushed(&error);
        let RestError::Server(said) = &error else { panic!("{error:?}") };
        assert_eq!((said.code.as_str(), said.message.as_str()), (code, "no"));
        assert_eq!(said.hint.as_deref(), Some("h"));
        assert!(!error.passes() && !error.may_have_happened(), "{code}");
    }
    for name in ["absent", "ready"] {
        let unknown = rest.call(name, &json!({ "x": 1 })).await;
        assert!(matches!(&unknown, Err(RestError::Server(said)) if said.code == "PGRST202"));
    }
    for name in ["", "a b", "../x", "x?y", "x\n"] {
        assert!(
            matches!(rest.call(name, &json!({})).await, Err(RestError::Invalid(_))),
            "{name:?}"
        );
    }
    let other = rest_at(&supabase.url(), limits());
    let error = other.call("ready", &json!({})).await.unwrap_err();
    hushed(&error);
    assert!(matches!(error, RestError::KeyRefused { .. }), "{error:?}");
    assert!(!error.passes());
}

#[tokio::test]
async fn what_happened_to_a_call_that_got_no_answer_is_told() {
    let (test, supabase, _) = project().await;
    make(
        &test,
        &supabase,
        "create function public.ready() returns void language sql as '';
         create function public.slow() returns void language sql as 'select pg_sleep(60)';
         grant execute on function ready(), slow() to service_role",
    )
    .await;
    let endpoint = Endpoint::new(&supabase.url(), supabase.secret_key().clone()).unwrap();
    let short = RestLimits {
        connections: 1,
        connect: Duration::from_millis(200),
        answer: Duration::from_millis(600),
    };
    let rest = Rest::new(&endpoint, short);
    let nothing = json!({});
    let slow = rest.call("slow", &nothing);
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        rest.call("ready", &nothing).await
    };
    let (slow, waiting) = tokio::join!(slow, waiting);
    let slow = slow.unwrap_err();
    assert!(matches!(slow, RestError::TooSlow { .. }), "{slow:?}");
    assert!(slow.passes() && slow.may_have_happened());
    let busy = waiting.unwrap_err();
    assert!(matches!(busy, RestError::Busy { connections: 1 }), "{busy:?}");
    assert!(busy.passes() && !busy.may_have_happened());
}

/// Says this to whoever asks, and hangs up.
async fn saying(answer: &'static str) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, serving)
}

#[tokio::test]
async fn whatever_answers_instead_of_a_project_is_an_error_that_says_so() {
    let nothing = json!({});
    for (answer, expected) in [
        ("", "lost the connection"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[1,", "lost the connection"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanary", "the answer cannot be read"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\n<html>", "without an explanation"),
        ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "302"),
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "lost the connection"),
        ("HTTP/1.1 429 Too Many\r\ncontent-length: 0\r\n\r\n", "cannot serve this now"),
        ("nonsense", "lost the connection"),
    ] {
        let (url, _serving) = saying(answer).await;
        let error = rest_at(&url, limits()).call("f", &nothing).await.unwrap_err();
        let told = hushed(&error);
        assert!(told.contains(expected), "{answer:?}: {told}");
    }
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = rest_at(&format!("http://{free}"), limits()).call("f", &nothing).await.unwrap_err();
    assert!(matches!(error, RestError::Unreachable { .. }), "{error:?}");
    assert!(error.passes() && !error.may_have_happened());
}
