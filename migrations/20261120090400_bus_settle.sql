-- How a message ends, or comes back. Whoever deletes the lease row decides; everybody else is told that it is lost.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- One message on its way out of cogo.leases (or of the queue), and where it goes.
create type cogo.leaving as (
    place int, id bigint, lane_id int, stream bigint, worker text, claimed_at timestamptz, expires_at timestamptz,
    goes_to text, attempts int, wait interval, reason text, error text, result_snippet text, result_url text);
comment on type cogo.leaving is 'A message that changes state. goes_to: done, failed, cancelled, later or ready.';

-- Inserts events; those about a message take its route, tenant and trace from it unless they say otherwise.
create function cogo.emit_all(p_events jsonb) returns int
language plpgsql set search_path = '' as $$
declare
    v_unknown text;
    v_count int;
begin
    if exists (select from jsonb_array_elements(p_events) as event(body) where jsonb_typeof(event.body) <> 'object') then
        raise exception using errcode = '22023', message = 'an event must be an object with event_type',
            hint = 'For example {"event_type": "codegen_done", "trace_id": "..."}.';
    end if;
    select given.key into v_unknown
    from jsonb_array_elements(p_events) as event(body) cross join lateral jsonb_object_keys(event.body) as given(key)
    where given.key <> all (array['event_type', 'message_id', 'trace_id', 'service', 'role', 'shard', 'tenant', 'project_id', 'agent_id', 'reason', 'payload'])
    limit 1;
    if found then
        raise exception using errcode = '22023', message = format('unknown field `%s` of an event', left(v_unknown, 100)),
            hint = 'Known are event_type, message_id, trace_id, service, role, shard, tenant, project_id, agent_id, reason, payload.';
    end if;
    insert into public.bus_events (event_type, message_id, trace_id, service, role, shard, tenant, project_id, agent_id, reason, payload)
    select event.event_type, event.message_id, coalesce(event.trace_id, message.trace_id),
        coalesce(event.service, message.service), coalesce(event.role, message.role), coalesce(event.shard, message.shard),
        coalesce(event.tenant, message.tenant, 'default'), coalesce(event.project_id, message.project_id),
        event.agent_id, event.reason, coalesce(event.payload, '{}')
    from rows from (jsonb_to_recordset(p_events) as (
        event_type text, message_id bigint, trace_id text, service text, role text, shard int, tenant text, project_id uuid,
        agent_id text, reason text, payload jsonb)) with ordinality as event(
        event_type, message_id, trace_id, service, role, shard, tenant, project_id, agent_id, reason, payload, place)
    left join cogo.agent_messages as message on message.id = event.message_id
    -- What happened first has the lower number.
    order by event.place;
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function cogo.emit_all(jsonb) is 'Inserts an array of events.';

create function public.bus_emit(p_events jsonb) returns int
language plpgsql security definer set search_path = '' as $$
begin
    if jsonb_typeof(p_events) = 'object' then
        p_events := jsonb_build_array(p_events);
    elsif jsonb_typeof(p_events) is distinct from 'array' then
        raise exception using errcode = '22023', message = 'p_events must be an event or an array of events',
            hint = 'For example {"event_type": "codegen_done", "trace_id": "..."}.';
    end if;
    return cogo.emit_all(p_events);
end
$$;
comment on function public.bus_emit(jsonb) is 'Records one event or an array of them; answers how many.';

-- Carries out what was decided: receipts, dead letters, waits and events, and lets the next of a stream move up.
create function cogo.leave(p_leaving cogo.leaving[]) returns void
language plpgsql set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
    v_lane record;
