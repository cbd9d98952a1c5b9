-- What `cogo explain`, `cogo top` and `cogo doctor` ask beyond the reads that were there: why a thing stands where it
-- stands, how it goes everywhere right now, and what is not as it should be. Everything here only reads, and no answer grows
-- with what piles up.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- One thing, and why it stands where it stands -----------------------------------------------------------------------

create function cogo.seconds(p_interval interval) returns float8
language sql immutable set search_path = '' as $$
    select extract(epoch from p_interval)::float8
$$;
comment on function cogo.seconds(interval) is 'An interval in seconds.';

create function cogo.relatives(p_ids bigint[]) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(jsonb_build_object('id', message.id, 'route', concat_ws('/', message.service, message.role, message.shard,
        message.tenant), 'status', message.status) order by message.id), '[]')
    from public.agent_messages as message where message.id = any (p_ids)
$$;
comment on function cogo.relatives(bigint[]) is 'What these messages are and where they stand, in short.';

create function cogo.serving(p_service text, p_role text, p_shard int, p_tenant text) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(to_jsonb(told)), '[]') from (
        select worker.id, worker.agent_name, worker.state, worker.drain_requested, worker.slots, worker.busy, worker.service is null as several,
            greatest(0, cogo.seconds(clock_timestamp() - worker.seen_at)) as silent_s
        from public.workers as worker
        where worker.state <> 'gone'
            and (worker.service is null or (worker.service = p_service and worker.role is not distinct from p_role))
            and (worker.shards is null or p_shard = any (worker.shards)) and (worker.tenant is null or worker.tenant = p_tenant)
        order by worker.service is null, worker.state <> 'ready', worker.seen_at desc limit 20) as told
$$;
comment on function cogo.serving(text, text, int, text) is 'The living workers that say they serve a route, those that serve several stages last: which, they do not say.';

-- Null: there is no such message.
create function public.bus_explain(p_id bigint) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
    -- What is listed, and what is counted.
    c_listed constant int := 100;
    c_counted constant int := 10000;
    v_message record;
    v_settings public.bus_routes;
    v_receipt cogo.receipts;
    v_lease cogo.leases;
    v_ordered cogo.ordered;
    v_lane int;
    v_place text;
    v_due timestamptz;
    v_parents bigint[];
    v_facts jsonb;
