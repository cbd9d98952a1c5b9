-- What workers and operators ask. Each question is one function, so that it has one answer over a connection and over REST;
-- deciding what to make of it is theirs. Limits are the caller's, and everything here only reads.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

create type cogo.message_state as (
    id bigint, service text, role text, shard int, tenant text, status text, attempts int, max_attempts int, priority smallint,
    trace_id text, traceparent text, parent_id bigint, replay_of bigint, project_id uuid, idempotency_key text, ordering_key text,
    created_at timestamptz, retry_at timestamptz, expires_at timestamptz, claimed_by text, claimed_at timestamptz,
    lease_until timestamptz, done_at timestamptz, error text, last_error_at timestamptz, result_snippet text, result_url text,
    cancel_requested boolean, payload jsonb, read_at timestamptz, oldest_running bigint, next_transaction bigint);
comment on type cogo.message_state is 'A message as public.agent_messages shows it, its payload only where one is asked for, and what its snapshot was.';

create type cogo.event_row as (
    id bigint, created_at timestamptz, event_type text, message_id bigint, trace_id text, service text, role text, shard int,
    tenant text, project_id uuid, agent_id text, reason text, payload jsonb, oldest_running bigint, next_transaction bigint,
    writing text[]);
comment on type cogo.event_row is 'A row of public.bus_events, and what its snapshot was.';

create function cogo.states(p_ids bigint[], p_with_payload boolean default false) returns setof cogo.message_state
language plpgsql stable set search_path = '' as $$
begin
    return query
    select message.id, message.service, message.role, message.shard, message.tenant, message.status, message.attempts, message.max_attempts,
        message.priority, message.trace_id, message.traceparent, message.parent_id, message.replay_of, message.project_id,
        message.idempotency_key, message.ordering_key, message.created_at, message.retry_at, message.expires_at, message.claimed_by,
        message.claimed_at, message.lease_until, message.done_at, message.error, message.last_error_at, message.result_snippet,
        message.result_url, message.cancel_requested,
        case when p_with_payload then message.payload end, clock_timestamp(), null::bigint, null::bigint
    from public.agent_messages as message where message.id = any (p_ids) order by message.id;
end
$$;
comment on function cogo.states(bigint[], boolean) is 'Where these messages stand, in the order of their numbers.';

create function public.bus_message(p_id bigint) returns setof cogo.message_state
language plpgsql stable security definer set search_path = '' as $$
begin
    return query select * from cogo.states(array[p_id], true);
end
$$;
comment on function public.bus_message(bigint) is 'Where one message stands, with its payload.';

create function public.bus_states(p_ids bigint[]) returns setof cogo.message_state
language plpgsql stable security definer set search_path = '' as $$
begin
    return query select * from cogo.states(p_ids);
end
$$;
comment on function public.bus_states(bigint[]) is 'Where these messages stand, in the order of their numbers.';

create function public.bus_trace_messages(p_trace_id text, p_limit bigint, p_tenant text default null) returns setof cogo.message_state
language plpgsql stable security definer set search_path = '' as $$
begin
    return query select * from cogo.states(array(
        select message.id from cogo.agent_messages as message
        where message.trace_id = p_trace_id and (p_tenant is null or message.tenant = p_tenant)
        order by message.id limit p_limit));
end
$$;
comment on function public.bus_trace_messages(text, bigint, text) is 'The messages of a trace, or one tenant''s part of them, without payloads; parents come before their children.';

create function public.bus_trace_history(p_trace_id text, p_limit bigint, p_tenant text default null) returns setof cogo.event_row
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select event.id, event.created_at, event.event_type, event.message_id, event.trace_id, event.service, event.role, event.shard, event.tenant,
        event.project_id, event.agent_id, event.reason, event.payload, null::bigint, null::bigint, null::text[]
    from public.bus_events as event
    where event.trace_id = p_trace_id and (p_tenant is null or event.tenant = p_tenant)
    order by event.created_at, event.id limit p_limit;
