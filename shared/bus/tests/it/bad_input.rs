//! Whatever is wrong with what one says, the answer names it, and nothing was written.

use bus::NewMessage;
use messages::Probe;
use serde_json::{Value, json};
use testkit::Way;
use tokio_postgres::types::ToSql;

use crate::fixture::{Fixture, message, publish, refusal, settling};

testkit::on_every_wire!(the_crate_passes_on_what_is_wrong_in_the_words_of_the_database);

const EVERYTHING: &str = "select string_agg(format('%s %s', name, count), ', ' order by name) from (
    select relation.oid::regclass::text as name,
        (xpath('/row/c/text()', query_to_xml(format('select count(*) as c from %s', relation.oid::regclass), false, true, '')))[1]::text as count
    from pg_class as relation join pg_namespace as namespace on namespace.oid = relation.relnamespace
    where namespace.nspname in ('public', 'cogo') and relation.relkind = 'r') as counts";

/// Runs what should be refused, and compares everything there is before and after.
struct Checked<'a> {
    on: &'a Fixture,
    before: String,
}

impl<'a> Checked<'a> {
    async fn on(on: &'a Fixture) -> Self {
        Self { on, before: on.text(EVERYTHING).await.unwrap() }
    }

    async fn refuses(
        &self,
        what: &str,
        named: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) {
        let said = self.on.sql.query(sql, parameters).await;
        let said = refusal(said.map_err(|error| {
            assert!(error.as_db_error().is_some(), "{what}: {error:?}");
            error
        }));
        assert!(said.contains(named), "{what}: `{said}` does not say `{named}`");
        let after = self.on.text(EVERYTHING).await.unwrap();
        assert_eq!(after, self.before, "{what} wrote something");
    }
}