begin
    select message.id, message.service, message.role, message.shard, message.tenant, message.priority, message.trace_id, message.parent_id,
        message.ordering_key into v_message
    from cogo.agent_messages as message where message.id = p_id;
    if not found then
        return null;
    end if;
    select settings.* into v_settings from public.bus_routes as settings
    where settings.service = v_message.service and settings.role = v_message.role;
    select lane.id into v_lane from cogo.lanes as lane
    where lane.service = v_message.service and lane.role = v_message.role and lane.shard = v_message.shard
        and lane.tenant = v_message.tenant and lane.priority = v_message.priority;
    select receipt.* into v_receipt from cogo.receipts as receipt where receipt.id = p_id;
    select lease.* into v_lease from cogo.leases as lease where lease.id = p_id;
    select later.due_at into v_due from cogo.later where later.id = p_id;
    v_place := case when v_receipt.id is not null then 'ended' when v_lease.id is not null then 'claimed' when v_due is not null then 'later'
        when exists (select from cogo.ready where ready.lane_id = v_lane and ready.id = p_id) then 'ready' else 'behind' end;

    v_facts := jsonb_build_object('read_at', clock_timestamp(), 'place', v_place, 'due_at', v_due,
        'settings', jsonb_build_object('lease_s', cogo.seconds(coalesce(v_settings.lease, '30 s')),
            'max_attempts', coalesce(v_settings.max_attempts, 3), 'backoff_base_s', cogo.seconds(coalesce(v_settings.backoff_base, '5 s')),
            'backoff_cap_s', cogo.seconds(coalesce(v_settings.backoff_cap, '60 s')), 'ttl_s', cogo.seconds(v_settings.ttl),
            'max_in_flight', v_settings.max_in_flight, 'max_in_flight_per_tenant', v_settings.max_in_flight_per_tenant,
            'rate', v_settings.rate, 'rate_per_tenant', v_settings.rate_per_tenant, 'paused', coalesce(v_settings.paused, false)),
        -- Of the newest events only: no index knows them by their stage.
        'paused_since', case when v_settings.paused then (
            select max(event.created_at) from (select * from public.bus_events order by id desc limit 2 * c_counted) as event
            where event.event_type = 'route_paused' and event.service = v_message.service and event.role = v_message.role) end,
        'receipt', case when v_receipt.id is not null then to_jsonb(v_receipt) - 'id' end,
        'lease', case when v_lease.id is not null then jsonb_build_object('worker', v_lease.worker, 'claimed_at', v_lease.claimed_at,
            'lease_until', v_lease.lease_until, 'left_s', cogo.seconds(v_lease.lease_until - clock_timestamp()),
            'cancel_requested', coalesce(v_lease.cancel_requested, false)) end,
        'holder', (select jsonb_build_object('id', worker.id, 'agent_name', worker.agent_name, 'state', worker.state,
                'drain_requested', worker.drain_requested, 'slots', worker.slots, 'busy', worker.busy, 'several', worker.service is null,
                'silent_s', greatest(0, cogo.seconds(clock_timestamp() - worker.seen_at)))
            from public.workers as worker where worker.id = coalesce(v_lease.worker, v_receipt.worker)),
        'letter', (select jsonb_build_object('reason', letter.reason, 'died_at', letter.created_at, 'replayed_as', letter.replayed_as)
            from public.agent_messages_dlq as letter where letter.orig_id = p_id),
        'keeper_silent_s', (select case when isfinite(keeper.kept_at) then cogo.seconds(clock_timestamp() - keeper.kept_at) end from cogo.keeper));

    with recursive above(id, up) as (
        select message.id, 1 from cogo.agent_messages as message where message.id = v_message.parent_id
        union all
        select parent.id, above.up + 1 from above
        join cogo.agent_messages as child on child.id = above.id
        join cogo.agent_messages as parent on parent.id = child.parent_id
        where above.up < 20
    )
    select array_agg(above.id) into v_parents from above;
    v_facts := v_facts || jsonb_build_object(
        'parents', cogo.relatives(v_parents),
        'follow_ups', cogo.relatives(array(select message.id from cogo.agent_messages as message
            where message.trace_id = v_message.trace_id and message.parent_id = p_id order by message.id limit c_listed)),
        'replays', cogo.relatives(array(select message.id from cogo.agent_messages as message
            where message.trace_id = v_message.trace_id and message.replay_of = p_id order by message.id limit c_listed)),
        'events', (select coalesce(jsonb_agg(to_jsonb(event) order by event.id), '[]') from (
            select one.id, one.created_at, one.event_type, one.reason, one.agent_id, one.payload from public.bus_events as one
            where one.trace_id = v_message.trace_id and one.message_id = p_id order by one.id desc limit c_listed) as event));

    if v_place in ('ready', 'later', 'behind') then
        v_facts := v_facts || jsonb_build_object('workers', cogo.serving(v_message.service, v_message.role, v_message.shard, v_message.tenant));
    end if;
    if v_place = 'ready' then
        v_facts := v_facts || jsonb_build_object(
            'ahead', (select count(*) from (select from cogo.ready where ready.lane_id = v_lane and ready.id < p_id limit c_counted) as few),
            'in_flight', (select count(*) from cogo.leases as lease join cogo.lanes as lane on lane.id = lease.lane_id
                where lane.service = v_message.service and lane.role = v_message.role),
            'in_flight_tenant', (select count(*) from cogo.leases as lease join cogo.lanes as lane on lane.id = lease.lane_id
                where lane.service = v_message.service and lane.role = v_message.role and lane.tenant = v_message.tenant),
            'tokens', case when v_settings.rate is not null then coalesce((
                select least(greatest(v_settings.rate, 1), meter.tokens + v_settings.rate * cogo.seconds(clock_timestamp() - meter.filled_at))
                from cogo.meters as meter where meter.service = v_message.service and meter.role = v_message.role and meter.tenant = ''),
                greatest(v_settings.rate, 1)) end,
            'tokens_tenant', case when v_settings.rate_per_tenant is not null then coalesce((
                select least(greatest(v_settings.rate_per_tenant, 1),
                    meter.tokens + v_settings.rate_per_tenant * cogo.seconds(clock_timestamp() - meter.filled_at))
                from cogo.meters as meter
                where meter.service = v_message.service and meter.role = v_message.role and meter.tenant = v_message.tenant),
                greatest(v_settings.rate_per_tenant, 1)) end);
    elsif v_place = 'behind' then
        select ordered.* into v_ordered from cogo.ordered
        where ordered.stream = cogo.stream_of(v_message.service, v_message.role, v_message.shard, v_message.tenant, v_message.ordering_key)
            and ordered.id = p_id;
        v_facts := v_facts || jsonb_build_object('due_at', v_ordered.due_at,
            'first', cogo.relatives(array(select ordered.id from cogo.ordered where ordered.stream = v_ordered.stream and ordered.placed)) -> 0,
            'ahead', (select count(*) from (select from cogo.ordered
                where ordered.stream = v_ordered.stream and ordered.id < p_id limit c_counted) as few));
    end if;
    return v_facts;