end
$$;
comment on function public.bus_trace_history(text, bigint, text) is 'The events of a trace, or one tenant''s part of them, as they happened.';

create function public.bus_events_since(p_after bigint, p_skipped bigint[], p_limit bigint) returns setof cogo.event_row
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    with fresh as (
        select * from public.bus_events where id > p_after or id = any (p_skipped) order by id limit p_limit
    )
    select event.id, event.created_at, event.event_type, event.message_id, event.trace_id, event.service, event.role, event.shard, event.tenant,
        event.project_id, event.agent_id, event.reason, event.payload,
        pg_catalog.pg_snapshot_xmin(running.transactions)::text::bigint, pg_catalog.pg_snapshot_xmax(running.transactions)::text::bigint, null::text[]
    from pg_catalog.pg_current_snapshot() as running(transactions) left join fresh as event on true
    order by event.id;
end
$$;
comment on function public.bus_events_since(bigint, bigint[], bigint) is 'The events behind a number, and those below it that were not visible before, with the transactions that are still running; one row without an event when there is none.';

create function public.bus_messages_since(p_after bigint, p_skipped bigint[], p_limit bigint) returns setof cogo.message_state
language plpgsql stable security definer set search_path = '' as $$
begin
    return query
    select told.*
    from pg_catalog.pg_current_snapshot() as running(transactions)
    left join cogo.states(array(
        select message.id from cogo.agent_messages as message
        where message.id > p_after or message.id = any (p_skipped) order by message.id limit p_limit)) as state on true
    cross join lateral jsonb_populate_record(state, jsonb_build_object(
        'oldest_running', pg_catalog.pg_snapshot_xmin(running.transactions)::text,
        'next_transaction', pg_catalog.pg_snapshot_xmax(running.transactions)::text)) as told
    order by told.id;
end
$$;
comment on function public.bus_messages_since(bigint, bigint[], bigint) is 'The same as bus_events_since, of messages.';

create function public.bus_newest_event() returns bigint
language sql stable security definer set search_path = '' as $$
    select coalesce(max(id), 0) from public.bus_events
$$;
comment on function public.bus_newest_event() is 'The highest number of an event that is visible.';

create function public.bus_newest_message() returns bigint
language sql stable security definer set search_path = '' as $$
    select coalesce(max(id), 0) from cogo.agent_messages
$$;
comment on function public.bus_newest_message() is 'The highest number of a message that is visible.';

create function cogo.writing_events() returns text[]
language sql volatile security definer set search_path = '' as $$
    select array(select locked.virtualtransaction from pg_catalog.pg_locks as locked
        where locked.locktype = 'relation' and locked.relation = 'public.bus_events'::regclass
            and locked.database = (select oid from pg_catalog.pg_database where datname = current_database())
            and locked.mode = 'RowExclusiveLock' and locked.granted)
$$;
comment on function cogo.writing_events() is 'Whose transactions may still write events. Asked in one statement with the events, whose snapshot is then the older of the two.';

create function public.bus_events_anchor(out newest bigint, out writing text[])
language sql volatile security definer set search_path = '' as $$
    select coalesce((select max(id) from public.bus_events), 0), cogo.writing_events()
$$;
comment on function public.bus_events_anchor() is 'The highest number of an event that is visible, and who may still write below it.';

create function public.bus_events_in_order(p_after bigint, p_limit bigint, p_look boolean) returns setof cogo.event_row
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    with fresh as (select * from public.bus_events where id > p_after order by id limit p_limit)
    select event.id, event.created_at, event.event_type, event.message_id, event.trace_id, event.service, event.role, event.shard, event.tenant,
        event.project_id, event.agent_id, event.reason, event.payload, null::bigint, null::bigint, looked.writing
    from (select case when p_look then cogo.writing_events() end as writing) as looked left join fresh as event on true
    order by event.id;
