-- Keeping: what nobody settles, what has waited too long, and what is old.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

create table cogo.keeper (
    only_row boolean primary key default true check (only_row),
    worker text not null default '',
    kept_at timestamptz not null default '-infinity'
) with (fillfactor = 50);
insert into cogo.keeper default values;
comment on table cogo.keeper is 'Which bus-keeper leads. Its row is locked while it sweeps, so there is never more than one.';
comment on column cogo.keeper.only_row is 'There is one row.';
comment on column cogo.keeper.worker is 'The leader.';
comment on column cogo.keeper.kept_at is 'When it last swept. Another takes over when that is too long ago.';

-- True for the leader, until its transaction ends. A row and not a session lock, so that it also works through a
-- pooler and over REST.
create function cogo.lead(p_worker text) returns boolean
language plpgsql set search_path = '' as $$
begin
    perform from cogo.keeper where keeper.worker = p_worker or keeper.kept_at < clock_timestamp() - interval '5 s' for update skip locked;
    if not found then
        return false;
    end if;
    update cogo.keeper set worker = p_worker, kept_at = clock_timestamp();
    return true;
end
$$;
comment on function cogo.lead(text) is 'Makes the caller the leading keeper if there is no other that is alive.';

-- Null: another keeper leads. Otherwise what was done; call again at once while `more` is true.
create function public.bus_sweep(p_worker text, p_limit int default 1000) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_leaving cogo.leaving[];
    v_reclaimed int := 0;
    v_expired int := 0;
    v_promoted int;
    v_gone int;
    v_rung int := 0;
    v_stream bigint;
    v_stage record;
begin
    if not cogo.lead(p_worker) then
        return null;
    end if;

    -- Leases that ran out: back to the queue with the attempt counted, or to the dead letters after the last one.
    with lost as (
        delete from cogo.leases where leases.id = any (array(
            select expired.id from cogo.leases as expired where expired.lease_until < now()
            limit p_limit for update skip locked))
        returning leases.*
    )
    select array_agg(row(
        1, lost.id, lost.lane_id, lost.stream, lost.worker, lost.claimed_at, lost.expires_at,
        case
            when lost.cancel_requested then 'cancelled'
            when message.attempts + 1 < coalesce(message.max_attempts, settings.max_attempts, 3) then 'ready'
            else 'failed'
        end,
        message.attempts + 1, null,
        case when lost.cancel_requested then 'cancelled' else 'lease_lost' end,
        case when not coalesce(lost.cancel_requested, false) then format('worker %s stopped renewing its lease', lost.worker) end,
        null, null)::cogo.leaving)
    into v_leaving
    from lost
    join cogo.agent_messages as message on message.id = lost.id
    left join public.bus_routes as settings on settings.service = message.service and settings.role = message.role;
    if v_leaving is not null then
        perform cogo.leave(v_leaving);
        perform cogo.emit_all(jsonb_agg(jsonb_build_object('event_type', 'reclaimed', 'message_id', leaving.id, 'reason', 'lease_lost',
            'payload', jsonb_build_object('worker', leaving.worker, 'attempts', leaving.attempts))))
        from unnest(v_leaving) as leaving where leaving.goes_to = 'ready' having count(*) > 0;
        v_reclaimed := cardinality(v_leaving);
    end if;

    -- What waited longer than its producer wanted.
    with late as (
        select ready.id, ready.lane_id, ready.stream from cogo.ready where ready.expires_at <= now()
        order by ready.expires_at limit p_limit for update skip locked
    ),
    gone as (delete from cogo.ready using late where ready.lane_id = late.lane_id and ready.id = late.id returning late.*),
    late_later as (
        delete from cogo.later where later.id = any (array(
            select waiting.id from cogo.later as waiting where waiting.expires_at <= now()
            order by waiting.expires_at limit p_limit for update skip locked))
        returning later.id, later.lane_id, later.stream
    )
    select array_agg(row(1, gone.id, gone.lane_id, gone.stream, null, null, null, 'failed', message.attempts, null, 'expired',
        'it was not claimed before it expired', null, null)::cogo.leaving)
    into v_leaving
    from (select * from gone union all select * from late_later) as gone
    join cogo.agent_messages as message on message.id = gone.id;
    if v_leaving is not null then
        perform cogo.leave(v_leaving);
        v_expired := cardinality(v_leaving);
    end if;
    -- Those that wait for their turn: their stream's lock keeps them from getting it meanwhile. A busy one has time.
    for v_stream in
        select distinct ordered.stream from cogo.ordered where ordered.expires_at <= now() and not ordered.placed limit p_limit
    loop
        continue when not pg_try_advisory_xact_lock(v_stream);
        with gone as (
            delete from cogo.ordered where ordered.stream = v_stream and ordered.expires_at <= now() and not ordered.placed
            returning ordered.id, ordered.lane_id
        )
        select array_agg(row(1, gone.id, gone.lane_id, null, null, null, null, 'failed', message.attempts, null, 'expired',
            'it was not claimed before it expired', null, null)::cogo.leaving)
        into v_leaving from gone join cogo.agent_messages as message on message.id = gone.id;
        if v_leaving is not null then
            perform cogo.leave(v_leaving);
            v_expired := v_expired + cardinality(v_leaving);
        end if;
    end loop;

    v_promoted := cogo.promote_due(p_limit);

    -- The backstop of the doorbell: work that waits where somebody sleeps.
    delete from cogo.parked where parked.until < clock_timestamp();
    for v_stage in
        select distinct parked.service, parked.role from cogo.parked
        where exists (
            select from cogo.lanes as lane
            left join public.bus_routes as settings on settings.service = lane.service and settings.role = lane.role
            where lane.service = parked.service and lane.role = parked.role and not coalesce(settings.paused, false)
                and exists (select from cogo.ready where ready.lane_id = lane.id))
    loop
        perform cogo.ring(v_stage.service, v_stage.role, null, null, null, true);
        v_rung := v_rung + 1;
    end loop;

    update public.workers set state = 'gone' where workers.state <> 'gone' and workers.seen_at < now() - interval '60 s';
    get diagnostics v_gone = row_count;

    return jsonb_build_object('reclaimed', v_reclaimed, 'expired', v_expired, 'promoted', v_promoted, 'rung', v_rung, 'workers_gone', v_gone,
        'more', v_reclaimed >= p_limit or v_expired >= p_limit or v_promoted >= p_limit);