end
$$;
comment on function public.bus_explain(bigint) is
    'All that tells why a message stands where it stands: its route''s settings, lease, receipt, dead letter, relatives, events, and what it waits for. Null: there is none.';

create function public.bus_event(p_id bigint) returns setof cogo.event_row
language sql stable security definer set search_path = '' as $$
    select event.id, event.created_at, event.event_type, event.message_id, event.trace_id, event.service, event.role, event.shard, event.tenant,
        event.project_id, event.agent_id, event.reason, event.payload, null::bigint, null::bigint, null::text[]
    from public.bus_events as event where event.id = p_id
$$;
comment on function public.bus_event(bigint) is 'One event.';

create function public.bus_held(p_worker text, p_limit bigint) returns setof cogo.message_state
language plpgsql stable security definer set search_path = '' as $$
begin
    return query select * from cogo.states(array(
        select lease.id from cogo.leases as lease where lease.worker = p_worker order by lease.claimed_at, lease.id limit p_limit));
end
$$;
comment on function public.bus_held(text, bigint) is 'The messages that a worker holds.';

create function public.registry_explain(p_release uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_release public.image_tag_history;
    v_agent public.agent_catalog;
begin
    select * into v_release from public.image_tag_history as release where release.id = p_release;
    if not found then
        return null;
    end if;
    select * into v_agent from public.agent_catalog as agent where agent.id = v_release.agent_id;
    return jsonb_build_object(
        'read_at', clock_timestamp(), 'forced', v_release.forced, 'extended', v_release.extended, 'deadline_at', v_release.deadline_at,
        'holder', v_agent.held_by, 'held', coalesce(v_agent.held_until > clock_timestamp(), false),
        'quarantine', (
            select jsonb_build_object('since', bad.created_at, 'failure_code', bad.failure_code, 'by_release', bad.release_id, 'by_tag', by.tag)
            from cogo.quarantined_images as bad join public.image_tag_history as by on by.id = bad.release_id
            where bad.agent_id = v_agent.id and bad.digest = v_release.digest),
        'others', (
            select coalesce(jsonb_agg(jsonb_build_object('id', other.id, 'tag', other.tag, 'phase', other.phase) order by other.seq desc), '[]')
            from public.image_tag_history as other
            where other.agent_id = v_agent.id and other.id <> p_release and other.phase in
                ('recorded', 'queued', 'canary_deploying', 'canary_verifying', 'deploying', 'verifying', 'failed', 'rolling_back')),
        'newer', (
            select jsonb_build_object('id', newer.id, 'tag', newer.tag, 'phase', newer.phase) from public.image_tag_history as newer
            where newer.agent_id = v_agent.id and newer.seq > v_release.seq and (newer.wanted or newer.phase = 'active') order by newer.seq limit 1),
        'workers', (
            select coalesce(jsonb_agg(jsonb_build_object('id', worker.id, 'state', worker.state,
                'silent_s', greatest(0, cogo.seconds(clock_timestamp() - worker.seen_at))) order by worker.started_at), '[]')
            from (select * from public.workers as one where one.release_id = p_release::text and one.state <> 'gone'
                order by one.started_at limit 100) as worker),
        'pull_secrets', (
            select coalesce(jsonb_agg(jsonb_build_object('secret', link.kube_namespace || '/' || link.secret_name,
                'failure_code', link.failure_code, 'failure_detail', link.failure_detail) order by link.secret_name), '[]')
            from public.k8s_pull_secret_links as link
            where link.registry_account_id = v_agent.registry_account_id and link.kube_namespace = v_agent.kube_namespace
                and link.failure_code is not null));
end
$$;
comment on function public.registry_explain(uuid) is
    'What a release''s own row does not tell: who is at it, whether its image is quarantined, what else is under way, and its workers. Null: there is none.';

create function public.registry_list_pull_secrets() returns jsonb
language sql stable security definer set search_path = '' as $$
    select coalesce(jsonb_agg(to_jsonb(told)), '[]') from (
    select account.registry_url || '/' || account.namespace as account, link.kube_namespace, link.secret_name,
        link.managed_by = 'controller' as controller, link.failure_code, link.failure_detail
    from public.k8s_pull_secret_links as link join public.registry_accounts as account on account.id = link.registry_account_id
    order by link.kube_namespace, link.secret_name) as told
$$;
comment on function public.registry_list_pull_secrets() is 'Which pull secret belongs to which account, and which of them could not be written.';

-- Everything at once, again and again -----------------------------------------------------------------------------------

create function public.bus_activity(p_window_ms bigint) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
    -- Where more stands than this, a number says `at least`: the cost must not grow with what piles up.
    c_counted constant int := 10000;
    c_routes constant int := 1000;
    v_now timestamptz := clock_timestamp();
    v_since timestamptz := v_now - p_window_ms * interval '1 ms';
    v_published_s float8;
    v_ended_s float8;
    v_answer jsonb;
begin
    with fresh as materialized (
        select message.created_at, message.service, message.role, message.shard from cogo.agent_messages as message
        order by message.id desc limit c_counted
    ),
    over as materialized (
        select receipt.id, receipt.status, receipt.done_at from cogo.receipts as receipt order by receipt.id desc limit c_counted
    ),
    -- On a busy bus so many are not as much as the window: then the rate is of the time that they span.
    spans as (
        select case when count(*) < c_counted then v_since else greatest(v_since, min(fresh.created_at)) end as published_since,
            (select case when count(*) < c_counted then v_since else greatest(v_since, min(over.done_at)) end from over) as ended_since
        from fresh
    ),
    published as (
        select fresh.service, fresh.role, fresh.shard, count(*) as count from fresh, spans
        where fresh.created_at >= spans.published_since group by 1, 2, 3
    ),
    ended as (
        select message.service, message.role, message.shard, count(*) filter (where over.status = 'done') as done,
            count(*) filter (where over.status = 'failed') as failed
        from over cross join spans join cogo.agent_messages as message on message.id = over.id
        where over.done_at >= spans.ended_since group by 1, 2, 3
    ),
    claimed as (select lease.lane_id, count(*) as count from cogo.leases as lease group by lease.lane_id),
    behind as (
        select few.lane_id, count(*) as count
        from (select ordered.lane_id from cogo.ordered where not ordered.placed limit c_counted) as few group by few.lane_id
    ),
    letters as (
        select letter.service, letter.role, letter.shard, count(*) as count
        from (select * from public.agent_messages_dlq order by id desc limit c_counted) as letter
        where letter.replayed_as is null group by 1, 2, 3
    ),
    standing as (
        select lane.service, lane.role, lane.shard, sum(ready.count)::bigint as ready, sum(later.count)::bigint as later,
            coalesce(sum(behind.count), 0)::bigint as behind, coalesce(sum(claimed.count), 0)::bigint as claimed,
            min(greatest(oldest.created_at, oldest.retry_at)) as ready_since,
            bool_or(ready.count = c_counted or later.count = c_counted) as at_least
        from cogo.lanes as lane
        cross join lateral (
            select count(*) as count, min(few.id) as oldest
            from (select ready.id from cogo.ready where ready.lane_id = lane.id order by ready.id limit c_counted) as few) as ready
        cross join lateral (
            select count(*) as count from (select from cogo.later where later.lane_id = lane.id limit c_counted) as few) as later
        left join behind on behind.lane_id = lane.id
        left join claimed on claimed.lane_id = lane.id
        left join cogo.agent_messages as oldest on oldest.id = ready.oldest
        group by 1, 2, 3
    ),
    routes as (
        select standing.service, standing.role, standing.shard, coalesce(settings.paused, false) as paused, standing.ready, standing.later,
            standing.behind, standing.claimed, standing.at_least,
            case when standing.ready_since is not null then greatest(0, cogo.seconds(v_now - standing.ready_since)) end as oldest_s,
            coalesce(published.count, 0) as published, coalesce(ended.done, 0) as done, coalesce(ended.failed, 0) as failed,
            coalesce(letters.count, 0) as letters
        from standing
        left join published using (service, role, shard)
        left join ended using (service, role, shard)
        left join letters using (service, role, shard)
        left join public.bus_routes as settings on settings.service = standing.service and settings.role = standing.role
        order by 1, 2, 3 limit c_routes
    )
    select jsonb_build_object('read_at', v_now,
        'published_s', greatest(0.001, cogo.seconds(v_now - (select published_since from spans))),
        'ended_s', greatest(0.001, cogo.seconds(v_now - (select ended_since from spans))),
        'routes', coalesce((select jsonb_agg(to_jsonb(routes)) from routes), '[]'))
    into v_answer;
    return v_answer;
end
$$;
comment on function public.bus_activity(bigint) is
    'What stands on every route now, and what was published and ended there within the window, with the seconds that this was counted over. Numbers are bounded; `at_least` says where.';

create function public.bus_standing(p_service text, p_role text, p_shard int, p_limit bigint) returns setof cogo.message_state
language plpgsql stable security definer set search_path = '' as $$
begin
    return query
    with lanes as (
        select lane.id, lane.tenant from cogo.lanes as lane where lane.service = p_service and lane.role = p_role and lane.shard = p_shard
    ),
    found(id) as (
        (select lease.id from cogo.leases as lease where lease.lane_id in (select lanes.id from lanes) order by lease.claimed_at limit p_limit)
        union all
        (select ready.id from lanes cross join lateral (
            select one.id from cogo.ready as one where one.lane_id = lanes.id order by one.id limit p_limit) as ready order by 1 limit p_limit)
        union all
        (select later.id from lanes cross join lateral (
            select one.id, one.due_at from cogo.later as one where one.lane_id = lanes.id order by one.due_at limit p_limit) as later
            order by later.due_at limit p_limit)
        union all
        (select ordered.id from cogo.ordered where not ordered.placed and ordered.lane_id in (select lanes.id from lanes) limit p_limit)
        union all
        (select letter.orig_id from (select * from public.agent_messages_dlq order by id desc limit 10000) as letter
            where letter.service = p_service and letter.role = p_role and letter.shard = p_shard and letter.replayed_as is null
            order by letter.id desc limit p_limit)
    )
    select state.* from cogo.states(array(select found.id from found)) as state
    order by array_position(array['claimed', 'queued', 'failed'], state.status), state.retry_at nulls first, state.id;
end
$$;
comment on function public.bus_standing(text, text, int, bigint) is
    'Messages of a route that have not come to a good end: claimed, ready, later, behind another of their key, and dead letters nobody replayed; of each kind so many.';

-- What is not as it should be ------------------------------------------------------------------------------------------

create or replace function public.bus_unprotected_tables() returns table (name text)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    with ours as (
        select relation.oid, relation.relrowsecurity and relation.relforcerowsecurity as protected
        from pg_catalog.pg_class as relation
        join pg_catalog.pg_namespace as namespace on namespace.oid = relation.relnamespace
        where relation.relkind in ('r', 'p')
            and (namespace.nspname in ('cogo', 'cogo_dashboard') or (namespace.nspname = 'public' and relation.relname in
                ('agent_catalog', 'agent_messages_dlq', 'bus_events', 'bus_routes', 'circuits', 'execution_policies', 'executions',
                    'image_tag_history', 'intents', 'k8s_pull_secret_links', 'registry_accounts', 'workers')))
    )
    select ours.oid::regclass::text from ours where not ours.protected
    union
    -- A partition can be read by itself, past the policies of its table.
    select part.oid::regclass::text from ours
    join pg_catalog.pg_inherits as link on link.inhparent = ours.oid
    join pg_catalog.pg_class as part on part.oid = link.inhrelid
    where not (part.relrowsecurity and part.relforcerowsecurity)
    order by 1;
end
$$;

create or replace function public.bus_unsafe_functions() returns table (name text, why text)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select function.oid::regprocedure::text,
        case when has_function_privilege('public', function.oid, 'execute') then 'anybody may execute it'
            when path.setting is null then 'its search_path is not fixed'
            else 'its search_path is not empty' end
    from pg_catalog.pg_proc as function
    join pg_catalog.pg_namespace as namespace on namespace.oid = function.pronamespace
    left join lateral (
        select setting from unnest(function.proconfig) as setting where starts_with(setting, 'search_path=')) as path on true
    where function.prosecdef
        and (namespace.nspname in ('cogo', 'cogo_dashboard')
            or (namespace.nspname = 'public' and function.proname ~ '^(bus|circuit|execution|gate|intent|pull_secret|pull_secrets|registry|rollout)_'))
        and (path.setting is distinct from 'search_path=""'
            or (has_function_privilege('public', function.oid, 'execute')
                and function.oid::regprocedure::text <> 'cogo.is_open(text,text,name)'))
    order by 1;
end
$$;

create function public.bus_loose_roles() returns table (name text, why text)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select role.rolname::text, case when role.rolsuper then 'it is a superuser' when role.rolbypassrls then 'it passes by row security'
        else 'it may do what workers do' end
    from pg_catalog.pg_roles as role
    where role.rolname in ('anon', 'authenticated')
        and (role.rolsuper or role.rolbypassrls or exists (
            select from pg_catalog.pg_roles as worker
            where worker.rolname in ('service_role', 'cogo_worker') and pg_has_role(role.oid, worker.oid, 'member')))
    order by 1;
end
$$;
comment on function public.bus_loose_roles() is 'Roles of clients that may do more than clients do.';

create function public.bus_disk() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_folder text;
begin
    begin
        v_folder := current_setting('data_directory');
    exception when insufficient_privilege then
        -- On a platform that is nobody's business but its own.
        v_folder := null;
    end;
    return jsonb_build_object('database_bytes', pg_database_size(current_database()), 'data_folder', v_folder,
        'biggest', (select jsonb_agg(jsonb_build_object('name', big.name, 'bytes', big.bytes) order by big.bytes desc) from (
            select coalesce(whole.relid, relation.oid)::regclass::text as name, sum(pg_total_relation_size(relation.oid))::bigint as bytes
            from pg_catalog.pg_class as relation
            join pg_catalog.pg_namespace as namespace on namespace.oid = relation.relnamespace
            left join lateral (select pg_partition_root(relation.oid) as relid) as whole on relation.relispartition
            where relation.relkind = 'r' and namespace.nspname in ('public', 'cogo', 'cogo_dashboard')
            group by 1 order by 2 desc limit 3) as big),
        -- Log that is kept for who does not come for it fills the disk without anybody's writing more.
        'slots', (select coalesce(jsonb_agg(jsonb_build_object('name', slot.slot_name, 'active', slot.active,
                'kept_bytes', pg_wal_lsn_diff(pg_current_wal_lsn(), slot.restart_lsn)::bigint)), '[]')
            from pg_catalog.pg_replication_slots as slot where slot.restart_lsn is not null));
end
$$;
comment on function public.bus_disk() is 'What the database takes on disk, where that is if we may know, and who makes the server keep log.';

select cogo.protect_functions(cogo.functions_named('cogo', array['leave', 'seconds', 'relatives', 'serving']));
select cogo.protect_functions(cogo.functions_named('public', array['bus_explain', 'bus_event', 'bus_held', 'registry_explain', 'registry_list_pull_secrets', 'bus_activity',
    'bus_standing', 'bus_loose_roles', 'bus_disk']), 'service_role, cogo_worker');