end
$$;
comment on function public.bus_events_in_order(bigint, bigint, boolean) is 'The events behind a number and, if asked for, who may still write among them; one row without an event when there is none.';

create function public.bus_events_between(p_after bigint, p_upto bigint, p_limit bigint, p_tenant text default null, p_trace_id text default null) returns setof cogo.event_row
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    -- Apart, so that each has the index that suits it.
    if p_trace_id is null then
        return query
        select event.id, event.created_at, event.event_type, event.message_id, event.trace_id, event.service, event.role, event.shard, event.tenant,
            event.project_id, event.agent_id, event.reason, event.payload, null::bigint, null::bigint, null::text[]
        from public.bus_events as event
        where event.id > p_after and event.id <= p_upto and (p_tenant is null or event.tenant = p_tenant)
        order by event.id limit p_limit;
    else
        return query
        select event.id, event.created_at, event.event_type, event.message_id, event.trace_id, event.service, event.role, event.shard, event.tenant,
            event.project_id, event.agent_id, event.reason, event.payload, null::bigint, null::bigint, null::text[]
        from public.bus_events as event
        where event.trace_id = p_trace_id and event.id > p_after and event.id <= p_upto and (p_tenant is null or event.tenant = p_tenant)
        order by event.id limit p_limit;
    end if;
end
$$;
comment on function public.bus_events_between(bigint, bigint, bigint, text, text) is 'Events after one number and up to another: all, one tenant''s, or those of one trace.';

create function public.bus_traces_over(p_traces text[], p_tenants text[]) returns table (trace_id text, tenant text, last_event bigint)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select asked.trace_id, nullif(asked.tenant, ''),
        coalesce((select max(event.id) from public.bus_events as event
            where event.trace_id = asked.trace_id
                and (asked.tenant = '' or event.tenant = asked.tenant)), 0)
    from unnest(p_traces, p_tenants) as asked(trace_id, tenant)
    where not exists (
        select from public.agent_messages as message
        where message.trace_id = asked.trace_id
            and (asked.tenant = '' or message.tenant = asked.tenant)
            and message.status in ('queued', 'claimed'));
end
$$;
comment on function public.bus_traces_over(text[], text[]) is 'Those of the traces in which every message is final, each with the number of its last event. An empty tenant: all of the trace.';

create function public.bus_trace_known(p_trace_id text, p_tenant text default null) returns boolean
language sql stable security definer set search_path = '' as $$
    select exists (select from public.agent_messages as message
            where message.trace_id = p_trace_id and (p_tenant is null or message.tenant = p_tenant))
        or exists (select from public.bus_events as event
            where event.trace_id = p_trace_id and (p_tenant is null or event.tenant = p_tenant))
$$;
comment on function public.bus_trace_known(text, text) is 'Whether there is a message or an event of a trace.';

create function public.bus_is_open(p_service text, p_role text, p_client text) returns boolean
language sql stable security definer set search_path = '' as $$
    select cogo.is_open(p_service, p_role, p_client::name)
$$;
comment on function public.bus_is_open(text, text, text) is 'Whether an operator has opened a stage to a client role.';

create function public.bus_peek(p_service text, p_role text, p_shard int, p_tenant text, p_limit bigint) returns setof cogo.message_state
language plpgsql stable security definer set search_path = '' as $$
begin
    return query
    select state.* from cogo.states(array(
        select ready.id
        from cogo.lanes as lane
        cross join lateral (
            select waiting.id from cogo.ready as waiting
            where waiting.lane_id = lane.id and (waiting.expires_at is null or waiting.expires_at > now())
            order by waiting.id limit p_limit
        ) as ready
        where lane.service = p_service and lane.role = p_role and (p_shard is null or lane.shard = p_shard)
            and (p_tenant is null or lane.tenant = p_tenant)
        order by lane.priority desc, ready.id limit p_limit), true) as state
    order by state.priority desc, state.id;
