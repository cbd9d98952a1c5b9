-- What clients read through one call each: a trace and its events, dead letters, workers, routes. Row level security
-- decides what a caller sees, wherever it can: those functions run with their caller's rights, and name nothing of the
-- schema cogo, which clients may not use. The others ask cogo.caller_role().

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- Who calls ----------------------------------------------------------------------------------------------------------

create function public.bus_caller() returns jsonb
language sql stable security definer set search_path = '' as $$
    select jsonb_build_object('role', cogo.caller_role(), 'tenant', cogo.caller_tenant())
$$;
comment on function public.bus_caller() is
    'Who the caller is, as the token says that was checked on the way here: {role, tenant}.';

-- Traces -------------------------------------------------------------------------------------------------------------

create function cogo.check_trace_id(p_trace_id text) returns void
language plpgsql immutable set search_path = '' as $$
begin
    if p_trace_id is null or length(p_trace_id) <> 32 or p_trace_id !~ '^[0-9a-f]*$' then
        raise exception using errcode = '22023', message = 'trace_id must be 32 lower-case hex digits',
            hint = 'It is in the answer of whatever published the message.';
    end if;
end
$$;
comment on function cogo.check_trace_id(text) is 'Raises an error unless the text can be a trace id.';

-- Of all stages, also those that are closed to the caller: what follows from them may be open again.
create function public.bus_trace_at_rest(p_trace_id text) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
    perform cogo.check_trace_id(p_trace_id);
    return not exists (
        select from cogo.agent_messages as message
        where message.trace_id = p_trace_id
            and (message.tenant = cogo.caller_tenant() or cogo.caller_is_server())
            and not exists (select from cogo.receipts as receipt where receipt.id = message.id));
end
$$;
comment on function public.bus_trace_at_rest(text) is
    'Whether every message of a trace has ended, as far as they are of the caller''s tenant. True of a trace without messages.';

create function public.bus_trace(p_trace_id text) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
    -- More than anybody reads; a trace that runs away must not fill the memory.
    c_messages constant int := 2000;
    c_events constant int := 5000;
    v_messages jsonb;
    v_events jsonb;
    v_at_rest boolean := public.bus_trace_at_rest(p_trace_id);
begin
    select jsonb_agg(to_jsonb(message) order by message.id) into v_messages from (
        select one.id, one.created_at, one.service, one.role, one.shard, one.tenant, one.project_id, one.trace_id, one.parent_id,
            one.replay_of, one.idempotency_key, one.ordering_key, one.priority, one.status, one.attempts, one.max_attempts,
            one.retry_at, one.expires_at, one.claimed_by, one.claimed_at, one.lease_until, one.done_at, one.error, one.last_error_at,
            one.result_snippet, one.result_url, one.cancel_requested
        from public.agent_messages as one where one.trace_id = p_trace_id order by one.id limit c_messages + 1) as message;
    select jsonb_agg(to_jsonb(event) order by event.id) into v_events from (
        select one.* from public.bus_events as one where one.trace_id = p_trace_id order by one.id limit c_events + 1) as event;
    if v_messages is null and v_events is null then
        raise exception using errcode = 'P0002', message = format('there is no trace %s', p_trace_id),
            hint = 'Retention may have removed it, or none of its stages is open to you: open_to in bus_routes.';
    end if;
    return jsonb_build_object(
        'trace_id', p_trace_id, 'read_at', now(), 'at_rest', v_at_rest,
        'truncated', coalesce(jsonb_array_length(v_messages) > c_messages, false) or coalesce(jsonb_array_length(v_events) > c_events, false),
        'messages', coalesce(v_messages - c_messages, '[]'), 'events', coalesce(v_events - c_events, '[]'));
end
$$;
comment on function public.bus_trace(text) is
    'A trace as far as the caller may see it: {trace_id, read_at, at_rest, truncated, messages, events}. Messages come without their payloads.';

-- Numbers are given when a row is written, and rows become visible when their transactions commit, in any order. So an
-- event is handed out only when nothing below it can come any more: whoever inserts holds a lock on the table from
-- before the number was drawn until the row is visible or gone. If all who held it after we saw an event have ended,
-- the next look shows everything up to that event. The caller keeps nothing but the last number.
create function public.bus_trace_events(p_trace_id text, p_after bigint default 0, p_limit int default 200) returns jsonb
language plpgsql volatile security invoker set search_path = '' as $$
declare
    v_high bigint;
    v_writing text[];
    v_pause_ms int := 2;
    v_events jsonb;
    v_next bigint;
    v_at_rest boolean;
