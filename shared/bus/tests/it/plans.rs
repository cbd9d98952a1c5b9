//! The statements that run for each message find their rows by the index meant for them, in tables
//! of 100,000 rows.

use crate::fixture::Fixture;

async fn filled() -> Fixture {
    let on = Fixture::new().await;
    on.run(
        "insert into public.agent_messages (service, role, tenant, priority)
        select 'codegen', 'generate', 't' || n % 10, 0 from generate_series(1, 100000) as n;
        insert into public.agent_messages (service, role, tenant, retry_at)
        select 'codegen', 'generate', 't' || n % 10, now() + n * interval '1 s' from generate_series(1, 20000) as n;
        insert into cogo.receipts (id, status, attempts, done_at)
        select id, 'done', 1, now() from cogo.ready order by id limit 50000;
        delete from cogo.ready where id in (select id from cogo.receipts);
        insert into cogo.leases (id, lane_id, lease, worker, claimed_at, lease_until)
        select id, lane_id, gen_random_uuid(), 'w1', now(), now() + interval '30 s' from cogo.ready order by id limit 10000;
        delete from cogo.ready where id in (select id from cogo.leases);
        analyze",
    )
    .await;
    on.is_whole().await;
    on
}

/// The nodes of a plan that read a table, as `Index Scan using x on y`.
async fn scans(on: &Fixture, sql: &str) -> Vec<String> {
    on.run("set plan_cache_mode = force_generic_plan").await;
    let rows = on.rows(&format!("explain (costs off) {sql}"), &[]).await;
    let lines: Vec<String> = rows.iter().map(|row| row.get::<_, String>(0)).collect();
    let reads = lines
        .iter()
        .filter(|line| line.contains("Scan"))
        .map(|line| line.trim_start_matches([' ', '-', '>']).to_owned());
    reads.collect()
}

async fn uses(on: &Fixture, sql: &str, indexes: &[&str]) {
    let scans = scans(on, sql).await;
    assert!(!scans.iter().any(|scan| scan.starts_with("Seq Scan")), "{sql}\n{scans:#?}");
    for index in indexes {
        assert!(
            scans.iter().any(|scan| scan.contains(index)),
            "{sql}\nwithout {index}: {scans:#?}"
        );
    }
}

#[tokio::test]
async fn the_statements_of_every_message_use_the_indexes_meant_for_them() {
    let on = filled().await;
    // Of cogo.take.
    uses(
        &on,
        "select candidate.place
        from unnest(array[1, 2, 3], array[0, 0, 7]::bigint[]) with ordinality as lane(id, after, turn)
        cross join lateral (
            select ready.ctid as place from cogo.ready
            where ready.lane_id = lane.id and ready.id > lane.after
                and (ready.expires_at is null or ready.expires_at > now())
            order by ready.id limit 10
            for update skip locked
        ) as candidate
        limit 100",
        &["ready_pkey"],
    )
    .await;
    let by_place = scans(&on, "delete from cogo.ready where ready.ctid = any (array(select ctid from cogo.ready limit 1))").await;
    assert!(by_place.iter().any(|scan| scan.starts_with("Tid Scan")), "{by_place:?}");
    // Of bus_claim: which lanes have something.
    uses(
        &on,
        "select lane.id from unnest(array[1, 2, 3]) as lane(id)
        where exists (select from cogo.ready where ready.lane_id = lane.id and ready.id > 5)",
        &["ready_pkey"],
    )
    .await;
    // Of cogo.promote_due.
    uses(&on, "select from cogo.later where later.due_at <= now()", &["later_due"]).await;
    uses(
        &on,
        "select waiting.id from cogo.later as waiting where waiting.due_at <= now()
        order by waiting.due_at limit 1000 for update skip locked",
        &["later_due"],
    )
    .await;
    // Of bus_park.
    uses(
        &on,
        "select later.due_at from cogo.later where later.lane_id = 3 order by later.due_at limit 1",
        &["later_lane_due"],
    )
    .await;
    // Of bus_sweep.
    uses(
        &on,
        "select ready.id, ready.lane_id, ready.stream from cogo.ready where ready.expires_at <= now()
        order by ready.expires_at limit 1000 for update skip locked",
        &["ready_expires"],
    )
    .await;
    uses(&on, "select waiting.id from cogo.later as waiting where waiting.expires_at <= now() order by waiting.expires_at limit 1000", &[
        "later_expires",
    ])
    .await;
    uses(
        &on,
        "select count(*) from cogo.leases where leases.limited and leases.lane_id = 3",
        &["leases_limited"],
    )
    .await;
    // Of settling: one message by its number.
    uses(
        &on,
        "delete from cogo.leases using unnest(array[1, 2]::bigint[], array[gen_random_uuid(), gen_random_uuid()]) as given(id, lease)
        where leases.id = given.id and leases.lease = given.lease returning leases.id",
        &["leases_pkey"],
    )
    .await;
    // Of retention.
    uses(
        &on,
        "select receipt.id, receipt.done_at from cogo.receipts as receipt where receipt.id > 7 order by receipt.id limit 1000",
        &["receipts_pkey"],
    )
    .await;
    uses(
        &on,
        "select cogo.agent_messages.id from cogo.agent_messages where trace_id = repeat('a', 32)",
        &["agent_messages_trace"],
    )
    .await;
}

#[tokio::test]
async fn one_message_of_the_view_is_found_by_its_number_in_every_place() {
    let on = filled().await;
    uses(
        &on,
        "select * from public.agent_messages where id = 7",
        &["agent_messages_pkey", "receipts_pkey", "leases_pkey"],
    )
    .await;
    uses(
        &on,
        "select status from public.agent_messages where id = any (array[1, 2, 3])",
        &["agent_messages_pkey"],
    )
    .await;
    uses(
        &on,
        "select status, attempts from public.agent_messages where trace_id = repeat('a', 32)",
        &["agent_messages_trace"],
    )
    .await;
}

#[tokio::test]
async fn the_statements_tested_here_are_those_of_the_functions() {
    let on = Fixture::new().await;
    for (function, part) in [
        (
            "cogo.take(text, uuid, interval, boolean, int[], bigint[], int, int)",
            "where ready.lane_id = lane.id and ready.id > lane.after and (ready.expires_at is null or ready.expires_at > now()) order by ready.id limit p_quota",
        ),
        (
            "cogo.promote_due(int)",
            "waiting.due_at <= now() order by waiting.due_at limit p_limit for update skip locked",
        ),
        (
            "public.bus_sweep(text, int)",
            "ready.expires_at <= now() order by ready.expires_at limit p_limit for update skip locked",
        ),
        (
            "public.bus_park(text, text, text[], int)",
            "later.lane_id = lane.id order by later.due_at limit 1",
        ),
    ] {
        let sql = "select regexp_replace(regexp_replace(prosrc, '--[^\n]*', '', 'g'), '\\s+', ' ', 'g') from pg_proc where oid = $1::text::regprocedure";
        let source: String = on.row(sql, &[&function]).await.get(0);
        assert!(source.contains(part), "{function} has changed; test its new statement here");
    }
}