begin
    insert into cogo.receipts (id, status, attempts, worker, claimed_at, done_at, reason, error, result_snippet, result_url)
    select leaving.id, leaving.goes_to, leaving.attempts, leaving.worker, leaving.claimed_at, now(), leaving.reason, leaving.error,
        leaving.result_snippet, leaving.result_url
    from unnest(p_leaving) as leaving where leaving.goes_to in ('done', 'failed', 'cancelled');

    if exists (select from unnest(p_leaving) as leaving where leaving.goes_to <> 'done') then
        insert into public.agent_messages_dlq (orig_id, service, role, shard, tenant, trace_id, attempts, reason, payload, error)
        select message.id, message.service, message.role, message.shard, message.tenant, message.trace_id, leaving.attempts,
            leaving.reason, message.payload, leaving.error
        from unnest(p_leaving) as leaving join cogo.agent_messages as message on message.id = leaving.id
        where leaving.goes_to = 'failed';

        perform cogo.emit_all(jsonb_agg(jsonb_build_object(
            'event_type', case when leaving.goes_to = 'cancelled' then 'cancelled' when leaving.reason = 'expired' then 'expired' else 'dead_lettered' end,
            'message_id', leaving.id, 'reason', leaving.reason, 'payload', jsonb_build_object('attempts', leaving.attempts))))
        from unnest(p_leaving) as leaving where leaving.goes_to in ('failed', 'cancelled')
        having count(*) > 0;

        -- What is given back for later has spent no attempt, and a lost lease is told as `reclaimed`.
        perform cogo.emit_all(jsonb_agg(jsonb_build_object(
            'event_type', 'retried', 'message_id', leaving.id, 'reason', leaving.reason,
            'payload', jsonb_build_object('attempts', leaving.attempts, 'worker', leaving.worker, 'claimed_at', leaving.claimed_at,
                'retry_at', now() + leaving.wait, 'error', left(leaving.error, 500)))))
        from unnest(p_leaving) as leaving join cogo.agent_messages as message on message.id = leaving.id
        where leaving.goes_to = 'later' and leaving.attempts > message.attempts
        having count(*) > 0;

        update cogo.agent_messages as message set
            attempts = leaving.attempts,
            retry_at = case leaving.goes_to when 'later' then now() + leaving.wait else message.retry_at end,
            error = coalesce(leaving.error, message.error),
            last_error_at = case when leaving.error is null then message.last_error_at else now() end
        from unnest(p_leaving) as leaving
        where message.id = leaving.id and (message.attempts <> leaving.attempts or leaving.error is not null or leaving.goes_to = 'later');

        insert into cogo.later (id, lane_id, due_at, expires_at, stream)
        select leaving.id, leaving.lane_id, now() + leaving.wait, leaving.expires_at, leaving.stream
        from unnest(p_leaving) as leaving where leaving.goes_to = 'later';

        insert into cogo.ready (lane_id, id, expires_at, stream)
        select leaving.lane_id, leaving.id, leaving.expires_at, leaving.stream
        from unnest(p_leaving) as leaving where leaving.goes_to = 'ready';

        -- Also for what is only due later: who sleeps already does not know how long it may sleep now.
        for v_lane in
            select distinct lane.service, lane.role, lane.shard, lane.tenant
            from unnest(p_leaving) as leaving join cogo.lanes as lane on lane.id = leaving.lane_id
            where leaving.goes_to in ('ready', 'later')
            order by 1, 2, 3, 4
        loop
            perform cogo.ring_for_new(v_lane.service, v_lane.role, v_lane.shard, v_lane.tenant);
        end loop;
    end if;

    if exists (select from unnest(p_leaving) as leaving where leaving.stream is not null and leaving.goes_to in ('done', 'failed', 'cancelled')) then
        perform cogo.leave_streams(array_agg(leaving.stream), array_agg(leaving.id))
        from unnest(p_leaving) as leaving where leaving.stream is not null and leaving.goes_to in ('done', 'failed', 'cancelled');
    end if;
end
$$;
comment on function cogo.leave(cogo.leaving[]) is 'Writes what follows from messages leaving their state.';

create function cogo.jittered(p_settings public.bus_routes, p_attempts int) returns interval
language sql volatile as $$
    select least(coalesce(p_settings.backoff_cap, '60 s'),
        coalesce(p_settings.backoff_base, '5 s') * power(2, least(p_attempts - 1, 20))) * (0.75 + random() / 2)