end
$$;
comment on function public.bus_peek(text, text, int, text, bigint) is 'The messages that would be claimed next on a stage, by priority and age, with their payloads.';

create function public.bus_depth(p_recent bigint) returns table (
    service text, role text, shard int, tenant text, paused boolean, ready bigint, delayed bigint, waiting bigint, claimed bigint,
    oldest_ready_s float8, done_last_hour bigint, failed_last_hour bigint, last_hour_is_partial boolean)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    with ready as (
        select lane_id, count(*) as count, min(id) as oldest from cogo.ready group by lane_id
    ),
    delayed as (select lane_id, count(*) as count from cogo.later group by lane_id),
    waiting as (select lane_id, count(*) as count from cogo.ordered where not placed group by lane_id),
    claimed as (select lane_id, count(*) as count from cogo.leases group by lane_id),
    recent as materialized (
        select id, status, done_at from cogo.receipts order by id desc limit p_recent
    ),
    ended as (
        select message.service, message.role, message.shard, message.tenant,
            count(*) filter (where recent.status = 'done') as done,
            count(*) filter (where recent.status = 'failed') as failed
        from recent join cogo.agent_messages as message on message.id = recent.id
        where recent.done_at > now() - interval '1 hour'
        group by 1, 2, 3, 4
    ),
    standing as (
        select lane.service, lane.role, lane.shard, lane.tenant,
            coalesce(sum(ready.count), 0)::bigint as ready,
            coalesce(sum(delayed.count), 0)::bigint as delayed,
            coalesce(sum(waiting.count), 0)::bigint as waiting,
            coalesce(sum(claimed.count), 0)::bigint as claimed,
            min(greatest(oldest.created_at, oldest.retry_at)) as ready_since
        from cogo.lanes as lane
        left join ready on ready.lane_id = lane.id
        left join delayed on delayed.lane_id = lane.id
        left join waiting on waiting.lane_id = lane.id
        left join claimed on claimed.lane_id = lane.id
        left join cogo.agent_messages as oldest on oldest.id = ready.oldest
        group by 1, 2, 3, 4
    )
    select standing.service, standing.role, standing.shard, standing.tenant,
        coalesce(settings.paused, false),
        standing.ready, standing.delayed, standing.waiting, standing.claimed,
        -- greatest() would make a zero of nothing.
        case when standing.ready_since is not null then
            greatest(0, extract(epoch from clock_timestamp() - standing.ready_since))::float8 end,
        coalesce(ended.done, 0), coalesce(ended.failed, 0),
        -- Fewer than asked for means that these were all.
        (select count(*) = p_recent and min(done_at) > now() - interval '1 hour' from recent)
    from standing
    left join ended using (service, role, shard, tenant)
    left join public.bus_routes as settings
        on settings.service = standing.service and settings.role = standing.role
    order by 1, 2, 3, 4;
end
$$;
comment on function public.bus_depth(bigint) is 'How much stands where, by route and tenant. The last hour is counted from the p_recent newest receipts.';

create function public.bus_letters(p_service text, p_role text, p_reason text, p_tenant text, p_open_only boolean, p_limit bigint) returns table (
    orig_id bigint, service text, role text, shard int, tenant text, trace_id text, attempts int, reason text, error text,
    created_at timestamptz, replayed_as bigint, payload jsonb)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select letter.orig_id, letter.service, letter.role, letter.shard, letter.tenant, letter.trace_id, letter.attempts, letter.reason, letter.error,
        letter.created_at, letter.replayed_as, null::jsonb
    from public.agent_messages_dlq as letter
    where (p_service is null or letter.service = p_service) and (p_role is null or letter.role = p_role)
        and (p_reason is null or letter.reason = p_reason) and (p_tenant is null or letter.tenant = p_tenant)
        and (not p_open_only or letter.replayed_as is null)
    order by letter.id desc limit p_limit;
