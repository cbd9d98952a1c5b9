//! Who may see and do what: every table and view × everybody × every verb, by really trying.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};
use testkit::Caller;
use tokio_postgres::error::SqlState;

use crate::fixture::Fixture;

/// Rows of both tenants, on a route that is open to clients and on one that is not, in every state.
async fn two_tenants() -> Fixture {
    let on = Fixture::new().await;
    on.run("insert into public.bus_routes (service, role, open_to) values ('open', 'stage', '{authenticated}'), ('closed', 'stage', '{}')")
        .await;
    for tenant in ["a", "b"] {
        for service in ["open", "closed"] {
            let one = |fields: Value| {
                let mut message = json!({ "service": service, "role": "stage", "tenant": tenant });
                message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
                message
            };
            on.publish(json!([
                one(json!({ "ordering_key": "o", "max_attempts": 1 })),
                one(json!({ "ordering_key": "o" })),
                one(json!({ "delay_ms": 60_000 })),
                one(json!({})),
                one(json!({})),
                one(json!({})),
            ]))
            .await;
            let route = format!("{service}/stage/0/{tenant}");
            let claims = on.claim(&[&route], 3).await;
            on.end(&claims[0], "fail", json!({ "events": [{ "event_type": "noted" }] })).await;
            on.end(&claims[1], "done", json!({})).await;
        }
    }
    on.run(
        "insert into public.registry_accounts (provider, registry_url, namespace) values ('oci', 'localhost', 'everybody');
        insert into public.k8s_pull_secret_links (registry_account_id, kube_namespace, secret_name)
            select id, 'n', 's' from public.registry_accounts;
        select public.registry_record_tag('cogo-codegen-worker', 'v0.0.1');
        insert into cogo.quarantined_images select agent_id, 'sha256:' || repeat('0', 64), now(), id, 'x' from public.image_tag_history;
        select public.bus_beat('{\"id\": \"w1\", \"agent_name\": \"a\"}');
        select public.bus_park('w1', 'bell', array['open/stage/*'], 1000);
        insert into cogo.meters values ('open', 'stage', '', 1, now());
        insert into cogo.watched values (repeat('b', 32), now(), now());
        grant usage on schema cogo to anon, authenticated, service_role, cogo_worker",
    )
    .await;
    on
}

/// Everybody, as the columns of the matrix.
const CALLERS: [(&str, &str, Option<&str>); 6] = [
    ("anon", "anon", None),
    ("A", "authenticated", Some("a")),
    ("B", "authenticated", Some("b")),
    ("nobody", "authenticated", None),
    ("service", "service_role", None),
    ("worker", "cogo_worker", None),
];

async fn caller(on: &Fixture, role: &str, tenant: Option<&str>) -> Caller {
    let claims = match tenant {
        Some(tenant) => json!({ "role": role, "tenant": tenant }),
        None => json!({ "role": role }),
    };
    on.test.as_role(role, &claims).await
}

