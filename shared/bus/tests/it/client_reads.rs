//! What a client reads with one call: everything of its own, nothing of others, and no event skipped.

use serde_json::{Value, json};
use testkit::Caller;
use tokio_postgres::error::SqlState;

use crate::fixture::Fixture;

const TRACE: &str = "0123456789abcdef0123456789abcdef";

fn event(kind: &str, tenant: &str) -> String {
    format!(
        "insert into public.bus_events (event_type, trace_id, service, role, shard, tenant)
        values ('{kind}', '{TRACE}', 'open', 'stage', 0, '{tenant}')"
    )
}

async fn open_stage() -> Fixture {
    let on = Fixture::new().await;
    on.run(
        "insert into public.bus_routes (service, role, max_attempts, open_to) values
            ('open', 'stage', 1, '{authenticated}'), ('closed', 'stage', 1, '{}')",
    )
    .await;
    on
}

async fn client(on: &Fixture, tenant: &str) -> Caller {
    on.test.as_role("authenticated", &json!({ "tenant": tenant })).await
}

async fn server(on: &Fixture) -> Caller {
    on.test.as_role("service_role", &json!({ "role": "service_role" })).await
}

async fn ask(caller: &Caller, call: &str) -> Result<Value, SqlState> {
    let rows = caller.query(&format!("select {call}"), &[]).await;
    rows.map(|rows| rows[0].get(0)).map_err(|error| error.code().unwrap().clone())
}

async fn events(caller: &Caller, after: i64) -> Value {
    ask(caller, &format!("public.bus_trace_events('{TRACE}', {after})")).await.unwrap()
}