$$;
comment on function cogo.jittered(public.bus_routes, int) is 'The route''s wait after so many failed attempts, a quarter more or less.';

create function public.bus_settle(p_worker text, p_outcomes jsonb) returns table (id bigint, accepted boolean, state text)
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
-- As in bus_claim.
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_fault text;
    v_leaving cogo.leaving[];
    v_follow_ups jsonb;
    v_events jsonb;
begin
    if jsonb_typeof(p_outcomes) is distinct from 'array' then
        raise exception using errcode = '22023', message = 'p_outcomes must be an array of outcomes',
            hint = 'For example [{"id": 1, "lease": "...", "outcome": "done"}].';
    end if;
    select case
        when jsonb_typeof(given.outcome) <> 'object' then 'an outcome must be an object with id, lease and outcome'
        when given.outcome ->> 'id' is null then 'an outcome needs the id of its message'
        when given.outcome ->> 'lease' is null then format('the outcome of message %s needs the lease that its claim gave', given.outcome ->> 'id')
        when given.outcome ->> 'outcome' is null or given.outcome ->> 'outcome' <> all (array['done', 'retry', 'fail', 'release', 'cancel'])
            then format('outcome of message %s must be done, retry, fail, release or cancel', given.outcome ->> 'id')
        when given.outcome ->> 'id' !~ '^[0-9]{1,18}$' then format('id must be that of a message, and not `%s`', left(given.outcome ->> 'id', 100))
        when given.outcome ->> 'lease' !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
            then format('the lease of message %s must be the one that its claim gave', given.outcome ->> 'id')
        when given.outcome ->> 'retry_in_ms' !~ '^[0-9]{1,12}$'
            then format('retry_in_ms of message %s must be a whole number of milliseconds, not negative', given.outcome ->> 'id')
        when jsonb_typeof(given.outcome -> 'publish') not in ('array', 'null')
            then format('publish of message %s must be an array of messages', given.outcome ->> 'id')
        when jsonb_typeof(given.outcome -> 'events') not in ('array', 'null')
            then format('events of message %s must be an array of events', given.outcome ->> 'id')
        else format('unknown field of the outcome of message %s; known are id, lease, outcome, result_snippet, result_url, reason, error, '
            'retry_in_ms, publish, events', given.outcome ->> 'id')
    end into v_fault
    from jsonb_array_elements(p_outcomes) as given(outcome)
    where jsonb_typeof(given.outcome) <> 'object' or given.outcome ->> 'id' is null or given.outcome ->> 'lease' is null
        or given.outcome ->> 'outcome' is null
        or given.outcome ->> 'outcome' <> all (array['done', 'retry', 'fail', 'release', 'cancel'])
        or given.outcome ->> 'id' !~ '^[0-9]{1,18}$' or given.outcome ->> 'lease' !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        or given.outcome ->> 'retry_in_ms' !~ '^[0-9]{1,12}$'
        or jsonb_typeof(given.outcome -> 'publish') not in ('array', 'null') or jsonb_typeof(given.outcome -> 'events') not in ('array', 'null')
        or given.outcome - array['id', 'lease', 'outcome', 'result_snippet', 'result_url', 'reason', 'error', 'retry_in_ms', 'publish', 'events'] <> '{}'
    limit 1;
    if found then
        raise exception using errcode = '22023', message = v_fault, hint = 'Nothing was settled. Correct it and settle again.';
    end if;

    with wanted as materialized (
        select given.* from rows from (jsonb_to_recordset(p_outcomes) as (
            id bigint, lease uuid, outcome text, result_snippet text, result_url text, reason text, error text, retry_in_ms bigint))
            with ordinality as given(id, lease, outcome, result_snippet, result_url, reason, error, retry_in_ms, place)
    ),
    freed as (
        delete from cogo.leases using wanted
        where leases.id = wanted.id and leases.lease = wanted.lease
        returning leases.lane_id, leases.stream, leases.worker, leases.claimed_at, leases.expires_at, leases.cancel_requested, wanted.*
    ),
    judged as (
        select freed.*, message.attempts as before, settings,
            case
                -- A cancelled trace must not go on behind whoever cancelled it: what would follow is dropped with it.
                when freed.outcome = 'done' and freed.cancel_requested
                    and jsonb_typeof(p_outcomes -> (freed.place::int - 1) -> 'publish') = 'array' then 'cancelled'
                when freed.outcome = 'done' then 'done'
                when freed.outcome = 'cancel' or (freed.outcome in ('retry', 'release') and freed.cancel_requested) then 'cancelled'
                when freed.outcome = 'release' then case when freed.retry_in_ms is null then 'ready' else 'later' end
                when freed.outcome = 'retry' and message.attempts + 1 < coalesce(message.max_attempts, settings.max_attempts, 3) then 'later'
                else 'failed'
            end as goes_to
        from freed
        join cogo.agent_messages as message on message.id = freed.id
        left join public.bus_routes as settings on settings.service = message.service and settings.role = message.role
    )
    select array_agg(row(
        judged.place, judged.id, judged.lane_id, judged.stream, judged.worker, judged.claimed_at, judged.expires_at, judged.goes_to,
        case when judged.outcome = 'release' and judged.goes_to <> 'cancelled' then judged.before else judged.before + 1 end,
        coalesce(judged.retry_in_ms * interval '1 ms', cogo.jittered(judged.settings, judged.before + 1)),
        case
            when judged.goes_to = 'cancelled' then coalesce(judged.reason, 'cancelled')
            when judged.goes_to = 'failed' and judged.outcome = 'retry' then 'attempts_exhausted'
            when judged.goes_to = 'failed' then coalesce(judged.reason, 'failed')
            else judged.reason
        end,
        judged.error, judged.result_snippet, judged.result_url)::cogo.leaving)
    into v_leaving from judged;

    if v_leaving is not null then
        perform cogo.leave(v_leaving);

        -- What follows belongs to the trace, tenant and project of the message it follows from.
        select jsonb_agg(
            jsonb_strip_nulls(jsonb_build_object('trace_id', message.trace_id, 'tenant', message.tenant, 'project_id', message.project_id,
                'parent_id', message.id, 'traceparent', case when follow_up.body ? 'trace_id' then null else message.traceparent end))
            || follow_up.body order by leaving.place, follow_up.turn)
        into v_follow_ups
        from unnest(v_leaving) as leaving
        join cogo.agent_messages as message on message.id = leaving.id
        cross join lateral jsonb_array_elements(nullif(p_outcomes -> (leaving.place - 1) -> 'publish', 'null')) with ordinality as follow_up(body, turn)
        where leaving.goes_to <> 'cancelled' or p_outcomes -> (leaving.place - 1) ->> 'outcome' <> 'done';
        if v_follow_ups is not null then
            perform cogo.publish_all(v_follow_ups);
        end if;

        select jsonb_agg(jsonb_build_object('message_id', leaving.id) || event.body order by leaving.place, event.turn)
        into v_events
        from unnest(v_leaving) as leaving
        cross join lateral jsonb_array_elements(nullif(p_outcomes -> (leaving.place - 1) -> 'events', 'null')) with ordinality as event(body, turn)
        where leaving.goes_to <> 'cancelled' or p_outcomes -> (leaving.place - 1) ->> 'outcome' <> 'done';
        if v_events is not null then
            perform cogo.emit_all(v_events);
        end if;
    end if;

    return query
    select (given.outcome ->> 'id')::bigint, leaving.id is not null,
        case leaving.goes_to when 'ready' then 'queued' when 'later' then 'queued' else leaving.goes_to end
    from jsonb_array_elements(p_outcomes) with ordinality as given(outcome, place)
    left join unnest(v_leaving) as leaving on leaving.place = given.place
    order by given.place;