#[tokio::test]
async fn a_wrong_field_of_a_published_message_is_named() {
    let on = Fixture::new().await;
    on.send(json!({})).await;
    let checked = Checked::on(&on).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let table: Vec<(Value, &str)> = vec![
        (json!({ "service": "Codegen" }), "service must be"),
        (json!({ "service": "" }), "service must be"),
        (json!({ "service": null }), "service must be"),
        (json!({ "service": 7 }), "service must be"),
        (json!({ "service": "a".repeat(64) }), "service must be"),
        (json!({ "service": "a/b" }), "service must be"),
        (json!({ "role": "gen erate" }), "role must be"),
        (json!({ "role": null }), "role must be"),
        (json!({ "role": "gen\nerate" }), "role must be"),
        (json!({ "shard": -1 }), "shard must be"),
        (json!({ "shard": 1.5 }), "shard must be"),
        (json!({ "shard": "one" }), "shard must be"),
        (json!({ "shard": 3_000_000_000_u64 }), "shard must be"),
        (json!({ "shard": [0] }), "shard must be"),
        (json!({ "tenant": "" }), "tenant must be"),
        (json!({ "tenant": "a b" }), "tenant must be"),
        (json!({ "tenant": "a/b" }), "tenant must be"),
        (json!({ "tenant": "t".repeat(129) }), "tenant must be"),
        (json!({ "project_id": "p1" }), "project_id must be"),
        (json!({ "project_id": 7 }), "project_id must be"),
        (json!({ "trace_id": "abc" }), "trace_id must be"),
        (json!({ "trace_id": "0".repeat(32) }), "trace_id must be"),
        (json!({ "trace_id": trace.to_uppercase() }), "trace_id must be"),
        (json!({ "traceparent": "garbage" }), "traceparent must be"),
        (json!({ "traceparent": trace }), "traceparent must be"),
        (
            json!({ "traceparent": format!("00-{trace}-00f067aa0ba902b7-01-more") }),
            "traceparent must be",
        ),
        (
            json!({ "traceparent": format!("00-{trace}-0000000000000000-01") }),
            "traceparent must be",
        ),
        (
            json!({ "traceparent": format!("ff-{trace}-00f067aa0ba902b7-01") }),
            "traceparent must be",
        ),
        (json!({ "parent_id": 0 }), "parent_id must be"),
        (json!({ "parent_id": -5 }), "parent_id must be"),
        (json!({ "parent_id": "x" }), "parent_id must be"),
        (json!({ "idempotency_key": "" }), "idempotency_key must be"),
        (json!({ "idempotency_key": "k".repeat(300) }), "idempotency_key must be"),
        (json!({ "idempotency_key": "a\u{1}b" }), "idempotency_key must be"),
        (json!({ "idempotency_key": "a\n" }), "idempotency_key must be"),
        (json!({ "ordering_key": "" }), "ordering_key must be"),
        (json!({ "ordering_key": "k".repeat(300) }), "ordering_key must be"),
        (json!({ "ordering_key": "a\tb" }), "ordering_key must be"),
        (json!({ "priority": 40_000 }), "priority must be"),
        (json!({ "priority": -40_000 }), "priority must be"),
        (json!({ "priority": "high" }), "priority must be"),
        (json!({ "priority": 0.5 }), "priority must be"),
        (json!({ "max_attempts": 0 }), "max_attempts must be"),
        (json!({ "max_attempts": 1001 }), "max_attempts must be"),
        (json!({ "max_attempts": "many" }), "max_attempts must be"),
        (json!({ "delay_ms": -1 }), "delay_ms must be"),
        (json!({ "delay_ms": "-1" }), "delay_ms must be"),
        (json!({ "delay_ms": 1.5 }), "delay_ms must be"),
        (json!({ "delay_ms": "soon" }), "delay_ms must be"),
        (json!({ "delay_ms": 9_000_000_000_000_000_000_u64 }), "delay_ms must be"),
        (json!({ "ttl_ms": 0 }), "ttl_ms must be"),
        (json!({ "ttl_ms": -1 }), "ttl_ms must be"),
        (json!({ "ttl_ms": "long" }), "ttl_ms must be"),
        (json!({ "retry_at": "tomorrow-ish" }), "retry_at must be"),
        (json!({ "retry_at": 1 }), "retry_at must be"),
        (json!({ "expires_at": "2020-01-01T00:00:00Z" }), "expires_at must be"),
        (json!({ "expires_at": "never" }), "expires_at must be"),
        (json!({ "delay_ms": 1, "retry_at": "2030-01-01T00:00:00Z" }), "delay_ms and retry_at"),
        (json!({ "ttl_ms": 1, "expires_at": "2030-01-01T00:00:00Z" }), "ttl_ms and expires_at"),
        (json!({ "status": "done" }), "unknown field `status`"),
        (json!({ "Service": "x" }), "unknown field `Service`"),
        (json!({ "id": 7 }), "unknown field `id`"),
        (json!({ "attempts": 7 }), "unknown field `attempts`"),
        (json!({ "replay_of": 7 }), "unknown field `replay_of`"),
        (json!({ "created_at": "2020-01-01T00:00:00Z" }), "unknown field `created_at`"),
    ];
    for (fields, named) in table {
        let one = message(&fields);
        checked
            .refuses(&fields.to_string(), named, "select * from public.bus_publish($1)", &[&one])
            .await;
        let among = json!([message(&json!({})), one]);
        let placed = format!("message 2: {named}");
        checked
            .refuses(
                &fields.to_string(),
                &placed,
                "select * from public.bus_publish($1)",
                &[&among],
            )
            .await;
    }
    for what in [json!(null), json!("codegen/generate/0"), json!(7), json!(true)] {
        let sql = "select * from public.bus_publish($1)";
        checked.refuses(&what.to_string(), "p_messages must be", sql, &[&what]).await;
        let among = json!([what]);
        checked.refuses(&among.to_string(), "must be an object", sql, &[&among]).await;
    }
    checked
        .refuses("null", "p_messages must be", "select * from public.bus_publish(null)", &[])
        .await;
}