fn kinds(told: &Value) -> Vec<&str> {
    let events = told["events"].as_array().unwrap();
    events.iter().map(|event| event["event_type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_event_that_commits_late_is_never_skipped_by_who_comes_back_with_a_number() {
    let on = open_stage().await;
    on.run(&event("zero", "a")).await;
    let late = on.test.client().await;
    late.batch_execute(&format!("begin; {}", event("one", "a"))).await.unwrap();
    on.run(&event("two", "a")).await;
    let me = client(&on, "a").await;

    let held = events(&me, 0).await;
    assert_eq!((kinds(&held), &held["next"], &held["at_rest"]), (vec![], &json!(0), &json!(false)));
    late.batch_execute("commit").await.unwrap();
    let told = events(&me, 0).await;
    assert_eq!((kinds(&told), &told["at_rest"]), (vec!["zero", "one", "two"], &json!(true)));

    // A hole that is never filled does not hold anybody up.
    late.batch_execute(&format!("begin; {}; rollback", event("never", "a"))).await.unwrap();
    on.run(&event("three", "a")).await;
    let more = events(&me, told["next"].as_i64().unwrap()).await;
    assert_eq!(kinds(&more), ["three"]);
    let nothing = events(&me, more["next"].as_i64().unwrap()).await;
    assert_eq!((kinds(&nothing), &nothing["next"]), (vec![], &more["next"]));
}

#[tokio::test]
async fn pages_of_any_size_bring_every_event_once_while_others_write() {
    let on = open_stage().await;
    on.run(&event("n0", "a")).await;
    let writers = async |name: u32| {
        let client = on.test.client().await;
        for n in 0..25u32 {
            // Each holds what it wrote for a moment, so that numbers and commits are in other orders.
            let sql = format!(
                "begin; {}; select pg_sleep(0.001 * {}); {}",
                event(&format!("w{name}_{n}"), "a"),
                (n * 7 + name) % 20,
                if n % 5 == 4 { "rollback" } else { "commit" }
            );
            client.batch_execute(&sql).await.unwrap();
        }
    };
    let me = client(&on, "a").await;
    let mut seen: Vec<i64> = Vec::new();
    let mut after = 0;
    let written = std::cell::Cell::new(false);
    let write = async {
        tokio::join!(writers(0), writers(1), writers(2));
        written.set(true);
    };
    let read = async {
        for most in (1..=40).cycle() {
            let last = written.get();
            let call = format!("public.bus_trace_events('{TRACE}', {after}, {most})");
            let told = ask(&me, &call).await.unwrap();
            let events = told["events"].as_array().unwrap();
            assert!(events.len() <= most);
            seen.extend(events.iter().map(|one| one["id"].as_i64().unwrap()));
            after = told["next"].as_i64().unwrap();
            if last && events.is_empty() {
                break;
            }
        }
    };
    tokio::join!(write, read);
    assert_eq!(seen.len(), 1 + 3 * 20);
    let all = on
        .rows("select id from public.bus_events where trace_id = $1 order by id", &[&TRACE])
        .await;
    let all: Vec<i64> = all.iter().map(|row| row.get(0)).collect();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_trace_is_at_rest_when_its_last_message_has_ended_wherever_that_is() {
    let on = open_stage().await;
    let open = on
        .publish(json!({ "service": "open", "role": "stage", "tenant": "a", "trace_id": TRACE }))
        .await[0];
    on.publish(json!({ "service": "closed", "role": "stage", "tenant": "a", "trace_id": TRACE }))
        .await;
    on.run(&event("begun", "a")).await;
    let me = client(&on, "a").await;
    let claim = on.claim(&["open/stage/0"], 1).await.remove(0);
    on.end(&claim, "done", json!({})).await;

    let trace = ask(&me, &format!("public.bus_trace('{TRACE}')")).await.unwrap();
    assert_eq!(trace["at_rest"], json!(false), "another stage still works on it");
    assert_eq!(trace["messages"].as_array().unwrap().len(), 1, "which is closed to clients");
    assert_eq!(
        (&trace["messages"][0]["id"], &trace["messages"][0]["status"]),
        (&json!(open), &json!("done"))
    );
    assert!(trace["messages"][0].get("payload").is_none());
    assert_eq!(events(&me, 0).await["at_rest"], json!(false));

    let claim = on.claim(&["closed/stage/0"], 1).await.remove(0);
    on.end(&claim, "done", json!({})).await;
    let told = events(&me, 0).await;
    assert_eq!(told["at_rest"], json!(true));
    let all = ask(&server(&on).await, &format!("public.bus_trace('{TRACE}')")).await.unwrap();
    assert_eq!(all["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_trace_of_others_is_no_trace() {
    let on = open_stage().await;
    on.publish(json!({ "service": "open", "role": "stage", "tenant": "a", "trace_id": TRACE }))
        .await;
    on.run(&event("begun", "a")).await;
    for tenant in ["b", ""] {
        let other = client(&on, tenant).await;
        for call in ["bus_trace", "bus_trace_events"] {
            let told = ask(&other, &format!("public.{call}('{TRACE}')")).await;
            assert_eq!(told, Err(SqlState::NO_DATA_FOUND), "{call} as {tenant:?}");
        }
        let rest = ask_bool(&other, &format!("public.bus_trace_at_rest('{TRACE}')")).await;
        assert!(rest, "nothing of it is theirs");
    }
    assert!(
        !ask_bool(&client(&on, "a").await, &format!("public.bus_trace_at_rest('{TRACE}')")).await
    );
}

async fn ask_bool(caller: &Caller, call: &str) -> bool {
    caller.query(&format!("select {call}"), &[]).await.unwrap()[0].get(0)
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_a_reason() {
    let on = open_stage().await;
    on.run(&event("begun", "a")).await;
    let me = client(&on, "a").await;
    for call in [
        "bus_trace('x')",
        "bus_trace(null)",
        "bus_trace_events('ABC')",
        &format!("bus_trace_events('{TRACE}', -1)"),
        &format!("bus_trace_events('{TRACE}', 0, 0)"),
        &format!("bus_trace_events('{TRACE}', 0, 1001)"),
        "bus_dead_letters('[]')",
        "bus_dead_letters('{\"limit\": 0}')",
        "bus_dead_letters('{\"stage\": \"x\"}')",
        "bus_dead_letters('{\"before\": \"x\"}')",
        "bus_dead_letters('{\"open_only\": \"perhaps\"}')",
    ] {
        let told = ask(&me, &format!("public.{call}")).await;
        assert_eq!(told, Err(SqlState::INVALID_PARAMETER_VALUE), "{call}");
    }
    let sql =
        format!("begin isolation level repeatable read; select public.bus_trace_events('{TRACE}')");
    let refused = on.test.client().await.batch_execute(&sql).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::ACTIVE_SQL_TRANSACTION));
}

/// A dead letter of each tenant on each stage; their messages, as (tenant, service, id).
async fn letters(on: &Fixture) -> Vec<(&'static str, &'static str, i64)> {
    let mut all = Vec::new();
    for tenant in ["a", "b"] {
        for service in ["open", "closed"] {
            on.publish(json!({ "service": service, "role": "stage", "tenant": tenant })).await;
            let claim = on.claim(&[&format!("{service}/stage/0/{tenant}")], 1).await.remove(0);
            on.end(&claim, "fail", json!({ "reason": "broken" })).await;
            all.push((tenant, service, claim.id));
        }
    }
    all
}

#[tokio::test]
async fn dead_letters_are_listed_to_whom_they_belong_page_by_page() {
    let on = open_stage().await;
    let all = letters(&on).await;
    let me = client(&on, "a").await;
    let mine = ask(&me, "public.bus_dead_letters()").await.unwrap();
    assert_eq!(mine["letters"].as_array().unwrap().len(), 1);
    assert_eq!(mine["letters"][0]["message_id"], json!(all[0].2));
    assert!(mine["letters"][0].get("payload").is_none());

    let everybody = server(&on).await;
    let first = ask(&everybody, "public.bus_dead_letters('{\"limit\": 3}')").await.unwrap();
    let call =
        format!("public.bus_dead_letters('{{\"limit\": 3, \"before\": {}}}')", first["next"]);
    let second = ask(&everybody, &call).await.unwrap();
    let pages = [&first, &second].map(|page| page["letters"].as_array().unwrap().len());
    assert_eq!((pages, &second["next"]), ([3, 1], &Value::Null));
    for (filter, count) in [
        (json!({ "service": "open" }), 2),
        (json!({ "tenant": "b", "role": "stage" }), 2),
        (json!({ "reason": "broken" }), 4),
        (json!({ "reason": "other" }), 0),
        (json!({ "trace_id": TRACE }), 0),
    ] {
        let told = ask(&everybody, &format!("public.bus_dead_letters('{filter}')")).await.unwrap();
        assert_eq!(told["letters"].as_array().unwrap().len(), count, "{filter}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_retried_once_and_only_by_whom_it_belongs_to() {
    let on = open_stage().await;
    let me = client(&on, "a").await;
    for (tenant, service, id) in letters(&on).await {
        let told = ask(&me, &format!("public.bus_retry({id})")).await;
        if (tenant, service) != ("a", "open") {
            assert_eq!(told, Err(SqlState::NO_DATA_FOUND), "{tenant} {service}");
            continue;
        }
        let first = told.unwrap();
        assert_eq!((&first["replay_of"], &first["attached"]), (&json!(id), &json!(false)));
        let again = ask(&me, &format!("public.bus_retry({id})")).await.unwrap();
        assert_eq!((&again["id"], &again["attached"]), (&first["id"], &json!(true)));
        let open_only = ask(&me, "public.bus_dead_letters('{\"open_only\": true}')").await.unwrap();
        assert_eq!(open_only["letters"], json!([]));
    }
    assert_eq!(
        on.number("select count(*) from cogo.agent_messages where replay_of is not null").await,
        1
    );
    on.is_whole().await;
}

#[tokio::test]
async fn a_tenant_sees_its_own_workers_and_its_own_part_of_every_route() {
    let on = open_stage().await;
    letters(&on).await;
    on.publish(json!([
        { "service": "open", "role": "stage", "tenant": "a" },
        { "service": "open", "role": "stage", "tenant": "a", "delay_ms": 60_000 },
        { "service": "open", "role": "stage", "tenant": "b" },
        { "service": "open", "role": "stage", "tenant": "a", "ordering_key": "k" },
        { "service": "open", "role": "stage", "tenant": "a", "ordering_key": "k" },
    ]))
    .await;
    on.claim(&["open/stage/0/a"], 1).await;
    on.run(
        "insert into public.workers (id, agent_name, service, role, tenant, state) values
            ('mine', 'x', 'open', 'stage', 'a', 'ready'), ('theirs', 'x', 'open', 'stage', 'b', 'ready'),
            ('closed', 'x', 'closed', 'stage', 'a', 'ready'), ('all', 'x', 'open', 'stage', null, 'ready'),
            ('gone', 'x', 'open', 'stage', 'a', 'gone')",
    )
    .await;
    let me = client(&on, "a").await;
    let workers = |told: &Value| -> Vec<String> {
        let workers = told["workers"].as_array().unwrap();
        workers.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(workers(&ask(&me, "public.bus_workers()").await.unwrap()), ["mine"]);
    let all = ask(&server(&on).await, "public.bus_workers()").await.unwrap();
    assert_eq!(workers(&all), ["all", "closed", "mine", "theirs"]);

    let told = ask(&me, "public.bus_overview()").await.unwrap();
    let routes = told["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 1, "{told}");
    let of = |names: [&str; 7]| names.map(|name| routes[0][name].as_i64().unwrap());
    assert_eq!(
        of([
            "queued",
            "delayed",
            "waiting",
            "in_flight",
            "done_last_hour",
            "failed_last_hour",
            "shard"
        ]),
        [3, 1, 1, 1, 0, 1, 0]
    );
    assert!(routes[0]["oldest_s"].as_f64().is_some());
    assert_eq!(
        (&told["last_hour_is_partial"], &routes[0]["partial"]),
        (&json!(false), &json!(false))
    );
    let all = ask(&server(&on).await, "public.bus_overview()").await.unwrap();
    let failed: Vec<_> =
        all["routes"].as_array().unwrap().iter().map(|one| &one["failed_last_hour"]).collect();
    assert_eq!(failed, [&json!(2), &json!(2)]);
}

#[tokio::test]
async fn the_caller_is_who_the_token_says_and_a_claim_alone_makes_nobody_a_server() {
    let on = open_stage().await;
    let me = client(&on, "a").await;
    let told = ask(&me, "public.bus_caller()").await.unwrap();
    assert_eq!(told, json!({ "role": "authenticated", "tenant": "a" }));
    let claims = json!({ "role": "service_role" });
    let liar = on.test.as_role("authenticated", &claims).await;
    assert_eq!(ask(&liar, "public.bus_caller()").await.unwrap()["role"], json!("authenticated"));
    letters(&on).await;
    assert_eq!(ask(&liar, "public.bus_overview()").await.unwrap()["routes"], json!([]));
    let nobody = on.test.as_role("anon", &json!({})).await;
    for call in
        ["bus_caller()", "bus_overview()", "bus_workers()", "bus_dead_letters()", "bus_retry(1)"]
    {
        let told = ask(&nobody, &format!("public.{call}")).await;
        assert_eq!(told, Err(SqlState::INSUFFICIENT_PRIVILEGE), "{call}");
    }
    for role in ["service_role", "cogo_worker"] {
        let one = on.test.as_role(role, &json!({})).await;
        assert_eq!(
            ask(&one, "public.bus_overview()").await.unwrap()["routes"].as_array().unwrap().len(),
            2
        );
    }
}

#[tokio::test]
async fn a_client_hears_the_rings_of_its_own_tenant_on_open_stages_and_no_others() {
    let on = open_stage().await;
    // As a policy calls it, which needs no right to the schema.
    on.run("grant usage on schema cogo to authenticated").await;
    let me = client(&on, "a").await;
    let nobody = on.test.as_role("authenticated", &json!({})).await;
    for (caller, topic, may) in [
        (&me, "route:open/stage/a", true),
        (&me, "route:open/stage/b", false),
        (&me, "route:closed/stage/a", false),
        (&me, "route:unknown/stage/a", false),
        (&me, "route:open/stage", false),
        (&me, "route:open/stage/a/a", false),
        (&nobody, "route:open/stage/a", false),
        (&nobody, "route:open/stage/", false),
    ] {
        let told = ask(caller, &format!("to_jsonb(cogo.may_listen('{topic}'))")).await;
        assert_eq!(told, Ok(json!(may)), "{topic}");
    }
}