begin
    if p_after is null or p_after < 0 or p_limit is null or p_limit not between 1 and 1000 then
        raise exception using errcode = '22023', message = 'p_after must not be negative, and p_limit must be from 1 to 1000',
            hint = 'Begin with 0, and go on with `next` of the last answer.';
    end if;
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = '25001', message = 'bus_trace_events looks more than once, which shows nothing new in this transaction',
            hint = 'Call it in a transaction of isolation level read committed.';
    end if;
    -- Asked first, so that whoever waits for news does not look at locks: that costs the whole server a little.
    select max(news.id) into v_high from (
        select event.id from public.bus_events as event
        where event.trace_id = p_trace_id and event.id > p_after order by event.id limit p_limit) as news;
    if v_high is null and not exists (select from public.bus_events as event where event.trace_id = p_trace_id)
        and not exists (select from public.agent_messages as message where message.trace_id = p_trace_id)
    then
        -- It also says what is wrong with something that cannot be a trace id.
        perform public.bus_trace_at_rest(p_trace_id);
        raise exception using errcode = 'P0002', message = format('there is no trace %s', p_trace_id),
            hint = 'Retention may have removed it, or none of its stages is open to you: open_to in bus_routes.';
    end if;
    if v_high is not null then
        loop
            v_writing := array(
                select locked.virtualtransaction from pg_locks as locked
                where locked.locktype = 'relation' and locked.relation = 'public.bus_events'::regclass
                    and locked.database = (select oid from pg_database where datname = current_database())
                    and locked.mode = 'RowExclusiveLock' and locked.granted and locked.pid is distinct from pg_backend_pid()
                    -- A transaction that is prepared gives its locks to nobody in particular.
                    and (v_writing is null or locked.virtualtransaction = any (v_writing) or locked.virtualtransaction like '-1/%'));
            exit when cardinality(v_writing) = 0;
            if v_pause_ms > 128 then
                -- Somebody's transaction stays open. Nothing is lost: the caller asks again from the same number.
                v_high := p_after;
                exit;
            end if;
            perform pg_sleep(v_pause_ms / 1000.0);
            v_pause_ms := v_pause_ms * 2;
        end loop;
    end if;
    select coalesce(jsonb_agg(to_jsonb(event) order by event.id), '[]'), coalesce(max(event.id), p_after) into v_events, v_next
    from (
        select one.* from public.bus_events as one
        where one.trace_id = p_trace_id and one.id > p_after and one.id <= v_high
        order by one.id limit p_limit) as event;
    -- In this order: what has ended was committed together with its events, so a look after it shows all of them.
    v_at_rest := public.bus_trace_at_rest(p_trace_id);
    v_at_rest := v_at_rest and not exists (
        select from public.bus_events as event where event.trace_id = p_trace_id and event.id > v_next);
    return jsonb_build_object('events', v_events, 'at_rest', v_at_rest, 'next', v_next);
end
$$;
comment on function public.bus_trace_events(text, bigint, int) is
    'What happened in a trace after an event, in order and none skipped: {events, at_rest, next}. Ask again with `next` until it is at rest.';

-- Dead letters -------------------------------------------------------------------------------------------------------

create function public.bus_dead_letters(p_filter jsonb default '{}') returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
    c_known constant text[] := array['service', 'role', 'reason', 'tenant', 'trace_id', 'open_only', 'limit', 'before'];
    v_unknown text;
    v_limit int;
    v_letters jsonb;