end
$$;
comment on function public.bus_letters(text, text, text, text, boolean, bigint) is 'Dead letters, the latest first, without payloads. What is null does not matter.';

create function public.bus_letter(p_id bigint) returns table (
    orig_id bigint, service text, role text, shard int, tenant text, trace_id text, attempts int, reason text, error text,
    created_at timestamptz, replayed_as bigint, payload jsonb)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select letter.orig_id, letter.service, letter.role, letter.shard, letter.tenant, letter.trace_id, letter.attempts, letter.reason, letter.error,
        letter.created_at, letter.replayed_as, letter.payload
    from public.agent_messages_dlq as letter where letter.orig_id = p_id;
end
$$;
comment on function public.bus_letter(bigint) is 'The dead letter of a message, with its payload.';

create function public.bus_fleet() returns table (
    id text, agent_name text, service text, role text, shards int[], tenant text, host text, version text, image text, digest text,
    release_id text, state text, drain_requested boolean, slots int, busy int, started_at timestamptz, seen_at timestamptz, silent_s float8)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select worker.id, worker.agent_name, worker.service, worker.role, worker.shards, worker.tenant, worker.host, worker.version,
        worker.image, worker.digest, worker.release_id, worker.state, worker.drain_requested, worker.slots, worker.busy,
        worker.started_at, worker.seen_at, greatest(0, extract(epoch from clock_timestamp() - worker.seen_at))::float8
    from public.workers as worker order by worker.state = 'gone', worker.agent_name, worker.started_at, worker.id;
end
$$;
comment on function public.bus_fleet() is 'Every worker that is known, the living first.';

create function public.bus_server() returns table (version_number int, version text, login text, clock timestamptz, is_standby boolean, autovacuum boolean)
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select current_setting('server_version_num')::int, current_setting('server_version'), session_user::text, clock_timestamp(),
        pg_is_in_recovery(), current_setting('autovacuum')::boolean;
end
$$;
comment on function public.bus_server() is 'What the server is, for `cogo doctor`.';

create function public.bus_missing_roles() returns table (name text)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select wanted.name from unnest(array['anon', 'authenticated', 'service_role', 'cogo_worker'])
        as wanted(name)
    where not exists (select from pg_catalog.pg_roles where rolname = wanted.name);
end
$$;
comment on function public.bus_missing_roles() is 'Roles that the policies name and the server lacks.';

create function public.bus_unprotected_tables() returns table (name text)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select namespace.nspname || '.' || relation.relname
    from pg_catalog.pg_class as relation
    join pg_catalog.pg_namespace as namespace on namespace.oid = relation.relnamespace
    where relation.relkind in ('r', 'p')
        and (namespace.nspname = 'cogo' or (namespace.nspname = 'public' and relation.relname in
            ('agent_messages', 'agent_messages_dlq', 'bus_events', 'bus_routes', 'intents', 'workers')))
        and not (relation.relrowsecurity and relation.relforcerowsecurity)
    order by 1;
end
$$;
comment on function public.bus_unprotected_tables() is 'Tables of ours without forced row level security. A view has no policies of its own; ours reads with its caller''s rights.';

create function public.bus_unsafe_functions() returns table (name text, why text)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select function.oid::regprocedure::text,
        case when has_function_privilege('public', function.oid, 'execute')
            then 'anybody may execute it' else 'its search_path is not fixed' end
    from pg_catalog.pg_proc as function
    join pg_catalog.pg_namespace as namespace on namespace.oid = function.pronamespace
    where function.prosecdef
        and (namespace.nspname = 'cogo'
            or (namespace.nspname = 'public' and function.proname ~ '^(bus|intent)_'))
        and (not exists (select from unnest(function.proconfig) as setting
                where starts_with(setting, 'search_path='))
            or (has_function_privilege('public', function.oid, 'execute')
                and function.oid::regprocedure::text <> 'cogo.is_open(text,text,name)'))
    order by 1;