end
$$;
comment on function public.bus_settle(text, jsonb) is
    'Settles claimed messages, each as done, retry, fail, release or cancel, with the messages and events that follow, in one transaction. '
    'Answers for each whether it was accepted; a lease that is no longer current changes nothing.';

-- The short form for messages that are done and leave nothing behind but an event: arrays instead of JSON.
create function public.bus_done(
    p_worker text, p_ids bigint[], p_leases uuid[], p_event_types text[] default null, p_event_payloads jsonb[] default null)
returns bigint[]
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
-- As in bus_claim.
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    v_done bigint[];
    v_streams bigint[];
begin
    with freed as (
        -- Each message brings its own event along: looking it up again would be quadratic in the batch.
        delete from cogo.leases using unnest(p_ids, p_leases, p_event_types, p_event_payloads) as given(id, lease, event_type, event_payload)
        where leases.id = given.id and leases.lease = given.lease
        returning leases.id, leases.worker, leases.claimed_at, leases.stream, given.event_type, given.event_payload
    ),
    known as materialized (
        select freed.*, message.attempts, message.trace_id, message.service, message.role, message.shard, message.tenant, message.project_id
        from freed join cogo.agent_messages as message on message.id = freed.id
    ),
    receipts as (
        insert into cogo.receipts (id, status, attempts, worker, claimed_at, done_at)
        select known.id, 'done', known.attempts + 1, known.worker, known.claimed_at, now() from known
    ),
    events as (
        insert into public.bus_events (event_type, message_id, trace_id, service, role, shard, tenant, project_id, payload)
        select known.event_type, known.id, known.trace_id, known.service, known.role, known.shard, known.tenant, known.project_id,
            coalesce(known.event_payload, '{}')
        from known where known.event_type is not null
    )
    select array_agg(known.id), array_agg(known.stream) filter (where known.stream is not null) into v_done, v_streams from known;
    if v_streams is not null then
        perform cogo.leave_streams(v_streams, v_done);
    end if;
    return coalesce(v_done, '{}');