begin
    if jsonb_typeof(p_filter) is distinct from 'object' then
        raise exception using errcode = '22023', message = 'p_filter must be an object', hint = 'For example {"service": "codegen", "limit": 20}.';
    end if;
    select key into v_unknown from jsonb_object_keys(p_filter) as given(key) where key <> all (c_known) limit 1;
    if found then
        raise exception using errcode = '22023', message = format('unknown filter `%s`', left(v_unknown, 100)),
            hint = 'Known are ' || array_to_string(c_known, ', ') || '.';
    end if;
    if p_filter ->> 'limit' !~ '^[0-9]{1,4}$' or (p_filter ->> 'limit')::int not between 1 and 1000 or p_filter ->> 'before' !~ '^[0-9]{1,18}$'
        or p_filter ->> 'open_only' not in ('true', 'false')
    then
        raise exception using errcode = '22023', message = 'limit must be from 1 to 1000, before a number, and open_only true or false',
            hint = 'Leave out what you do not need.';
    end if;
    v_limit := coalesce((p_filter ->> 'limit')::int, 50);
    select jsonb_agg(to_jsonb(letter) order by letter.id desc) into v_letters from (
        select one.id, one.orig_id as message_id, one.created_at as died_at, one.service, one.role, one.shard, one.tenant, one.trace_id,
            one.attempts, one.reason, one.error, one.replayed_as
        from public.agent_messages_dlq as one
        where (p_filter ->> 'service' is null or one.service = p_filter ->> 'service')
            and (p_filter ->> 'role' is null or one.role = p_filter ->> 'role')
            and (p_filter ->> 'reason' is null or one.reason = p_filter ->> 'reason')
            and (p_filter ->> 'tenant' is null or one.tenant = p_filter ->> 'tenant')
            and (p_filter ->> 'trace_id' is null or one.trace_id = p_filter ->> 'trace_id')
            and (not coalesce((p_filter ->> 'open_only')::boolean, false) or one.replayed_as is null)
            and (p_filter ->> 'before' is null or one.id < (p_filter ->> 'before')::bigint)
        order by one.id desc limit v_limit) as letter;
    return jsonb_build_object('letters', coalesce(v_letters, '[]'),
        'next', case when jsonb_array_length(v_letters) = v_limit then v_letters -> -1 -> 'id' end);
end
$$;
comment on function public.bus_dead_letters(jsonb) is
    'Dead letters, the latest first: {letters, next}. Filters: service, role, reason, tenant, trace_id, open_only, limit, and before (`next` of the page before).';

create function public.bus_retry(p_message_id bigint) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_letter public.agent_messages_dlq;
    v_attached boolean;
    v_new bigint;
begin
    -- The same lock as bus_replay takes: of two who press the button, the second is told of the first's.
    perform pg_advisory_xact_lock(hashtextextended('cogo replay ' || p_message_id, 0));
    select letter.* into v_letter from public.agent_messages_dlq as letter
    where letter.orig_id = p_message_id
        and (cogo.caller_is_server()
            or (letter.tenant = cogo.caller_tenant() and cogo.is_open(letter.service, letter.role, cogo.caller_role())));
    if not found then
        raise exception using errcode = 'P0002', message = format('there is no dead letter of message %s', p_message_id),
            hint = 'bus_dead_letters lists those you may see; name one by its message_id.';
    end if;
    v_attached := v_letter.replayed_as is not null;
    v_new := coalesce(v_letter.replayed_as, public.bus_replay(p_message_id));
    return jsonb_build_object('id', v_new, 'replay_of', p_message_id, 'trace_id', v_letter.trace_id, 'attached', v_attached);
end
$$;
comment on function public.bus_retry(bigint) is
    'Replays a dead letter, once: {id, replay_of, trace_id, attached}. A second call answers with the first one''s message and says attached.';

-- Workers and routes -------------------------------------------------------------------------------------------------

-- A worker that serves several tenants is nobody's in particular, and tells what a tenant need not know.
create policy clients_read_their_own on public.workers for select to authenticated
    using (tenant = (select cogo.caller_tenant()) and cogo.is_open(service, role, current_user));
grant select on public.workers to authenticated;

create function public.bus_workers() returns jsonb
language sql stable security invoker set search_path = '' as $$
    select jsonb_build_object('read_at', now(), 'workers', coalesce(jsonb_agg(to_jsonb(worker)), '[]'))
    from (
        select one.id, one.agent_name, one.service, one.role, one.shards, one.tenant, one.host, one.version, one.image, one.digest,
            one.release_id, one.state, one.drain_requested, one.slots, one.busy, one.started_at, one.seen_at,
            round(greatest(0, extract(epoch from now() - one.seen_at)), 3) as silent_s
        from public.workers as one where one.state <> 'gone'
        order by one.agent_name, one.started_at, one.id limit 1000) as worker
$$;
comment on function public.bus_workers() is
    'Workers that are alive: {read_at, workers}. Clients see those that serve their tenant alone, on stages open to them.';