#[tokio::test]
async fn a_wrong_column_of_a_plain_insert_is_named() {
    let on = Fixture::new().await;
    on.send(json!({})).await;
    let checked = Checked::on(&on).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let context = format!("'00-{trace}-0000000000000000-01'");
    for (column, value, named) in [
        ("service", "'Bad'", "service"),
        ("service", "null", "service"),
        ("role", "''", "role"),
        ("shard", "-1", "shard"),
        ("shard", "'one'", "one"),
        ("tenant", "'a b'", "tenant"),
        ("tenant", "null", "tenant"),
        ("project_id", "'p1'", "p1"),
        ("trace_id", "'abc'", "trace_id"),
        ("trace_id", "repeat('0', 32)", "trace_id"),
        ("trace_id", "null", "trace_id"),
        ("traceparent", "'garbage'", "traceparent"),
        ("traceparent", &context, "traceparent"),
        ("parent_id", "0", "parent_id"),
        ("parent_id", "-1", "parent_id"),
        ("replay_of", "-1", "replay_of"),
        ("idempotency_key", "''", "idempotency_key"),
        ("idempotency_key", "repeat('k', 300)", "idempotency_key"),
        ("idempotency_key", "E'a\\x01b'", "idempotency_key"),
        ("ordering_key", "''", "ordering_key"),
        ("ordering_key", "E'a\\nb'", "ordering_key"),
        ("priority", "40000", "smallint"),
        ("max_attempts", "0", "max_attempts"),
        ("max_attempts", "1001", "max_attempts"),
        ("expires_at", "now() - interval '1 s'", "expires_at"),
        ("payload", "null", "payload"),
        ("payload", "'not json'", "json"),
        ("status", "'done'", "status"),
        ("status", "'nonsense'", "status"),
        ("claimed_by", "'me'", "claimed_by"),
        ("attempts", "5", "attempts"),
        ("done_at", "now()", "done_at"),
        ("id", "7", "id"),
    ] {
        let names = ["service", "role"].iter().filter(|name| **name != column);
        let names: String = names.map(|name| format!(", {name}")).collect();
        let values =
            if names.matches(',').count() == 2 { ", 'codegen', 'generate'" } else { ", 'codegen'" };
        let sql =
            format!("insert into public.agent_messages ({column}{names}) values ({value}{values})");
        checked.refuses(&sql, named, &sql, &[]).await;
    }
}

#[tokio::test]
async fn a_payload_that_is_too_large_is_refused_with_its_size_and_the_limit() {
    let on = Fixture::new().await;
    on.run("insert into public.bus_routes (service, role, max_payload) values ('small', 'stage', 2000)").await;
    on.publish(json!([
        message(&json!({})),
        message(&json!({ "service": "small", "role": "stage" }))
    ]))
    .await;
    let checked = Checked::on(&on).await;
    let sql = "select * from public.bus_publish($1)";
    for (service, role, size, limit) in [
        ("codegen", "generate", 1_048_576, "and codegen/generate takes 1048576"),
        ("small", "stage", 2000, "and small/stage takes 2000"),
        ("small", "new", 1_048_576, "and small/new takes 1048576"),
    ] {
        let of =
            |size: usize| json!({ "service": service, "role": role, "payload": "x".repeat(size) });
        checked.refuses(service, limit, sql, &[&of(size)]).await;
        checked
            .refuses(
                service,
                "payload is too large",
                sql,
                &[&json!([message(&json!({})), of(size)])],
            )
            .await;
        let insert =
            "insert into public.agent_messages (service, role, payload) values ($1, $2, $3)";
        checked.refuses(service, limit, insert, &[&service, &role, &json!("x".repeat(size))]).await;
        on.run("begin").await;
        publish(&on.sql, &of(size - 100)).await.unwrap();
        on.run("rollback").await;
    }
}

