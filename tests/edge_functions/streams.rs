//! Following a trace, over connections that are cut.

use reqwest::Response;
use serde_json::{Value, json};

use crate::fixture::{Project, TRACE, refused};

/// One thing that was told: its id, its name (`message` unless it has one) and what it says.
#[derive(Debug)]
struct Told {
    id: Option<i64>,
    name: String,
    data: Value,
}

struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn of(on: &Project, query: &str, last: Option<i64>) -> Self {
        let mut request = on.get(&format!("trace-events?trace_id={TRACE}{query}"), &on.user("a"));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", on.log());
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// `None` when it has ended.
    async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let told = read(block);
                self.text = rest.to_owned();
                if told.is_some() {
                    return told;
                }
            }
            let part = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&part).unwrap());
        }
    }

    async fn rest(mut self) -> Vec<Told> {
        let mut all = Vec::new();
        while let Some(told) = self.next().await {
            all.push(told);
        }
        all
    }
}

/// Comments are nothing.
fn read(block: &str) -> Option<Told> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let data = field("data: ")?;
    Some(Told {
        id: field("id: ").map(|id| id.parse().unwrap()),
        name: field("event: ").unwrap_or("message").to_owned(),
        data: serde_json::from_str(data).unwrap(),
    })
}

fn event(kind: &str) -> String {
    format!(
        "insert into public.bus_events (event_type, trace_id, service, role, shard, tenant)
        values ('{kind}', '{TRACE}', 'example', 'echo', 0, 'a')"
    )
}

async fn begin(on: &Project) {
    on.open_a_stage().await;
    let message = json!({ "service": "example", "role": "echo", "tenant": "a", "trace_id": TRACE });
    on.run(&format!("select public.bus_publish('{message}')")).await;
}

#[tokio::test]
async fn every_event_arrives_once_however_often_the_connection_is_cut() {
    let on = Project::start().await;
    begin(&on).await;
    let other = on.test.client().await;
    let write = async {
        for n in 0..12 {
            other.batch_execute(&event(&format!("step_{n}"))).await.unwrap();
        }
        on.end("example/echo/0", "done").await;
    };
    let read = async {
        let mut seen = Vec::new();
        let mut last = None;
        for cut in 1.. {
            let mut stream = Stream::of(&on, "", last).await;
            // Cut after one, two, three …: dropping it closes the connection.
            for _ in 0..cut {
                let Some(told) = stream.next().await else { panic!("it ended without an end") };
                if told.name == "end" {
                    assert_eq!(told.data, json!({ "trace_id": TRACE }));
                    assert!(stream.next().await.is_none(), "nothing comes after the end");
                    return seen;
                }
                assert_eq!((told.name.as_str(), told.id), ("message", told.data["id"].as_i64()));
                last = told.id;
                seen.push(told.id.unwrap());
            }
        }
        seen
    };
    let ((), seen) = tokio::join!(write, read);
    let sql = format!(
        "select jsonb_agg(id order by id) from public.bus_events where trace_id = '{TRACE}'"
    );
    assert_eq!(json!(seen), on.value(&sql).await);
    assert!(seen.len() > 12);
}

#[tokio::test]
async fn a_stream_ends_after_its_life_and_goes_on_where_it_was() {
    let on = Project::with(&[("COGO_STREAM_SECONDS", "1")]).await;
    begin(&on).await;
    on.run(&event("one")).await;
    let told = Stream::of(&on, "", None).await.rest().await;
    assert!(told.iter().all(|one| one.name == "message"), "{told:?}");
    let last = told.last().unwrap().id;
    on.run(&event("two")).await;
    on.end("example/echo/0", "done").await;
    let more = Stream::of(&on, "&after=0", last).await.rest().await;
    let kinds: Vec<_> =
        more.iter().map(|one| one.data["event_type"].as_str().unwrap_or("")).collect();
    assert_eq!(kinds.first(), Some(&"two"), "the header counts, not the address");
    assert_eq!(more.last().unwrap().name, "end");
    let from = told.last().unwrap().id.unwrap();
    let same = Stream::of(&on, &format!("&after={from}"), None).await.rest().await;
    assert_eq!(same.len(), more.len());
}

#[tokio::test]
async fn one_connection_tells_of_what_happens_while_it_is_open() {
    let on = Project::with(&[("COGO_STREAM_SECONDS", "30")]).await;
    begin(&on).await;
    on.run(&event("step_0")).await;
    let mut stream = Stream::of(&on, "", None).await;
    for n in 0..4 {
        let told = stream.next().await.unwrap();
        assert_eq!(told.data["event_type"], json!(format!("step_{n}")));
        on.run(&event(&format!("step_{}", n + 1))).await;
    }
}

#[tokio::test]
async fn who_may_not_see_a_trace_any_more_is_told_so_in_the_middle_of_it() {
    let on = Project::start().await;
    begin(&on).await;
    on.run(&event("one")).await;
    let mut stream = Stream::of(&on, "", None).await;
    assert_eq!(stream.next().await.unwrap().data["event_type"], json!("one"));
    on.run("update public.bus_routes set open_to = '{}' where service = 'example'").await;
    let told = stream.next().await.unwrap();
    assert_eq!((told.name.as_str(), &told.data["code"]), ("error", &json!("not_found")));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_stream_waits_for_a_database_that_is_away_until_its_life_ends() {
    let mut on = Project::with(&[("COGO_STREAM_SECONDS", "2")]).await;
    begin(&on).await;
    on.run(&event("one")).await;
    let stream = Stream::of(&on, "", None).await;
    on.rest = None;
    let all = stream.rest().await;
    assert_eq!(all.len(), 1, "no error is told of what may pass: {all:?}");
}

#[tokio::test]
async fn what_is_wrong_from_the_start_is_a_plain_answer() {
    let on = Project::start().await;
    begin(&on).await;
    let path = format!("trace-events?trace_id={TRACE}");
    assert_eq!(refused(on.get(&path, "x")).await.0, 401);
    assert_eq!(refused(on.get(&path, &on.user("b"))).await, (404, "not_found".into()));
    let request = on.get(&path, &on.user("a")).header("last-event-id", "abc");
    assert_eq!(refused(request).await, (400, "request_invalid".into()));
}