create function public.bus_overview() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    -- Where more stands than this, a number says `at least`: the cost must not grow with what piles up.
    c_counted constant int := 10000;
    c_receipts constant int := 20000;
    c_routes constant int := 1000;
    v_all boolean := cogo.caller_is_server();
    v_tenant text := cogo.caller_tenant();
    v_role name := cogo.caller_role();
    v_routes jsonb;
    v_partial boolean;
begin
    with shown as (
        select lane.* from cogo.lanes as lane
        where v_all or (lane.tenant = v_tenant and cogo.is_open(lane.service, lane.role, v_role))
    ),
    claimed as (select leases.lane_id, count(*) as count from cogo.leases group by leases.lane_id),
    waiting as (
        select few.lane_id, count(*) as count
        from (select ordered.lane_id from cogo.ordered where not ordered.placed limit c_counted) as few group by few.lane_id
    ),
    recent as materialized (
        select receipt.id, receipt.status, receipt.done_at from cogo.receipts as receipt order by receipt.id desc limit c_receipts
    ),
    ended as (
        select message.service, message.role, message.shard,
            count(*) filter (where recent.status = 'done') as done, count(*) filter (where recent.status = 'failed') as failed
        from recent join cogo.agent_messages as message on message.id = recent.id
        where recent.done_at > now() - interval '1 hour' and (v_all or message.tenant = v_tenant)
        group by 1, 2, 3
    ),
    standing as (
        select lane.service, lane.role, lane.shard,
            sum(ready.count)::bigint as ready, sum(delayed.count)::bigint as delayed,
            coalesce(sum(waiting.count), 0)::bigint as waiting, coalesce(sum(claimed.count), 0)::bigint as claimed,
            min(greatest(oldest.created_at, oldest.retry_at)) as ready_since,
            coalesce(bool_or(ready.count = c_counted or delayed.count = c_counted or waiting.count = c_counted), false) as partial
        from shown as lane
        cross join lateral (
            select count(*) as count, min(few.id) as oldest
            from (select ready.id from cogo.ready where ready.lane_id = lane.id order by ready.id limit c_counted) as few) as ready
        cross join lateral (
            select count(*) as count
            from (select from cogo.later where later.lane_id = lane.id limit c_counted) as few) as delayed
        left join waiting on waiting.lane_id = lane.id
        left join claimed on claimed.lane_id = lane.id
        left join cogo.agent_messages as oldest on oldest.id = ready.oldest
        group by 1, 2, 3
    ),
    routes as (
        select standing.service, standing.role, standing.shard, coalesce(settings.paused, false) as paused,
            standing.ready + standing.delayed + standing.waiting as queued, standing.delayed, standing.waiting,
            standing.claimed as in_flight,
            -- Null where nothing is ready; greatest() would make a zero of it.
            case when standing.ready_since is not null
                then round(greatest(0, extract(epoch from clock_timestamp() - standing.ready_since)), 3) end as oldest_s,
            coalesce(ended.done, 0) as done_last_hour, coalesce(ended.failed, 0) as failed_last_hour, standing.partial
        from standing
        left join ended using (service, role, shard)
        left join public.bus_routes as settings on settings.service = standing.service and settings.role = standing.role
        order by 1, 2, 3 limit c_routes
    )
    select jsonb_agg(to_jsonb(routes)), (select count(*) = c_receipts and min(done_at) > now() - interval '1 hour' from recent)
    into v_routes, v_partial from routes;
    return jsonb_build_object('read_at', now(), 'last_hour_is_partial', coalesce(v_partial, false), 'routes', coalesce(v_routes, '[]'));
end
$$;
comment on function public.bus_overview() is
    'How every route stands: {read_at, last_hour_is_partial, routes}. A route that is `partial` has at least what it says. Clients see their tenant''s part on stages open to them.';

-- Who may call -------------------------------------------------------------------------------------------------------

select cogo.protect_functions(cogo.functions_named('cogo', array['check_trace_id']));
select cogo.protect_functions(cogo.functions_named('public', array[
    'bus_caller', 'bus_trace', 'bus_trace_at_rest', 'bus_trace_events', 'bus_dead_letters', 'bus_retry', 'bus_workers', 'bus_overview']),
    'authenticated, service_role, cogo_worker');