#[tokio::test]
async fn a_wrong_argument_of_a_claim_or_a_pause_for_sleep_is_named() {
    let on = Fixture::new().await;
    on.send(json!({})).await;
    let checked = Checked::on(&on).await;
    for (what, named) in [
        ("bus_claim('w', array['codegen/generate/0'], 0)", "p_limit must be"),
        ("bus_claim('w', array['codegen/generate/0'], -1)", "p_limit must be"),
        ("bus_claim('w', array['codegen/generate/0'], 100000)", "p_limit must be"),
        ("bus_claim('w', array['codegen/generate/0'], null)", "p_limit must be"),
        ("bus_claim(null, array['codegen/generate/0'])", "p_worker must be"),
        ("bus_claim('', array['codegen/generate/0'])", "p_worker must be"),
        ("bus_claim(repeat('w', 256), array['codegen/generate/0'])", "p_worker must be"),
        ("bus_claim(E'a\\nb', array['codegen/generate/0'])", "p_worker must be"),
        ("bus_claim('w', array['codegen/generate'])", "`codegen/generate` is not a route"),
        ("bus_claim('w', array['codegen/generate/'])", "is not a route"),
        ("bus_claim('w', array['codegen/generate/-1'])", "is not a route"),
        ("bus_claim('w', array['codegen/generate/0/'])", "is not a route"),
        ("bus_claim('w', array['codegen/generate/0/a/b'])", "is not a route"),
        ("bus_claim('w', array['*/*/*'])", "is not a route"),
        ("bus_claim('w', array[''])", "is not a route"),
        ("bus_claim('w', array[null::text])", "is not a route"),
        ("bus_claim('w', array['codegen/generate/0', 'x'])", "`x` is not a route"),
        ("bus_park('w', 'bell', array['codegen/generate/0'], 0)", "p_ms must be"),
        ("bus_park('w', 'bell', array['codegen/generate/0'], -5)", "p_ms must be"),
        ("bus_park('w', 'bell', array['codegen/generate/0'], null)", "p_ms must be"),
        ("bus_park('w', 'bell', array['codegen'], 1000)", "is not a route"),
        ("bus_park(null, 'bell', array['codegen/generate/0'], 1000)", "worker"),
        ("bus_park('w', null, array['codegen/generate/0'], 1000)", "channel"),
        ("bus_ring('w', array['codegen'])", "is not a route"),
        ("bus_pause('Codegen', 'generate')", "service"),
        ("bus_pause('codegen', null)", "role"),
        ("bus_sweep(null)", "worker"),
        ("bus_retain(null)", "worker"),
    ] {
        checked.refuses(what, named, &format!("select * from public.{what}"), &[]).await;
    }
}

#[tokio::test]
async fn a_wrong_outcome_is_named_and_nothing_of_its_batch_is_settled() {
    let on = Fixture::new().await;
    on.publish(json!(vec![message(&json!({})); 2])).await;
    let claims = on.claim(&["codegen/generate/0"], 2).await;
    let checked = Checked::on(&on).await;
    let good = settling(&claims[0], "done", &json!({}));
    let bad = |more: Value| settling(&claims[1], "done", &more);
    let sql = "select * from public.bus_settle('w1', $1)";
    for (outcome, named) in [
        (json!("done"), "an outcome must be an object"),
        (json!(null), "an outcome must be an object"),
        (json!({}), "needs the id"),
        (json!({ "id": 1, "outcome": "done" }), "needs the lease"),
        (bad(json!({ "id": "x" })), "id must be"),
        (bad(json!({ "id": -1 })), "id must be"),
        (bad(json!({ "id": 1.5 })), "id must be"),
        (bad(json!({ "lease": "x" })), "lease of message"),
        (bad(json!({ "lease": 7 })), "lease of message"),
        (bad(json!({ "outcome": "finished" })), "must be done, retry, fail, release or cancel"),
        (bad(json!({ "outcome": null })), "must be done, retry, fail, release or cancel"),
        (bad(json!({ "outcome": "Done" })), "must be done, retry, fail, release or cancel"),
        (bad(json!({ "outcome": "retry", "retry_in_ms": -1 })), "retry_in_ms"),
        (bad(json!({ "outcome": "retry", "retry_in_ms": "soon" })), "retry_in_ms"),
        (bad(json!({ "outcome": "retry", "retry_in_ms": 0.5 })), "retry_in_ms"),
        (
            bad(json!({ "outcome": "retry", "retry_in_ms": 9_000_000_000_000_000_000_u64 })),
            "retry_in_ms",
        ),
        (bad(json!({ "retry_at": "2030-01-01" })), "unknown field"),
        (bad(json!({ "publish": 7 })), "publish of message"),
        (bad(json!({ "events": true })), "events of message"),
    ] {
        checked.refuses(&outcome.to_string(), named, sql, &[&json!([good, outcome])]).await;
        checked.refuses(&outcome.to_string(), named, sql, &[&json!([outcome, good])]).await;
    }
    checked.refuses("an object", "p_outcomes must be", sql, &[&good]).await;
    checked
        .refuses("null", "p_outcomes must be", "select * from public.bus_settle('w1', null)", &[])
        .await;
    on.is_whole().await;
}