end
$$;
comment on function public.bus_unsafe_functions() is 'Functions that run with their owner''s rights and could be misused. cogo.is_open answers the policies of clients, who therefore may call it.';

create function public.bus_keeper() returns table (worker text, silent_s float8)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select worker, case when isfinite(kept_at)
        then greatest(0, extract(epoch from clock_timestamp() - kept_at))::float8 end
    from cogo.keeper;
end
$$;
comment on function public.bus_keeper() is 'Who leads the keeping, and for how long it has been silent.';

create function public.bus_dead_sleepers() returns table (worker text)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select distinct worker from cogo.parked where until < clock_timestamp() order by 1;
end
$$;
comment on function public.bus_dead_sleepers() is 'Workers noted as asleep beyond the time at which they wake up by themselves: they must have died.';

create function public.bus_snapshot_holders(p_longer_ms bigint) returns table (who text, held_for_s float8)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select who, held_for from (
        select format('process %s (%s), %s', pid, coalesce(nullif(application_name, ''), 'unnamed'),
                coalesce(state, 'hidden from this user')) as who,
            extract(epoch from clock_timestamp() - xact_start)::float8 as held_for
        from pg_catalog.pg_stat_activity
        where pid <> pg_backend_pid() and backend_type = 'client backend'
            and (backend_xmin is not null or backend_xid is not null)
            and xact_start < clock_timestamp() - p_longer_ms * interval '1 ms'
        union all
        select format('prepared transaction `%s`', gid),
            extract(epoch from clock_timestamp() - prepared)::float8
        from pg_catalog.pg_prepared_xacts
        where prepared < clock_timestamp() - p_longer_ms * interval '1 ms'
        union all
        select format('replication slot `%s`, which nobody reads', slot_name), null
        from pg_catalog.pg_replication_slots
        where not active and (xmin is not null or catalog_xmin is not null)
    ) as holding
    order by held_for desc nulls last limit 5;
end
$$;
comment on function public.bus_snapshot_holders(bigint) is 'Who has held a snapshot for longer than this, which keeps dead rows from being removed.';

create function public.bus_schema() returns text
language plpgsql stable security definer set search_path = '' as $$
begin
    if to_regclass('supabase_migrations.schema_migrations') is null then
        return null;
    end if;
    return (select max(version) from supabase_migrations.schema_migrations);
end
$$;
comment on function public.bus_schema() is 'The newest migration that is applied; null where nobody recorded them.';

create function public.intent_known(p_name text) returns table (target text, payload_schema jsonb, default_assignment jsonb, enabled boolean, updated_at timestamptz)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select intent.target, intent.payload_schema, intent.default_assignment, intent.enabled, intent.updated_at
    from public.intents as intent where intent.name = p_name;
end
$$;
comment on function public.intent_known(text) is 'What an intent of this name is to become.';

create function public.intent_names() returns table (name text)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select intent.name from public.intents as intent where intent.enabled order by intent.name limit 1000;
end
$$;
comment on function public.intent_names() is 'The intents that are enabled.';

select cogo.protect_functions(cogo.functions_named('cogo', array['states', 'writing_events']));
select cogo.protect_functions(cogo.functions_named('public', array[
    'bus_dead_sleepers', 'bus_depth', 'bus_events_anchor', 'bus_events_between', 'bus_events_in_order',
    'bus_events_since', 'bus_fleet', 'bus_is_open', 'bus_keeper', 'bus_letter', 'bus_letters', 'bus_message',
    'bus_messages_since', 'bus_missing_roles', 'bus_newest_event', 'bus_newest_message', 'bus_peek', 'bus_schema',
    'bus_server', 'bus_snapshot_holders', 'bus_states', 'bus_trace_history', 'bus_trace_known', 'bus_trace_messages',
    'bus_traces_over', 'bus_unprotected_tables', 'bus_unsafe_functions', 'intent_known', 'intent_names']), 'service_role, cogo_worker');