end
$$;
comment on function public.bus_done(text, bigint[], uuid[], text[], jsonb[]) is
    'bus_settle for messages that are simply done; answers those that were accepted.';

-- Cancels what is queued at once; asks the worker of what is claimed. Answers the state it leaves behind.
create function public.bus_cancel(p_id bigint, p_reason text default 'cancelled') returns text
language plpgsql security definer set search_path = '' as $$
declare
    v_message cogo.agent_messages;
    v_lane_id int;
    v_stream bigint;
    v_worker text;
    v_channel text;
    v_status text;
begin
    select * into v_message from cogo.agent_messages as message where message.id = p_id;
    if not found then
        raise exception using errcode = 'P0002', message = format('there is no message %s', p_id),
            hint = 'It may have been removed by retention.';
    end if;
    select lane.id into v_lane_id from cogo.lanes as lane
    where lane.service = v_message.service and lane.role = v_message.role and lane.shard = v_message.shard
        and lane.tenant = v_message.tenant and lane.priority = v_message.priority;
    -- The message may move while we look for it; each look is a new snapshot, so it is found within a few rounds.
    for v_round in 1..100 loop
        select receipt.status into v_status from cogo.receipts as receipt where receipt.id = p_id;
        if found then
            return v_status;
        end if;
        update cogo.leases set cancel_requested = true where leases.id = p_id returning leases.worker into v_worker;
        if found then
            perform cogo.call_worker(v_worker);
            return 'claimed';
        end if;
        delete from cogo.ready where ready.lane_id = v_lane_id and ready.id = p_id returning ready.stream into v_stream;
        if not found then
            delete from cogo.later where later.id = p_id returning later.stream into v_stream;
        end if;
        if not found and v_message.ordering_key is not null then
            v_stream := cogo.stream_of(v_message.service, v_message.role, v_message.shard, v_message.tenant, v_message.ordering_key);
            perform pg_advisory_xact_lock(v_stream);
            perform from cogo.ordered where ordered.stream = v_stream and ordered.id = p_id and not ordered.placed;
        end if;
        if found then
            perform cogo.leave(array[row(1, p_id, v_lane_id, v_stream, null, null, null, 'cancelled',
                -- Read now: it may have been tried since we first looked.
                (select message.attempts from cogo.agent_messages as message where message.id = p_id), null,
                p_reason, null, null, null)::cogo.leaving]);
            return 'cancelled';
        end if;
    end loop;
    raise exception using errcode = '40001', message = format('message %s moves too fast to be cancelled', p_id), hint = 'Try again.';