async fn tables(on: &Fixture) -> Vec<String> {
    let sql = "select namespace.nspname || '.' || relation.relname from pg_class as relation
        join pg_namespace as namespace on namespace.oid = relation.relnamespace
        where namespace.nspname in ('public', 'cogo') and relation.relkind in ('r', 'p', 'v', 'm') order by 1";
    on.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

/// An insert that would be right for somebody who may.
fn insert_into(table: &str, tenant: &str) -> String {
    let hex = "repeat('a', 32)";
    match table {
        "public.agent_messages" | "cogo.agent_messages" => {
            format!("insert into {table} (service, role, tenant) values ('open', 'stage', '{tenant}')")
        }
        "public.bus_events" => format!(
            "insert into {table} (event_type, trace_id, service, role, tenant) values ('x', {hex}, 'open', 'stage', '{tenant}')"
        ),
        "public.agent_messages_dlq" => format!(
            "insert into {table} (orig_id, service, role, shard, tenant, trace_id, attempts, reason, payload)
            values (4711, 'open', 'stage', 0, '{tenant}', {hex}, 1, 'x', '{{}}')"
        ),
        "public.bus_routes" => format!("insert into {table} (service, role) values ('new', 'stage')"),
        "public.intents" => format!(
            "insert into {table} (name, target) values ('i' || left(md5(random()::text), 9), 'x/y/0')"
        ),
        "public.workers" => format!("insert into {table} (id, agent_name) values ('w2', 'a')"),
        "cogo.lanes" => format!("insert into {table} (service, role, shard, tenant, priority) values ('x', 'y', 0, '{tenant}', 0)"),
        "cogo.ready" => format!("insert into {table} (lane_id, id) values (1, 4711)"),
        "cogo.later" => format!("insert into {table} (id, lane_id, due_at) values (4711, 1, now())"),
        "cogo.ordered" => format!("insert into {table} (stream, id, lane_id) values (1, 4711, 1)"),
        "cogo.leases" => format!(
            "insert into {table} (id, lane_id, lease, worker, claimed_at, lease_until) values (4711, 1, gen_random_uuid(), 'w', now(), now())"
        ),
        "cogo.receipts" => format!("insert into {table} (id, status, attempts, done_at) values (4711, 'done', 1, now())"),
        "cogo.parked" => format!("insert into {table} values ('x', 'y', 0, '', 'w2', 'bell', now())"),
        "cogo.meters" => format!("insert into {table} values ('x', 'y', '', 1, now())"),
        "cogo.watched" => format!("insert into {table} values ({hex}, now(), now())"),
        "cogo.keeper" => format!("insert into {table} (worker) values ('w2')"),
        "public.executions" => format!(
            "insert into {table} (id, target, stage, tenant, trace_id, budget, expires_at, state)
            values (4711, 'x/y/0', 'x/y', '{tenant}', {hex}, '{{}}', now(), 'waiting')"
        ),
        "public.execution_policies" => format!("insert into {table} (target) values ('x/y')"),
        "public.circuits" => format!("insert into {table} (target) values ('x/y')"),
        "public.registry_accounts" => format!(
            "insert into {table} (provider, registry_url, namespace) values ('oci', 'localhost', 'n' || left(md5(random()::text), 9))"
        ),
        "public.agent_catalog" => format!(
            "insert into {table} (agent_name, repo) values ('cogo-a-' || left(md5(random()::text), 9), 'localhost/a')"
        ),
        "public.image_tag_history" => format!(
            "insert into {table} (agent_id, tag) select id, 'v1.0.0' from public.agent_catalog where agent_name = 'cogo-codegen-worker'"
        ),
        "public.k8s_pull_secret_links" => format!(
            "insert into {table} (registry_account_id, kube_namespace, secret_name)
            select id, 'n', 'n' || left(md5(random()::text), 9) from public.registry_accounts limit 1"
        ),
        "cogo.quarantined_images" => format!(
            "insert into {table} (agent_id, digest, release_id, failure_code) select agent_id, 'x', id, 'x' from public.image_tag_history"
        ),
        new => panic!("say here how a row of {new} is inserted, and below who may"),
    }
}

/// `-` for no permission; `policy` where row level security refuses; else the number of rows.
async fn tried(caller: &Caller, sql: &str) -> String {
    // What would be done is undone: a caller's transaction ends well only without an error.
    match caller.execute(sql, &[]).await {
        Ok(rows) => rows.to_string(),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let said = error.as_db_error().unwrap().message();
            if said.contains("row-level security") { "policy".into() } else { "-".into() }
        }
        Err(error) => {
            format!("{}: {}", sql, error.as_db_error().map_or("?", |said| said.message()))
        }
    }
}

async fn column_of(on: &Fixture, table: &str) -> String {
    let sql = "select attname::text from pg_attribute where attrelid = $1::text::regclass
            and attnum > 0 and attidentity = '' order by attnum limit 1";
    on.row(sql, &[&table]).await.get(0)
}

#[tokio::test]
async fn every_table_for_everybody_and_every_verb() {
    let on = two_tenants().await;
    let mut matrix = String::new();
    let mut cells = BTreeMap::new();
    for table in tables(&on).await {
        let column = column_of(&on, &table).await;
        for verb in ["select", "insert", "update", "delete"] {
            let mut line = format!("{:<26}{verb:<7}", table);
            for (name, role, tenant) in CALLERS {
                let caller = caller(&on, role, tenant).await;
                let tenant = tenant.unwrap_or("default");
                let sql = match verb {
                    "select" => format!("select 1 from {table}"),
                    "insert" => insert_into(&table, tenant),
                    // Nothing changes, so that each tries the same.
                    "update" if table == "public.agent_messages" => {
                        format!("update {table} set payload = payload where true")
                    }
                    "update" => format!("update {table} set {column} = {column} where true"),
                    _ => format!("delete from {table} where false"),
                };
                let said = tried(&caller, &sql).await;
                let _ = write!(line, "{name} {said:<8}");
                cells.insert((table.clone(), verb, name), said);
            }
            matrix.push_str(line.trim_end());
            matrix.push('\n');
        }
    }
    for ((table, verb, name), said) in &cells {
        match *name {
            "anon" if *verb == "insert" && table.ends_with(".agent_messages") => {
                assert_eq!(said, "policy");
            }
            "anon" => assert_eq!(said, "-", "anon: {verb} {table}"),
            "nobody" => {
                assert!(["-", "0", "policy"].contains(&said.as_str()), "{verb} {table}: {said}");
            }
            "A" | "B" if *verb == "update" || *verb == "delete" => {
                assert_eq!(said, "-", "{name}: {verb} {table}");
            }
            _ => {}
        }
    }
    insta::assert_snapshot!("everybody", matrix);
}