end
$$;
comment on function public.bus_sweep(text, int) is
    'The leading keeper''s round: reclaims lost leases, fails the expired, readies the due, rings where a ring was lost. Null: another leads.';

-- A trace that was touched in the last day is kept whole.
create function cogo.trace_is_quiet(p_trace_id text, p_quiet interval) returns boolean
language sql stable as $$
    select not exists (
            select from cogo.agent_messages as message left join cogo.receipts as receipt on receipt.id = message.id
            where message.trace_id = p_trace_id
                and (message.created_at > now() - p_quiet or receipt.id is null or receipt.done_at > now() - p_quiet))
        and not exists (select from public.bus_events as event where event.trace_id = p_trace_id and event.created_at > now() - p_quiet)
$$;
comment on function cogo.trace_is_quiet(text, interval) is 'Nothing of the trace is unfinished, and nothing happened in it lately.';

-- Looks at up to p_limit rows of each table from where the last call stopped (p_from: what it answered; null to start).
create function public.bus_retain(
    p_worker text, p_from jsonb default null, p_limit int default 1000,
    p_messages interval default '7 days', p_events interval default '14 days', p_workers interval default '2 days',
    p_dead_letters interval default '30 days', p_quiet interval default '24 hours') returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
    v_messages bigint[];
    v_last_message bigint;
    v_events bigint[];
    v_last_event bigint;
    v_letters int;
    v_workers int;