#[tokio::test]
async fn a_wrong_event_heartbeat_or_setting_is_named() {
    let on = Fixture::new().await;
    let checked = Checked::on(&on).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (event, named) in [
        (json!({ "event_type": "Bad", "trace_id": trace }), "event_type"),
        (json!({ "event_type": "", "trace_id": trace }), "event_type"),
        (json!({ "trace_id": trace }), "event_type"),
        (json!({ "event_type": "x" }), "trace_id"),
        (json!({ "event_type": "x", "trace_id": "abc" }), "trace_id"),
        (json!({ "event_type": "x", "trace_id": "0".repeat(32) }), "trace_id"),
        (json!({ "event_type": "x", "trace_id": trace, "message_id": 0 }), "message_id"),
        (json!({ "event_type": "x", "trace_id": trace, "shard": -1 }), "shard"),
        (json!({ "event_type": "x", "trace_id": trace, "service": "A b" }), "service"),
        (json!({ "event_type": "x", "trace_id": trace, "tenant": "a b" }), "tenant"),
        (json!({ "event_type": "x", "trace_id": trace, "what": 1 }), "unknown field `what`"),
        (json!([[]]), "an event must be an object"),
        (json!([7]), "an event must be an object"),
        (json!("x"), "p_events must be"),
        (json!(null), "p_events must be"),
    ] {
        checked.refuses(&event.to_string(), named, "select public.bus_emit($1)", &[&event]).await;
    }
    for (beat, named) in [
        (json!({ "agent_name": "a" }), "id"),
        (json!({ "id": "", "agent_name": "a" }), "id"),
        (json!({ "id": "w" }), "agent_name"),
        (json!({ "id": "w", "agent_name": "a", "state": "asleep" }), "state"),
        (
            json!({ "id": "w", "agent_name": "a", "drain_requested": true }),
            "unknown field `drain_requested`",
        ),
        (
            json!({ "id": "w", "agent_name": "a", "seen_at": "2030-01-01" }),
            "unknown field `seen_at`",
        ),
    ] {
        checked.refuses(&beat.to_string(), named, "select public.bus_beat($1)", &[&beat]).await;
    }
    for (column, value) in [
        ("lease", "'0.5 s'"),
        ("lease", "'2 days'"),
        ("max_attempts", "0"),
        ("max_attempts", "1001"),
        ("backoff_base", "'-1 s'"),
        ("backoff_cap", "'1 s'"),
        ("ttl", "'0 s'"),
        ("max_in_flight", "0"),
        ("max_in_flight_per_tenant", "-1"),
        ("rate", "0"),
        ("rate_per_tenant", "-1"),
        ("max_payload", "1000"),
        ("max_payload", "1000000000"),
        ("open_to", "array['service_role']"),
        ("paused", "null"),
        ("service", "'Bad'"),
    ] {
        let sql = if column == "service" {
            format!("insert into public.bus_routes (service, role) values ({value}, 'stage')")
        } else {
            format!(
                "insert into public.bus_routes (service, role, {column}) values ('a', 'b', {value})"
            )
        };
        let named = match column {
            "max_in_flight_per_tenant" => "max_in_flight",
            "rate_per_tenant" => "rate",
            "backoff_base" | "backoff_cap" => "backoff",
            column => column,
        };
        checked.refuses(&sql, named, &sql, &[]).await;
    }
}

