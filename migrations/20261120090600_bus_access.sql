-- Who may do what. Row level security is on and forced everywhere: whoever a policy does not name sees nothing.
-- Workers (cogo_worker, service_role) go through the functions; clients insert and read, each in its own tenant and
-- only on routes that an operator has opened to them.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

create function cogo.is_open(p_service text, p_role text, p_client name) returns boolean
language sql stable security definer set search_path = '' as $$
    select exists (
        select from public.bus_routes as settings
        where settings.service = p_service and settings.role = p_role and p_client = any (settings.open_to))
$$;
comment on function cogo.is_open(text, text, name) is 'Whether an operator has opened a stage to a client role.';

select cogo.protect_tables(array(
    select relation.oid::regclass
    from pg_catalog.pg_class as relation join pg_catalog.pg_namespace as namespace on namespace.oid = relation.relnamespace
    where relation.relkind = 'r' and (namespace.nspname = 'cogo' or (namespace.nspname = 'public'
        and relation.relname in ('agent_messages_dlq', 'bus_events', 'bus_routes', 'workers')))));

revoke all on public.agent_messages from public, anon, authenticated, service_role, cogo_worker;
grant usage on schema public to anon, authenticated, service_role, cogo_worker;

-- Workers and servers.
grant select, insert on public.agent_messages, cogo.agent_messages to service_role, cogo_worker;
grant insert on public.bus_events to service_role, cogo_worker;
grant insert, update, delete on public.bus_routes to service_role;

-- Clients. What a producer may say, and nothing that the bus says of itself.
grant select on public.agent_messages, public.agent_messages_dlq, public.bus_events to authenticated;
grant select on cogo.agent_messages, cogo.leases, cogo.later, cogo.receipts to authenticated;
grant insert (service, role, shard, tenant, project_id, trace_id, parent_id, idempotency_key, ordering_key, priority, payload, traceparent,
    max_attempts, retry_at, expires_at) on public.agent_messages, cogo.agent_messages to authenticated, anon;
grant insert (event_type, message_id, trace_id, service, role, shard, tenant, project_id, agent_id, reason, payload)
    on public.bus_events to authenticated;
grant execute on function cogo.caller_tenant() to public;
-- The default of a column is worked out with the rights of whoever inserts.
grant execute on function cogo.new_trace_id() to public;
grant execute on function cogo.is_open(text, text, name) to public;

create policy clients_read_their_tenant on cogo.agent_messages for select to authenticated
    using (tenant = (select cogo.caller_tenant()) and cogo.is_open(service, role, current_user));
create policy clients_publish_for_their_tenant on cogo.agent_messages for insert to authenticated
    with check (tenant = (select cogo.caller_tenant()) and cogo.is_open(service, role, current_user));
-- Without a token there is no tenant to belong to: only the default one.
create policy anyone_publishes_where_opened on cogo.agent_messages for insert to anon
    with check (tenant = 'default' and cogo.is_open(service, role, current_user));
create policy as_their_message on cogo.leases for select to authenticated
    using (exists (select from cogo.agent_messages as message where message.id = leases.id));
create policy as_their_message on cogo.later for select to authenticated
    using (exists (select from cogo.agent_messages as message where message.id = later.id));
create policy as_their_message on cogo.receipts for select to authenticated
    using (exists (select from cogo.agent_messages as message where message.id = receipts.id));
create policy clients_read_their_tenant on public.agent_messages_dlq for select to authenticated
    using (tenant = (select cogo.caller_tenant()) and cogo.is_open(service, role, current_user));
create policy clients_read_their_tenant on public.bus_events for select to authenticated
    using (tenant = (select cogo.caller_tenant()) and cogo.is_open(service, role, current_user));
create policy clients_report_for_their_tenant on public.bus_events for insert to authenticated
    with check (tenant = (select cogo.caller_tenant()) and cogo.is_open(service, role, current_user));

-- Functions: nobody by default.
select cogo.protect_functions(array(
    select function.oid::regprocedure
    from pg_catalog.pg_proc as function join pg_catalog.pg_namespace as namespace on namespace.oid = function.pronamespace
    where namespace.nspname = 'cogo' and function.proname not in ('caller_tenant', 'is_open', 'new_trace_id')));
select cogo.protect_functions(cogo.functions_named('public', array[
    'bus_publish', 'bus_claim', 'bus_claim_or_park', 'bus_park', 'bus_unpark', 'bus_ring', 'bus_renew', 'bus_beat',
    'bus_emit', 'bus_settle', 'bus_done', 'bus_cancel', 'bus_cancel_trace', 'bus_replay', 'bus_sweep', 'bus_retain',
    'bus_pause', 'bus_drain']), 'service_role, cogo_worker');