begin
    if not cogo.lead(p_worker) then
        return null;
    end if;
    with seen as (
        select receipt.id, receipt.done_at from cogo.receipts as receipt
        where receipt.id > coalesce((p_from ->> 'message')::bigint, 0) order by receipt.id limit p_limit
    )
    select max(seen.id), array_agg(seen.id) filter (where seen.done_at < now() - p_messages and cogo.trace_is_quiet(message.trace_id, p_quiet))
    into v_last_message, v_messages
    from seen left join cogo.agent_messages as message on message.id = seen.id;
    delete from cogo.agent_messages as message where message.id = any (v_messages);

    with seen as (
        select event.id, event.created_at, event.trace_id from public.bus_events as event
        where event.id > coalesce((p_from ->> 'event')::bigint, 0) order by event.id limit p_limit
    )
    select max(seen.id), array_agg(seen.id) filter (where seen.created_at < now() - p_events and cogo.trace_is_quiet(seen.trace_id, p_quiet))
    into v_last_event, v_events from seen;
    delete from public.bus_events as event where event.id = any (v_events);

    delete from public.agent_messages_dlq as letter where letter.id = any (array(
        select old.id from public.agent_messages_dlq as old
        where old.created_at < now() - p_dead_letters and cogo.trace_is_quiet(old.trace_id, p_quiet)
        order by old.id limit p_limit));
    get diagnostics v_letters = row_count;
    delete from public.workers where workers.state = 'gone' and workers.seen_at < now() - p_workers;
    get diagnostics v_workers = row_count;

    return jsonb_build_object(
        'messages', coalesce(cardinality(v_messages), 0), 'events', coalesce(cardinality(v_events), 0),
        'dead_letters', v_letters, 'workers', v_workers,
        -- Null when both ends are reached: the round is complete.
        'from', case when v_last_message is null and v_last_event is null then null else jsonb_build_object(
            'message', coalesce(v_last_message, (p_from ->> 'message')::bigint, 0),
            'event', coalesce(v_last_event, (p_from ->> 'event')::bigint, 0)) end);
end
$$;
comment on function public.bus_retain(text, jsonb, int, interval, interval, interval, interval, interval) is
    'Deletes what is older than it needs to be, one small batch a call. Null: another keeper leads.';

-- A route that is resumed or widened has sleepers to wake; every change of a pause is on record.
create function cogo.route_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if new.max_in_flight is not null or new.max_in_flight_per_tenant is not null then
        -- What was claimed before there was a limit counts, too. What is locked is just being settled or renewed.
        update cogo.leases set limited = true where leases.id = any (array(
            select held.id from cogo.leases as held join cogo.lanes as lane on lane.id = held.lane_id
            where lane.service = new.service and lane.role = new.role and held.limited is not true
            for update of held skip locked));
    end if;
    if not new.paused then
        -- To whoever is falling asleep at this moment, it is as good as a new message (see cogo.ring_for_new).
        perform pg_advisory_xact_lock_shared(cogo.stage_lock(new.service, new.role));
        if current_setting('transaction_isolation') <> 'read committed' then
            perform cogo.ring_everybody(new.service, new.role, null, null);
        else
            perform cogo.ring(new.service, new.role, null, null, null, true);
        end if;
    end if;
    if new.paused is distinct from (case tg_op when 'UPDATE' then old.paused else false end) then
        insert into public.bus_events (event_type, trace_id, service, role)
        values (case when new.paused then 'route_paused' else 'route_resumed' end, cogo.new_trace_id(), new.service, new.role);
    end if;
    return null;
end
$$;
comment on function cogo.route_changed() is 'Wakes the workers of a stage whose settings changed.';
create trigger route_changed after insert or update on public.bus_routes
    for each row execute function cogo.route_changed();

create function public.bus_pause(p_service text, p_role text, p_paused boolean default true) returns void
language sql security definer set search_path = '' as $$
    insert into public.bus_routes (service, role, paused) values (p_service, p_role, p_paused)
    on conflict (service, role) do update set paused = excluded.paused
$$;
comment on function public.bus_pause(text, text, boolean) is 'Stops or resumes claiming on a stage, for the whole fleet.';

create function public.bus_drain(p_worker text) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
    update public.workers set drain_requested = true where workers.id = p_worker and workers.state <> 'gone';
    if found then
        perform cogo.call_worker(p_worker);
    end if;
    return found;
end
$$;
comment on function public.bus_drain(text) is 'Asks a worker to finish what it holds and leave; false if there is none of that name.';