async fn the_crate_passes_on_what_is_wrong_in_the_words_of_the_database(way: Way) {
    let on = Fixture::over(way).await;
    let of = || NewMessage::of(&Probe { text: "x".into() }).unwrap();
    let large = NewMessage::of(&Probe { text: "x".repeat(2_000_000) }).unwrap();
    for (message, named) in [
        (of().max_attempts(0), "max_attempts must be"),
        (of().idempotency_key(""), "idempotency_key must be"),
        (of().idempotency_key("k".repeat(300)), "idempotency_key must be"),
        (of().ordering_key("a\nb"), "ordering_key must be"),
        (of().ttl(std::time::Duration::ZERO), "must be"),
        (large, "payload is too large"),
    ] {
        let error = on.bus.publish(message).await.unwrap_err();
        assert!(error.to_string().contains(named), "{error:?}");
        assert_eq!(error.disposition(), db::Disposition::GiveUp);
    }
    let gone = 4711.try_into().unwrap();
    assert_eq!(on.bus.cancel(gone, "x").await.unwrap_err().to_string(), "there is no message 4711");
    assert_eq!(on.bus.replay(gone).await.unwrap_err().to_string(), "there is no message 4711");
    assert_eq!(on.number("select count(*) from cogo.agent_messages").await, 0);
}

/// Made here, so that no file holds what looks like one.
fn tokens() -> Vec<(&'static str, String)> {
    let letters = |count: usize| "aB3".chars().cycle().take(count).collect::<String>();
    let hex = |count: usize| "0f3".chars().cycle().take(count).collect::<String>();
    let jwt = format!("eyJ{0}.eyJ{0}.{0}", letters(30));
    vec![
        ("a GitHub token", format!("ghp_{}", letters(36))),
        ("a GitHub token", format!("gho_{}", letters(36))),
        ("a GitHub token", format!("github_pat_{}", letters(60))),
        ("a GitLab token", format!("glpat-{}", letters(20))),
        ("a Slack token", format!("xoxb-{}", letters(40))),
        ("an AWS access key", format!("AKIA{}", "A7".repeat(8))),
        ("a Google API key", format!("AIza{}", letters(35))),
        ("a private key", format!("-----BEGIN RSA {} KEY-----\nMII", "PRIVATE")),
        ("a signed token (JWT)", jwt),
        ("an API key of a model", format!("sk-ant-{}", letters(80))),
        ("an API key of a model", format!("sk-{}", letters(48))),
        ("a Vault token", format!("hvs.{}", letters(24))),
        ("a Docker Hub token", format!("dckr_pat_{}", letters(27))),
        ("an npm token", format!("npm_{}", letters(36))),
        ("a Supabase key", format!("sb_secret_{}", letters(31))),
        ("a Supabase key", format!("sbp_{}", hex(40))),
        ("a Stripe key", format!("sk_live_{}", letters(24))),
    ]
}

#[tokio::test]
async fn a_payload_that_holds_a_token_is_refused_and_the_token_is_not_repeated() {
    let on = Fixture::new().await;
    on.send(json!({})).await;
    let checked = Checked::on(&on).await;
    for (kind, token) in tokens() {
        let says = format!("holds what looks like {kind}");
        for payload in [
            json!({ "token": token }),
            json!({ "env": [{ "deep": format!("export TOKEN={token} && run") }] }),
        ] {
            let many = json!([message(&json!({})), message(&json!({ "payload": payload }))]);
            let error = on.sql.query("select public.bus_publish($1)", &[&many]).await.unwrap_err();
            assert!(!format!("{error:?}").contains(&token), "{kind} is repeated: {error:?}");
            checked.refuses(kind, &says, "select public.bus_publish($1)", &[&many]).await;
            let plain = "insert into public.agent_messages (service, role, payload) values ('codegen', 'generate', $1)";
            checked.refuses(kind, &says, plain, &[&payload]).await;
        }
    }
}

#[tokio::test]
async fn what_only_resembles_a_token_passes_and_a_stage_may_allow_the_rest() {
    let on = Fixture::new().await;
    for text in [
        "task-0123456789abcdef0123456789abcdef0123456789",
        "see sk-, ghp_, eyJ, AKIA and hvs. for what tokens begin with",
        "vault:secret/ghcr#token",
        "k8s:cogo/ghcr-pull#ghp_token",
        "ghp_short",
        "AKIATHISISALLONEWORDANDNOTAKEY",
        "eyJub3QuYQ.token",
    ] {
        on.publish(json!([message(&json!({ "payload": { "text": text } }))])).await;
    }
    on.run("insert into public.bus_routes (service, role, allow_secrets) values ('codegen', 'generate', true)")
        .await;
    for (_, token) in tokens() {
        on.publish(json!([message(&json!({ "payload": { "text": token } }))])).await;
    }
}
