use std::collections::BTreeSet;

use crate::fixture::Fixture;

#[tokio::test]
async fn every_statement_of_the_crate_prepares() {
    testkit::database().await.prepares(&bus::statements()).await;
}

#[test]
fn all_but_what_needs_a_connection_can_be_called_over_rest() {
    let needs_one: Vec<&str> = bus::statements()
        .into_iter()
        .filter(|statement| !statement.is_call())
        .map(|statement| statement.name)
        .collect();
    assert_eq!(needs_one, ["bus.notify", "bus.insert_one", "bus.insert", "bus.park"]);
}

#[test]
fn no_statement_is_forgotten_in_the_list_of_all() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    testkit::all_are_listed(&bus::statements(), "bus.", sources);
}

#[tokio::test]
async fn every_function_with_its_owners_rights_is_closed_and_looks_nowhere_by_itself() {
    let on = Fixture::new().await;
    let sql = "select function.oid::regprocedure::text,
            coalesce((select setting from unnest(function.proconfig) as setting where setting like 'search_path=%'), 'none'),
            array(select role from unnest(array['public', 'anon', 'authenticated', 'service_role', 'cogo_worker']) as role
                where has_function_privilege(role, function.oid, 'execute'))
        from pg_proc as function join pg_namespace as namespace on namespace.oid = function.pronamespace
        where namespace.nspname in ('public', 'cogo') and function.prosecdef order by 1";
    let rows = on.rows(sql, &[]).await;
    assert!(rows.len() > 15, "they were not found");
    for row in rows {
        let (name, path, may): (&str, &str, Vec<String>) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(path, "search_path=\"\"", "{name}");
        let allowed: &[&str] = if name == "cogo.is_open(text,text,name)" {
            // It answers the policies of clients, with no more than yes or no.
            &["public", "anon", "authenticated", "service_role", "cogo_worker"]
        } else if FOR_CLIENTS.contains(&name) {
            &["authenticated", "service_role", "cogo_worker"]
        } else if ["bus_", "execution_", "intent_", "registry_", "rollout_", "pull_secret"]
            .iter()
            .any(|of| name.starts_with(of))
        {
            &["service_role", "cogo_worker"]
        } else {
            &[]
        };
        assert_eq!(may, allowed, "{name}");
    }
}

#[tokio::test]
async fn no_function_of_ours_is_open_to_clients_but_those_their_policies_need() {
    let on = Fixture::new().await;
    let sql = "select function.oid::regprocedure::text from pg_proc as function
        join pg_namespace as namespace on namespace.oid = function.pronamespace,
            unnest(array['anon', 'authenticated', 'public']) as role
        where namespace.nspname in ('public', 'cogo') and has_function_privilege(role, function.oid, 'execute')
        group by function.oid order by 1";
    let rows = on.rows(sql, &[]).await;
    let open: BTreeSet<&str> = rows.iter().map(|row| row.get(0)).collect();
    let needed = ["cogo.caller_tenant()", "cogo.is_open(text,text,name)", "cogo.new_trace_id()"];
    let expected: BTreeSet<&str> = needed.iter().chain(FOR_CLIENTS).copied().collect();
    assert_eq!(open, expected);
}

#[tokio::test]
async fn what_clients_may_call_is_closed_to_those_who_are_not_signed_in() {
    let on = Fixture::new().await;
    for function in FOR_CLIENTS {
        let sql = "select has_function_privilege('anon', $1::text::regprocedure, 'execute')";
        assert!(!on.row(sql, &[function]).await.get::<_, bool>(0), "{function}");
    }
}

/// What they read with one call, each as far as it may; the first answers a policy.
const FOR_CLIENTS: &[&str] = &[
    "cogo.may_listen(text)",
    "bus_watch(text,bigint)",
    "bus_caller()",
    "bus_dead_letters(jsonb)",
    "bus_overview()",
    "bus_retry(bigint)",
    "bus_trace(text)",
    "bus_trace_at_rest(text)",
    "bus_trace_events(text,bigint,integer)",
    "bus_workers()",
];

#[tokio::test]
async fn every_table_has_forced_row_level_security_and_a_policy() {
    let on = Fixture::new().await;
    let sql = "select relation.oid::regclass::text,
            relation.relrowsecurity and relation.relforcerowsecurity
                and exists (select from pg_policy as policy where policy.polrelid = relation.oid)
        from pg_class as relation join pg_namespace as namespace on namespace.oid = relation.relnamespace
        where namespace.nspname in ('public', 'cogo') and relation.relkind in ('r', 'p')";
    let rows = on.rows(sql, &[]).await;
    assert!(rows.len() >= 14, "they were not found");
    for row in rows {
        assert!(row.get::<_, bool>(1), "{}", row.get::<_, &str>(0));
    }
}

#[tokio::test]
async fn every_view_reads_with_its_callers_rights() {
    let on = Fixture::new().await;
    let sql =
        "select relation.oid::regclass::text, relation.reloptions::text from pg_class as relation
        join pg_namespace as namespace on namespace.oid = relation.relnamespace
        where namespace.nspname in ('public', 'cogo') and relation.relkind in ('v', 'm')";
    for row in on.rows(sql, &[]).await {
        let options: Option<&str> = row.get(1);
        assert_eq!(options, Some("{security_invoker=true}"), "{}", row.get::<_, &str>(0));
    }
}

#[tokio::test]
async fn every_table_view_column_function_and_type_is_explained() {
    let on = Fixture::new().await;
    let sql = "select relation.oid::regclass::text from pg_class as relation
        join pg_namespace as namespace on namespace.oid = relation.relnamespace
        where namespace.nspname in ('public', 'cogo') and relation.relkind in ('r', 'p', 'v', 'm')
            and obj_description(relation.oid, 'pg_class') is null
        union all
        select relation.oid::regclass || '.' || attribute.attname from pg_class as relation
        join pg_namespace as namespace on namespace.oid = relation.relnamespace
        join pg_attribute as attribute on attribute.attrelid = relation.oid
        where namespace.nspname in ('public', 'cogo') and relation.relkind in ('r', 'p', 'v', 'm')
            and attribute.attnum > 0 and not attribute.attisdropped
            and col_description(relation.oid, attribute.attnum) is null
        union all
        select function.oid::regprocedure::text from pg_proc as function
        join pg_namespace as namespace on namespace.oid = function.pronamespace
        where namespace.nspname in ('public', 'cogo') and obj_description(function.oid, 'pg_proc') is null
        union all
        select type.oid::regtype::text from pg_type as type
        join pg_namespace as namespace on namespace.oid = type.typnamespace
        join pg_class as relation on relation.oid = type.typrelid and relation.relkind = 'c'
        where namespace.nspname in ('public', 'cogo') and obj_description(type.oid, 'pg_type') is null
        order by 1";
    let rows = on.rows(sql, &[]).await;
    let unexplained: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}
