use reqwest::Method;
use serde_json::{Value, json};

use crate::supabase::{Supabase, parsed};

/// A request, and what of the answer is held on to.
struct Row {
    request: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: Option<Value>,
    status: u16,
    /// Header and value; an empty value means that the header is there.
    has: &'static [(&'static str, &'static str)],
    answer: Answer,
}

enum Answer {
    Empty,
    Is(Value),
    /// Every member is in the answer, with this value.
    Has(Value),
}

fn row(request: &'static str, status: u16, answer: Answer) -> Row {
    Row { request, headers: &[], body: None, status, has: &[], answer }
}

impl Row {
    fn says(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    fn sends(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn hears(self, has: &'static [(&'static str, &'static str)]) -> Self {
        Self { has, ..self }
    }
}

const REPRESENT: (&str, &str) = ("prefer", "return=representation");
const OBJECT: (&str, &str) = ("accept", "application/vnd.pgrst.object+json");

/// What workers and supabase-js rely on, in an order in which each finds what it needs.
fn rows() -> Vec<Row> {
    use Answer::{Empty, Has, Is};
    vec![
        row("POST /things", 201, Empty)
            .says(&[("prefer", "return=minimal")])
            .sends(json!({ "k": "a", "n": 1 }))
            .hears(&[("content-range", "*/*"), ("preference-applied", "return=minimal")]),
        row("POST /things?select=k,n", 201, Is(json!([{ "k": "b", "n": 2 }, { "k": "c", "n": 3 }])))
            .says(&[REPRESENT])
            .sends(json!([{ "k": "b", "n": 2 }, { "k": "c", "n": 3 }])),
        row("POST /things", 400, Has(json!({ "code": "PGRST102" })))
            .sends(json!([{ "k": "x" }, { "n": 2 }])),
        row("POST /things?columns=k,note&select=k,note", 201, Is(json!([{ "k": "d", "note": "none" }])))
            .says(&[("prefer", "return=representation, missing=default")])
            .sends(json!([{ "k": "d" }])),
        row(
            "POST /things",
            409,
            Has(json!({ "code": "23505", "details": "Key (k)=(a) already exists.", "hint": null })),
        )
        .sends(json!({ "k": "a" })),
        row("POST /things?on_conflict=k&select=k", 201, Is(json!([{ "k": "e" }])))
            .says(&[("prefer", "return=representation, resolution=ignore-duplicates")])
            .sends(json!([{ "k": "a", "n": 9 }, { "k": "e", "n": 5 }])),
        row("POST /things?on_conflict=k&select=k", 201, Is(json!([])))
            .says(&[("prefer", "return=representation, resolution=ignore-duplicates")])
            .sends(json!([{ "k": "a", "n": 9 }])),
        row("POST /things?on_conflict=k&select=k,n", 200, Is(json!([{ "k": "e", "n": 6 }])))
            .says(&[("prefer", "return=representation, resolution=merge-duplicates")])
            .sends(json!([{ "k": "e", "n": 6 }])),
        row("POST /things", 400, Has(json!({ "code": "23514" }))).sends(json!({ "k": "x", "n": -1 })),
        row("POST /things", 400, Has(json!({ "code": "PGRST204" }))).sends(json!({ "nope": 1 })),
        row("POST /things", 400, Has(json!({ "code": "PGRST102" }))).sends(Value::Null),
        row("POST /things", 409, Has(json!({ "code": "23503" })))
            .sends(json!({ "k": "x", "parent": 1_000_000 })),
        row("POST /things", 400, Has(json!({ "code": "23502" }))).sends(json!({ "n": 1 })),
        row("GET /things?k=eq.a&select=k,n", 200, Is(json!({ "k": "a", "n": 1 }))).says(&[OBJECT]),
        row(
            "GET /things?k=eq.zzz",
            406,
            Has(json!({ "code": "PGRST116", "details": "The result contains 0 rows" })),
        )
        .says(&[OBJECT]),
        row(
            "GET /things?select=k&order=k.asc&limit=2&offset=0",
            206,
            Is(json!([{ "k": "a" }, { "k": "b" }])),
        )
        .says(&[("prefer", "count=exact")])
        .hears(&[("content-range", "0-1/5"), ("preference-applied", "count=exact")]),
        row("GET /things?select=k&order=k.desc", 206, Is(json!([{ "k": "e" }])))
            .says(&[("prefer", "count=exact"), ("range", "0-0")])
            .hears(&[("content-range", "0-0/5")]),
        row("GET /things?k=in.(a,b)&select=k&order=k", 200, Is(json!([{ "k": "a" }, { "k": "b" }])))
            .says(&[("prefer", "count=exact")])
            .hears(&[("content-range", "0-1/2")]),
        row("GET /things?k=in.(%22a,b%22)&select=k", 200, Is(json!([]))),
        row("GET /things?select=k&or=(n.gte.6,k.eq.a)&order=k", 200, Is(json!([{ "k": "a" }, { "k": "e" }]))),
        row("GET /things?offset=100", 416, Has(json!({ "code": "PGRST103" })))
            .says(&[("prefer", "count=exact")]),
        row("HEAD /things", 200, Empty)
            .says(&[("prefer", "count=exact")])
            .hears(&[("content-range", "0-4/5"), ("content-type", "")]),
        row("PATCH /things?k=eq.b&select=n", 200, Is(json!([{ "n": 20 }])))
            .says(&[REPRESENT])
            .sends(json!({ "n": 20 })),
        row("PATCH /things?k=eq.zzz", 200, Is(json!([]))).says(&[REPRESENT]).sends(json!({ "n": 1 })),
        row("PATCH /things?k=eq.zzz", 204, Empty).sends(json!({ "n": 1 })),
        row("DELETE /things?k=in.(c,d)", 204, Empty)
            .says(&[("prefer", "count=exact")])
            .hears(&[("content-range", "*/2")]),
        row("POST /rpc/add_up", 200, Is(json!(5))).sends(json!({ "a": 2, "b": 3 })),
        row("GET /rpc/add_up?a=1&b=1", 200, Is(json!(2))),
        row("POST /rpc/things_from?select=k", 200, Is(json!([{ "k": "e" }, { "k": "b" }])))
            .sends(json!({ "low": 5 })),
        row("POST /rpc/nothing", 204, Empty).sends(json!({})),
        row("POST /rpc/nowhere", 404, Has(json!({ "code": "PGRST202" }))).sends(json!({})),
        row(
            "POST /rpc/refuse",
            409,
            Is(json!({ "code": "PT409", "message": "no", "details": "because", "hint": "try another" })),
        )
        .sends(json!({})),
        row("POST /rpc/fall", 400, Has(json!({ "code": "P0001", "message": "oh" }))).sends(json!({})),
        row("POST /rpc/who_am_i", 200, Is(json!({ "role": "service_role", "sub": null, "said": "hi" })))
            .says(&[("x-said", "hi")])
            .sends(json!({})),
        row("GET /nothings", 404, Has(json!({ "code": "42P01" }))),
        row("GET /things?k=zz.a", 400, Has(json!({ "code": "PGRST100" }))),
        row("GET /things?k=eq.a&select=k", 200, Is(json!([{ "k": "a" }]))).says(&[("accept-profile", "public")]),
        row("GET /things", 406, Has(json!({ "code": "PGRST106" }))).says(&[("accept-profile", "cogo")]),
        row("GET /", 200, Has(json!({ "swagger": "2.0" }))),
    ]
}

#[tokio::test]
async fn rest_answers_through_the_gateway_what_workers_and_clients_rely_on() {
    let supabase = Supabase::start_with([localstack::Part::Rest], None).await;
    for row in rows() {
        let told = row.request;
        let (method, path) = told.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let mut request = supabase.request(method, &format!("/rest/v1{path}"));
        for (name, value) in row.headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = &row.body {
            // What is no JSON at all is one of the cases.
            let text = if body.is_null() { "{oh".to_owned() } else { body.to_string() };
            request = request.header("content-type", "application/json").body(text);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        assert_eq!(status, row.status, "{told}: {text}");
        for (name, value) in row.has {
            let found = headers.get(*name).unwrap_or_else(|| panic!("{told}: no {name}"));
            assert!(value.is_empty() || found == value, "{told}: {name} is {found:?}");
        }
        assert_eq!(headers.get("access-control-allow-origin").unwrap(), "*", "{told}");
        match row.answer {
            Answer::Empty => assert_eq!(text, "", "{told}"),
            Answer::Is(wanted) => assert_eq!(parsed(&text), wanted, "{told}"),
            Answer::Has(wanted) => {
                let found = parsed(&text);
                for (name, value) in wanted.as_object().unwrap() {
                    assert_eq!(&found[name], value, "{told}: {text}");
                }
            }
        }
    }
    supabase.stop().await;
}

#[tokio::test]
async fn a_table_that_was_just_made_is_served() {
    let supabase = Supabase::start_with([localstack::Part::Rest], None).await;
    let asked = || async {
        let answer = supabase.request(Method::GET, "/rest/v1/fresh").send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(asked().await, 404);
    let client = crate::holder::connect(&supabase.stack.url()).await;
    client
        .batch_execute("create table fresh (id int primary key, other bigint references things); grant all on fresh to service_role")
        .await
        .unwrap();
    // An embedded table is served only once PostgREST knows of the reference.
    let embedded = || async {
        let path = "/rest/v1/fresh?select=id,things(k)";
        supabase.request(Method::GET, path).send().await.unwrap().status().as_u16()
    };
    let began = std::time::Instant::now();
    while embedded().await != 200 {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "it is never served");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    supabase.stop().await;
}