end
$$;
comment on function public.bus_cancel(bigint, text) is
    'Cancels a queued message, or asks the worker of a claimed one to stop. Answers cancelled, claimed (asked), or the final state it already had.';

create function public.bus_cancel_trace(p_trace_id text, p_reason text default 'cancelled', out cancelled int, out asked int)
language plpgsql security definer set search_path = '' as $$
declare
    v_id bigint;
    v_more boolean;
begin
    if not exists (select from cogo.agent_messages as message where message.trace_id = p_trace_id) then
        raise exception using errcode = 'P0002', message = format('there is no trace %s', left(p_trace_id, 100)),
            hint = 'It may have been removed by retention.';
    end if;
    cancelled := 0;
    asked := 0;
    -- Until nothing is left that was not told: a stage may hand on between two looks.
    for v_round in 1..100 loop
        v_more := false;
        for v_id in
            select message.id from cogo.agent_messages as message
            where message.trace_id = p_trace_id
                and not exists (select from cogo.receipts as receipt where receipt.id = message.id)
                and not exists (select from cogo.leases as lease where lease.id = message.id and lease.cancel_requested)
            order by message.id
        loop
            v_more := true;
            case public.bus_cancel(v_id, p_reason)
                when 'cancelled' then cancelled := cancelled + 1;
                when 'claimed' then asked := asked + 1;
                -- It ended by itself in this moment.
                else null;
            end case;
        end loop;
        exit when not v_more;
    end loop;
end
$$;
comment on function public.bus_cancel_trace(text, text) is
    'Cancels every message of a trace that has not ended; answers how many were cancelled at once and how many workers were asked to stop.';

create function public.bus_replay(p_id bigint) returns bigint
language plpgsql security definer set search_path = '' as $$
declare
    v_new bigint;
begin
    if exists (select from cogo.agent_messages as message where message.id = p_id)
        and not exists (select from cogo.receipts as receipt where receipt.id = p_id)
    then
        raise exception using errcode = '55000', message = format('message %s has not ended yet', p_id),
            hint = 'Only a message that is done, failed or cancelled can be replayed; cancel it first.';
    end if;
    -- One replay at a time of the same message, so that two operators do not both believe to be the first.
    perform pg_advisory_xact_lock(hashtextextended('cogo replay ' || p_id, 0));
    insert into cogo.agent_messages (service, role, shard, tenant, project_id, trace_id, parent_id, replay_of, ordering_key,
        priority, payload, traceparent, max_attempts)
    select message.service, message.role, message.shard, message.tenant, message.project_id, message.trace_id, message.parent_id,
        message.id, message.ordering_key, message.priority, message.payload, message.traceparent, message.max_attempts
    from cogo.agent_messages as message where message.id = p_id
    returning agent_messages.id into v_new;
    if v_new is null then
        insert into cogo.agent_messages (service, role, shard, tenant, trace_id, replay_of, payload)
        select letter.service, letter.role, letter.shard, letter.tenant, letter.trace_id, letter.orig_id, letter.payload
        from public.agent_messages_dlq as letter where letter.orig_id = p_id
        returning agent_messages.id into v_new;
    end if;
    if v_new is null then
        raise exception using errcode = 'P0002', message = format('there is no message %s', p_id),
            hint = 'It may have been removed by retention.';
    end if;
    update public.agent_messages_dlq as letter set replayed_as = v_new where letter.orig_id = p_id;
    perform cogo.emit_all(jsonb_build_array(jsonb_build_object('event_type', 'replayed', 'message_id', v_new,
        'payload', jsonb_build_object('replay_of', p_id))));
    return v_new;
end
$$;
comment on function public.bus_replay(bigint) is 'Publishes a copy of a message that has ended, under the same trace; answers its id.';