#[tokio::test]
async fn a_tenant_sees_its_own_rows_on_open_routes_and_nothing_else() {
    let on = two_tenants().await;
    for (mine, theirs) in [("a", "b"), ("b", "a")] {
        let me = caller(&on, "authenticated", Some(mine)).await;
        for table in [
            "public.agent_messages",
            "public.agent_messages_dlq",
            "public.bus_events",
            "cogo.agent_messages",
        ] {
            let sql = format!(
                "select distinct tenant, service from {table} where tenant <> $1 or service <> 'open'"
            );
            let foreign = me.query(&sql, &[&mine]).await.unwrap();
            assert!(foreign.is_empty(), "{mine} sees in {table}: {foreign:?}");
            let own = me.query(&format!("select from {table}"), &[]).await.unwrap();
            assert!(!own.is_empty(), "{mine} sees nothing of its own in {table}");
        }
        let mut visible = BTreeMap::new();
        for table in ["cogo.leases", "cogo.later", "cogo.receipts"] {
            let sql = format!(
                "select message.tenant, message.service from {table} as part join cogo.agent_messages as message using (id)"
            );
            let seen = me.query(&format!("select id from {table}"), &[]).await.unwrap();
            for row in &seen {
                let owner = format!(
                    "select tenant || ' ' || service from cogo.agent_messages where id = {}",
                    row.get::<_, i64>(0)
                );
                assert_eq!(on.text(&owner).await.unwrap(), format!("{mine} open"), "{table}");
            }
            assert_eq!(me.query(&sql, &[]).await.unwrap().len(), seen.len());
            visible.insert(table, seen.len());
        }
        assert_eq!(
            visible,
            BTreeMap::from([("cogo.leases", 1), ("cogo.later", 1), ("cogo.receipts", 2)])
        );

        // Not by guessing a number, a trace or a key either.
        let id = on
            .number(&format!("select min(id) from cogo.agent_messages where tenant = '{theirs}'"))
            .await;
        assert!(
            me.query("select from public.agent_messages where id = $1", &[&id])
                .await
                .unwrap()
                .is_empty()
        );
        for (what, tenant, service) in [
            ("another tenant", theirs, "open"),
            ("a closed route", mine, "closed"),
            ("an unknown route", mine, "new"),
        ] {
            for (table, columns, values) in [
                ("agent_messages", "", ""),
                ("bus_events", "event_type, trace_id, ", "'x', repeat('a', 32), "),
            ] {
                let sql = format!(
                    "insert into public.{table} ({columns}service, role, tenant) values ({values}'{service}', 'stage', '{tenant}')"
                );
                assert_eq!(tried(&me, &sql).await, "policy", "{what}: {table}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_is_told_the_same_states_as_everybody() {
    let on = two_tenants().await;
    let me = caller(&on, "authenticated", Some("a")).await;
    let sql = "select id, status, attempts, claimed_by, done_at from public.agent_messages where tenant = 'a' and service = 'open' order by id";
    let (mine, all) = (me.query(sql, &[]).await.unwrap(), on.rows(sql, &[]).await);
    assert_eq!(mine.len(), 6);
    for (mine, all) in mine.iter().zip(&all) {
        assert_eq!(mine.get::<_, i64>(0), all.get::<_, i64>(0));
        assert_eq!(mine.get::<_, &str>(1), all.get::<_, &str>(1));
        assert_eq!(mine.get::<_, i32>(2), all.get::<_, i32>(2));
        assert_eq!(mine.get::<_, Option<&str>>(3), all.get::<_, Option<&str>>(3));
    }
}

#[tokio::test]
async fn a_clients_plain_insert_is_a_message_of_its_own_tenant() {
    let on = two_tenants().await;
    for claims in [json!({ "tenant": "a" }), json!({ "app_metadata": { "tenant": "a" } })] {
        let me = on.test.as_role("authenticated", &claims).await;
        let sql = "insert into public.agent_messages (service, role, payload) values ('open', 'stage', '{}') returning tenant, status";
        let rows = me.query(sql, &[]).await.unwrap();
        assert_eq!((rows[0].get(0), rows[0].get(1)), ("a", "queued"));
    }
    // What the client may not say is the bus's.
    let me = caller(&on, "authenticated", Some("a")).await;
    for column in [
        "id",
        "created_at",
        "replay_of",
        "status",
        "attempts",
        "claimed_by",
        "error",
        "last_error_at",
    ] {
        let sql = format!(
            "insert into public.agent_messages (service, role, {column}) values ('open', 'stage', null)"
        );
        let said = tried(&me, &sql).await;
        assert!(said == "-" || said.contains("cannot insert"), "{column}: {said}");
    }
    on.is_whole().await;
}

#[tokio::test]
async fn an_operator_may_open_a_route_to_everybody_and_they_write_blind() {
    let on = two_tenants().await;
    on.run("update public.bus_routes set open_to = '{anon}' where service = 'closed'").await;
    let anybody = caller(&on, "anon", None).await;
    let insert = |tenant: &str| {
        format!(
            "insert into public.agent_messages (service, role, tenant) values ('closed', 'stage', '{tenant}')"
        )
    };
    assert_eq!(tried(&anybody, &insert("default")).await, "1");
    assert_eq!(tried(&anybody, &insert("a")).await, "policy", "nobody's token says that");
    assert_eq!(tried(&anybody, "select 1 from public.agent_messages").await, "-");
    assert_eq!(tried(&anybody, &format!("{} returning id", insert("default"))).await, "-");
    on.is_whole().await;
}

#[tokio::test]
async fn no_client_calls_a_function_of_the_bus() {
    let on = two_tenants().await;
    for (_, role, tenant) in CALLERS.into_iter().take(4) {
        let me = caller(&on, role, tenant).await;
        for call in [
            "public.bus_publish('[]')",
            "public.bus_claim('w', array['open/stage/0'])",
            "public.bus_settle('w', '[]')",
            "public.bus_done('w', '{}', '{}')",
            "public.bus_renew('w', '{}', '{}')",
            "public.bus_cancel(1)",
            "public.bus_replay(1)",
            "public.bus_emit('[]')",
            "public.bus_sweep('w')",
            "public.bus_retain('w')",
            "public.bus_pause('open', 'stage')",
            "public.bus_park('w', 'x', '{}', 1000)",
            "public.bus_unpark('w')",
            "public.bus_ring('w', '{}')",
            "public.bus_beat('{}')",
            "public.bus_drain('w')",
            "cogo.publish_all('[]')",
            "cogo.leave('{}')",
            "cogo.lead('w')",
            "cogo.promote_due(1)",
        ] {
            assert_eq!(tried(&me, &format!("select * from {call}")).await, "-", "{role}: {call}");
        }
    }
}

#[tokio::test]
async fn workers_and_servers_do_their_work_without_any_other_right() {
    let on = two_tenants().await;
    on.run("revoke usage on schema cogo from anon, authenticated, service_role, cogo_worker").await;
    for role in ["service_role", "cogo_worker"] {
        let me = caller(&on, role, None).await;
        let ask = async |sql: &str| {
            let rows = me.query(sql, &[]).await;
            rows.unwrap_or_else(|error| panic!("{role}: {sql}: {error:?}"))
        };
        let id: i64 =
            ask("select id from public.bus_publish('{\"service\": \"work\", \"role\": \"er\"}')")
                .await[0]
                .get(0);
        let claimed =
            ask("select id, lease::text from public.bus_claim('w9', array['work/er/0'])").await;
        assert_eq!(claimed[0].get::<_, i64>(0), id);
        let lease: String = claimed[0].get(1);
        ask(&format!("select * from public.bus_renew('w9', array[{id}], array['{lease}'::uuid])"))
            .await;
        let settled = ask(&format!(
            "select accepted from public.bus_settle('w9', '[{{\"id\": {id}, \"lease\": \"{lease}\", \"outcome\": \"fail\",
                \"publish\": [{{\"service\": \"work\", \"role\": \"next\"}}], \"events\": [{{\"event_type\": \"x\"}}]}}]')"
        ))
        .await;
        assert!(settled[0].get::<_, bool>(0));
        ask(&format!("select public.bus_replay({id})")).await;
        ask("select * from public.bus_done('w9', '{}', '{}')").await;
        ask("select public.bus_beat('{\"id\": \"w9\", \"agent_name\": \"a\"}')").await;
        ask("select public.bus_park('w9', 'bell', array['work/er/0'], 1000)").await;
        ask("select public.bus_unpark('w9')").await;
        ask("select public.bus_sweep('w9')").await;
        ask("select public.bus_retain('w9')").await;
        ask("select public.bus_pause('work', 'er', false)").await;
        ask("select public.bus_drain('w9')").await;
        assert_eq!(ask("select status from public.agent_messages where service = 'work' order by id limit 1").await.len(), 1);
        assert_eq!(
            tried(&me, "insert into public.agent_messages (service, role) values ('work', 'er')")
                .await,
            "1"
        );
        on.run("delete from cogo.agent_messages where service = 'work'; update cogo.keeper set kept_at = '-infinity'").await;
    }
    on.is_whole().await;
}
