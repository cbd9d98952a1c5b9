-- Claiming, sleeping and staying alive: what a worker does between two pieces of work.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- Due messages become ready, whoever happens to look; a worker that sleeps on their route is rung.
create function cogo.promote_due(p_limit int) returns int
language plpgsql set search_path = '' as $$
declare
    v_count int := 0;
    v_lane record;
begin
    if not exists (select from cogo.later where later.due_at <= now()) then
        return 0;
    end if;
    for v_lane in
        with due as (
            delete from cogo.later where later.id = any (array(
                select waiting.id from cogo.later as waiting where waiting.due_at <= now()
                order by waiting.due_at limit p_limit for update skip locked))
            returning later.id, later.lane_id, later.expires_at, later.stream
        ),
        placed as (
            insert into cogo.ready (lane_id, id, expires_at, stream)
            select due.lane_id, due.id, due.expires_at, due.stream from due
            returning ready.lane_id
        )
        select lane.service, lane.role, lane.shard, lane.tenant, count(*) as due
        from placed join cogo.lanes as lane on lane.id = placed.lane_id
        group by lane.id
    loop
        v_count := v_count + v_lane.due;
        perform cogo.ring(v_lane.service, v_lane.role, v_lane.shard, v_lane.tenant);
    end loop;
    return v_count;
end
$$;
comment on function cogo.promote_due(int) is 'Moves delayed messages whose time has come to where they can be claimed.';

-- Leases up to p_limit messages of the given lanes, each lane up to its quota, in the order the lanes are named.
create function cogo.take(
    p_worker text, p_lease uuid, p_lease_time interval, p_limited boolean,
    p_lanes int[], p_after bigint[], p_quota int, p_limit int, out ids bigint[], out lanes int[])
-- Not in SQL: the plan of such a function is not kept, and making it takes longer than running it.
language plpgsql set search_path = '' as $$
begin
    with picked as materialized (
        select candidate.place
        from unnest(p_lanes, p_after) with ordinality as lane(id, after, turn)
        cross join lateral (
            select ready.ctid as place from cogo.ready
            where ready.lane_id = lane.id and ready.id > lane.after
                and (ready.expires_at is null or ready.expires_at > now())
            order by ready.id limit p_quota
            -- Skip what others hold instead of waiting: a busy bus must not serialise its workers.
            for update skip locked
        ) as candidate
        limit p_limit
    ),
    gone as (
        delete from cogo.ready where ready.ctid = any (array(select picked.place from picked))
        returning ready.id, ready.lane_id, ready.expires_at, ready.stream
    ),
    leased as (
        insert into cogo.leases (id, lane_id, lease, worker, claimed_at, lease_until, expires_at, stream, limited)
        select gone.id, gone.lane_id, p_lease, p_worker, now(), now() + p_lease_time, gone.expires_at, gone.stream, p_limited from gone
    )
    select coalesce(array_agg(gone.id), '{}'), coalesce(array_agg(gone.lane_id), '{}') into ids, lanes from gone;
end
$$;
comment on function cogo.take(text, uuid, interval, boolean, int[], bigint[], int, int) is 'Moves messages from ready to leases; no two callers get the same one.';

-- Claims left in a token bucket that holds one second's worth, after taking p_spend from it.
create function cogo.meter(p_service text, p_role text, p_tenant text, p_rate double precision, p_spend int) returns double precision
language sql volatile as $$
    insert into cogo.meters as meter (service, role, tenant, tokens, filled_at)
    values (p_service, p_role, p_tenant, greatest(p_rate, 1) - p_spend, clock_timestamp())
    on conflict (service, role, tenant) do update set
        tokens = least(greatest(p_rate, 1), meter.tokens + p_rate * extract(epoch from clock_timestamp() - meter.filled_at)::float8) - p_spend,
        filled_at = clock_timestamp()
    returning tokens
$$;
comment on function cogo.meter(text, text, text, double precision, int) is 'Refills and reads a route''s token bucket.';

-- The exact way, for stages with limits: one claimer at a time, one lane at a time, counting what is out.
create function cogo.take_within_limits(
    p_worker text, p_lease uuid, p_settings public.bus_routes,
    p_lanes int[], p_after bigint[], p_share int, p_limit int, out ids bigint[], out lanes int[])
language plpgsql set search_path = '' as $$
declare
    v_lane record;
    v_stage_room double precision := p_limit;
    v_room double precision;
    v_took record;
begin
    ids := '{}';
    lanes := '{}';
    perform pg_advisory_xact_lock(hashtextextended('cogo limits ' || p_settings.service || '/' || p_settings.role, 0));
    if p_settings.max_in_flight is not null then
        select least(v_stage_room, p_settings.max_in_flight - count(*)) into v_stage_room
        from cogo.leases join cogo.lanes as lane on lane.id = leases.lane_id
        where leases.limited and lane.service = p_settings.service and lane.role = p_settings.role;
    end if;
    if p_settings.rate is not null then
        v_stage_room := least(v_stage_room, floor(cogo.meter(p_settings.service, p_settings.role, '', p_settings.rate, 0)));
    end if;
    for v_lane in
        select lane.id, lane.tenant, given.after from unnest(p_lanes, p_after) with ordinality as given(id, after, turn)
        join cogo.lanes as lane on lane.id = given.id order by given.turn
    loop
        exit when v_stage_room < 1;
        v_room := least(v_stage_room, p_share);
        if p_settings.max_in_flight_per_tenant is not null then
            select least(v_room, p_settings.max_in_flight_per_tenant - count(*)) into v_room
            from cogo.leases join cogo.lanes as lane on lane.id = leases.lane_id
            where leases.limited and lane.service = p_settings.service and lane.role = p_settings.role and lane.tenant = v_lane.tenant;
        end if;
        if p_settings.rate_per_tenant is not null then
            v_room := least(v_room, floor(cogo.meter(p_settings.service, p_settings.role, v_lane.tenant, p_settings.rate_per_tenant, 0)));
        end if;
        continue when v_room < 1;
        v_took := cogo.take(p_worker, p_lease, p_settings.lease, true, array[v_lane.id], array[v_lane.after], v_room::int, v_room::int);
        if cardinality(v_took.ids) > 0 then
            ids := ids || v_took.ids;
            lanes := lanes || v_took.lanes;
            v_stage_room := v_stage_room - cardinality(v_took.ids);
            if p_settings.rate_per_tenant is not null then
                perform cogo.meter(p_settings.service, p_settings.role, v_lane.tenant, p_settings.rate_per_tenant, cardinality(v_took.ids));
            end if;
        end if;
    end loop;
    if p_settings.rate is not null and cardinality(ids) > 0 then
        perform cogo.meter(p_settings.service, p_settings.role, '', p_settings.rate, cardinality(ids));
    end if;
end
$$;
comment on function cogo.take_within_limits(text, uuid, public.bus_routes, int[], bigint[], int, int) is 'cogo.take for stages that limit what is in flight or how fast it goes.';

create function public.bus_claim(
    p_worker text, p_routes text[], p_limit int default 1, p_lanes int[] default null, p_after bigint[] default null)
returns table (
    id bigint, lease uuid, lane int, service text, role text, shard int, tenant text, project_id uuid, trace_id text,
    traceparent text, parent_id bigint, ordering_key text, attempt int, max_attempts int, created_at timestamptz,
    lease_until timestamptz, lease_ms bigint, payload jsonb)
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
-- A plan made while the tables are still empty is kept for minutes: it must be the one that is right when they are full.
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_lease uuid := gen_random_uuid();
    v_route record;
    v_known record;
    v_stage record;
    v_settings public.bus_routes;
    v_limited boolean;
    v_pass int;
    v_took record;
    v_ids bigint[] := '{}';
    v_lanes int[] := '{}';
begin
    if p_limit is null or p_limit not between 1 and 10000 then
        raise exception using errcode = '22023', message = 'p_limit must be from 1 to 10000';
    end if;
    if p_worker is null or p_worker !~ '^[[:print:]]{1,255}$' then
        raise exception using errcode = '22023', message = 'p_worker must be 1 to 255 printable characters';
    end if;
    if exists (select from cogo.later where later.due_at <= now()) then
        perform cogo.promote_due(1000);
    end if;

    -- The everyday case, one route with one lane and no limits, without the shares and turns that many need.
    if cardinality(p_routes) = 1 then
        v_route := cogo.parse_route(p_routes[1]);
        select count(*) as lanes, min(known.id) as lane, bool_or(known.special) as special, min(known.lease) as lease,
            min(known.max_attempts) as max_attempts, min(known.shard) as shard, min(known.tenant) as tenant
        into v_known
        from (
            select lane.id, lane.shard, lane.tenant, settings.lease, settings.max_attempts,
                settings.paused or num_nonnulls(settings.max_in_flight, settings.max_in_flight_per_tenant, settings.rate, settings.rate_per_tenant) > 0 as special
            from cogo.lanes as lane
            left join public.bus_routes as settings on settings.service = v_route.service and settings.role = v_route.role
            where lane.service = v_route.service and lane.role = v_route.role
                and (v_route.shard is null or lane.shard = v_route.shard) and (v_route.tenant is null or lane.tenant = v_route.tenant)
            limit 2
        ) as known;
        if v_known.lanes = 0 then
            return;
        elsif v_known.lanes = 1 and not coalesce(v_known.special, false) then
            return query
            with gone as (
                delete from cogo.ready where ready.ctid = any (array(
                    select candidate.ctid from cogo.ready as candidate
                    where candidate.lane_id = v_known.lane
                        and candidate.id > case when p_lanes[1] = v_known.lane then p_after[1] else 0 end
                        and (candidate.expires_at is null or candidate.expires_at > now())
                    order by candidate.id limit p_limit
                    -- Skip what others hold instead of waiting: a busy bus must not serialise its workers.
                    for update skip locked))
                returning ready.id, ready.expires_at, ready.stream
            ),
            leased as (
                insert into cogo.leases (id, lane_id, lease, worker, claimed_at, lease_until, expires_at, stream)
                select gone.id, v_known.lane, v_lease, p_worker, now(), now() + coalesce(v_known.lease, '30 s'), gone.expires_at, gone.stream from gone
            )
            select message.id, v_lease, v_known.lane, message.service, message.role, message.shard, message.tenant, message.project_id,
                message.trace_id, message.traceparent, message.parent_id, message.ordering_key, message.attempts + 1,
                coalesce(message.max_attempts, v_known.max_attempts, 3), message.created_at,
                now() + coalesce(v_known.lease, '30 s'),
                (1000 * extract(epoch from coalesce(v_known.lease, '30 s')))::bigint, message.payload
            from gone join cogo.agent_messages as message on message.id = gone.id
            order by message.id;
            get diagnostics v_pass = row_count;
            if v_pass >= p_limit then
                perform cogo.ring(v_route.service, v_route.role, null, null, p_worker);
            end if;
            return;
        end if;
    end if;

    for v_stage in
        with known as (
            select distinct on (lane.id) lane.*, coalesce(cursor.after, 0) as after
            from unnest(p_routes) as wanted(route)
            cross join lateral cogo.parse_route(wanted.route) as route
            join cogo.lanes as lane on lane.service = route.service and lane.role = route.role
                and (route.shard is null or lane.shard = route.shard) and (route.tenant is null or lane.tenant = route.tenant)
            left join unnest(p_lanes, p_after) as cursor(lane, after) on cursor.lane = lane.id
        ),
        live as (
            -- Of a tenant's priorities the highest comes first; tenants take turns by chance.
            select known.*, random() as luck,
                rank() over (partition by known.service, known.role, known.shard, known.tenant order by known.priority desc) = 1 as first
            from known
            where exists (select from cogo.ready where ready.lane_id = known.id and ready.id > known.after)
        )
        select live.service, live.role, count(*) filter (where live.first)::int as firsts,
            array_agg(live.id order by live.first desc, live.priority desc, live.luck) as lanes,
            array_agg(live.after order by live.first desc, live.priority desc, live.luck) as after
        from live group by live.service, live.role order by random()
    loop
        exit when cardinality(v_ids) >= p_limit;
        select settings.* into v_settings from public.bus_routes as settings
        where settings.service = v_stage.service and settings.role = v_stage.role;
        continue when v_settings.paused;
        v_limited := v_settings.max_in_flight is not null or v_settings.max_in_flight_per_tenant is not null
            or v_settings.rate is not null or v_settings.rate_per_tenant is not null;
        -- First a fair share for every tenant, then whatever room is left to those with more.
        for v_pass in 1..2 loop
            if v_limited then
                v_took := cogo.take_within_limits(p_worker, v_lease, v_settings,
                    case v_pass when 1 then v_stage.lanes[:v_stage.firsts] else v_stage.lanes end,
                    case v_pass when 1 then v_stage.after[:v_stage.firsts] else v_stage.after end,
                    case v_pass when 1 then (p_limit - cardinality(v_ids) + v_stage.firsts - 1) / v_stage.firsts else p_limit end,
                    p_limit - cardinality(v_ids));
            else
                v_took := cogo.take(p_worker, v_lease, coalesce(v_settings.lease, '30 s'), null,
                    case v_pass when 1 then v_stage.lanes[:v_stage.firsts] else v_stage.lanes end,
                    case v_pass when 1 then v_stage.after[:v_stage.firsts] else v_stage.after end,
                    case v_pass when 1 then (p_limit - cardinality(v_ids) + v_stage.firsts - 1) / v_stage.firsts else p_limit end,
                    p_limit - cardinality(v_ids));
            end if;
            v_ids := v_ids || v_took.ids;
            v_lanes := v_lanes || v_took.lanes;
            exit when cardinality(v_ids) >= p_limit or cardinality(v_stage.lanes) = 1;
        end loop;
        -- A full claim probably leaves work behind: wake the next sleeper.
        if cardinality(v_ids) >= p_limit then
            perform cogo.ring(v_stage.service, v_stage.role, null, null, p_worker);
        end if;
    end loop;

    if cardinality(v_ids) > 0 then
        return query
        select message.id, v_lease, taken.lane, message.service, message.role, message.shard, message.tenant, message.project_id,
            message.trace_id, message.traceparent, message.parent_id, message.ordering_key, message.attempts + 1,
            coalesce(message.max_attempts, settings.max_attempts, 3), message.created_at,
            now() + coalesce(settings.lease, '30 s'),
            (1000 * extract(epoch from coalesce(settings.lease, '30 s')))::bigint, message.payload
        from unnest(v_ids, v_lanes) as taken(id, lane)
        join cogo.agent_messages as message on message.id = taken.id
        left join public.bus_routes as settings on settings.service = message.service and settings.role = message.role
        order by message.priority desc, message.id;
    end if;
end
$$;
comment on function public.bus_claim(text, text[], int, int[], bigint[]) is
    'Leases up to p_limit messages of the routes to a worker, fairly by tenant. p_lanes and p_after are where the worker last left off in a '
    'lane: what lies before is not looked at, which keeps a claim quick when dead rows cannot be vacuumed. Look without them now and then.';

-- Lies down to sleep, to be rung on a channel of NOTIFY or, with `realtime`, on the private topic of each route. Null: somebody is publishing to one of the stages at this moment; look again, then try again.
-- Otherwise look once more and then sleep for at most the milliseconds answered.
create function public.bus_park(p_worker text, p_channel text, p_routes text[], p_ms int) returns int
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
    v_stage record;
    v_wait double precision := p_ms;
begin
    if p_ms is null or p_ms not between 1 and 86400000 then
        raise exception using errcode = '22023', message = 'p_ms must be from 1 to 86400000';
    end if;
    -- Not waited for: those who wait for an exclusive lock hold up every new producer behind them.
    for v_stage in
        select distinct route.service, route.role from unnest(p_routes) as wanted(route)
        cross join lateral cogo.parse_route(wanted.route) as route
    loop
        if not pg_try_advisory_xact_lock(cogo.stage_lock(v_stage.service, v_stage.role)) then
            return null;
        end if;
    end loop;

    insert into cogo.parked (service, role, shard, tenant, worker, channel, until)
    select distinct route.service, route.role, coalesce(route.shard, -1), coalesce(route.tenant, ''), p_worker,
        case p_channel when 'realtime' then 'realtime:route:' || concat_ws('/', route.service, route.role, route.tenant) else p_channel end,
        clock_timestamp() + (p_ms + 5000) * interval '1 ms'
    from unnest(p_routes) as wanted(route) cross join lateral cogo.parse_route(wanted.route) as route
    on conflict (worker, service, role, shard, tenant) do update set until = excluded.until, channel = excluded.channel, rung_at = null;

    -- Sooner than asked: for the next delayed message, or where a limit, and not the lack of work, gave us nothing.
    select least(
            v_wait,
            1000 * extract(epoch from min(next.due_at) - clock_timestamp())::float8,
            case when bool_or(
                (settings.max_in_flight is not null or settings.max_in_flight_per_tenant is not null
                    or settings.rate is not null or settings.rate_per_tenant is not null)
                and not settings.paused
                and exists (select from cogo.ready where ready.lane_id = lane.id)) then 100 end)
    into v_wait
    from unnest(p_routes) as wanted(route)
    cross join lateral cogo.parse_route(wanted.route) as route
    join cogo.lanes as lane on lane.service = route.service and lane.role = route.role
        and (route.shard is null or lane.shard = route.shard) and (route.tenant is null or lane.tenant = route.tenant)
    left join public.bus_routes as settings on settings.service = lane.service and settings.role = lane.role
    left join lateral (
        select later.due_at from cogo.later where later.lane_id = lane.id order by later.due_at limit 1
    ) as next on true;
    return greatest(1, ceil(coalesce(v_wait, p_ms)));
end
$$;
comment on function public.bus_park(text, text, text[], int) is
    'Notes that a worker sleeps, so that a producer rings it; answers how long it may. Null: not now, look again first.';

-- For whoever pays for every call, as over REST: one call a ring. A worker that found less than it asked for lies down in
-- the same transaction, with room for more; the lock that it takes for that makes the second look final.
create function public.bus_claim_or_park(
    p_worker text, p_routes text[], p_limit int, p_channel text, p_ms int, p_lanes int[] default null, p_after bigint[] default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_leases jsonb;
    v_more jsonb;
    v_wait int;
begin
    -- A claim that a crash forgets is only made again, so its commit need not wait for the disk. Who calls this comes through
    -- the API, and has no connection to say that on.
    perform set_config('synchronous_commit', 'off', true);
    select coalesce(jsonb_agg(to_jsonb(claimed)), '[]') into v_leases
    from public.bus_claim(p_worker, p_routes, p_limit, p_lanes, p_after) as claimed;
    if jsonb_array_length(v_leases) < p_limit then
        v_wait := public.bus_park(p_worker, p_channel, p_routes, p_ms);
        select coalesce(jsonb_agg(to_jsonb(claimed)), '[]') into v_more
        from public.bus_claim(p_worker, p_routes, p_limit - jsonb_array_length(v_leases)) as claimed;
        v_leases := v_leases || v_more;
    end if;
    if jsonb_array_length(v_leases) >= p_limit then
        perform public.bus_unpark(p_worker);
        v_wait := null;
    end if;
    return jsonb_build_object('leases', v_leases, 'wait_ms', v_wait);
end
$$;
comment on function public.bus_claim_or_park(text, text[], int, text, int, int[], bigint[]) is
    'Leases up to p_limit messages and, if there are fewer, notes that the worker sleeps with hands free. wait_ms says how long it may; '
    'null: it does not sleep, because it got all it asked for, or because somebody is publishing at this moment.';

create function public.bus_unpark(p_worker text) returns void
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
    delete from cogo.parked where parked.worker = p_worker;
end
$$;
comment on function public.bus_unpark(text) is 'The worker is awake; nobody needs to ring it.';

-- For a worker that was rung while all its hands were full.
create function public.bus_ring(p_worker text, p_routes text[]) returns void
language plpgsql security definer set search_path = '' as $$
begin
    perform cogo.ring(route.service, route.role, route.shard, route.tenant, p_worker)
    from unnest(p_routes) as wanted(route) cross join lateral cogo.parse_route(wanted.route) as route;
end
$$;
comment on function public.bus_ring(text, text[]) is 'Wakes one other worker that sleeps on each of the routes.';

-- Prolongs what is still held. A message that does not come back is lost: another may have it by now.
create function public.bus_renew(p_worker text, p_ids bigint[], p_leases uuid[])
returns table (id bigint, lease_until timestamptz, lease_ms bigint, cancel_requested boolean)
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
-- As in bus_claim: beside a held snapshot leases is full of dead rows, and statistics say that it is empty.
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v_now timestamptz := clock_timestamp();
    v_renewed int;
begin
    return query
    update cogo.leases set lease_until = v_now + coalesce(settings.lease, '30 s')
    from cogo.lanes as lane
    left join public.bus_routes as settings on settings.service = lane.service and settings.role = lane.role
    where lane.id = leases.lane_id and leases.ctid = any (array(
        select held.ctid from unnest(p_ids, p_leases) as given(id, lease)
        join cogo.leases as held on held.id = given.id and held.lease = given.lease
        -- What is locked is being settled at this moment, by ourselves; it is answered below, unchanged.
        for update of held skip locked))
    -- In milliseconds too: the worker's clock may be wrong, so it only measures from now.
    returning leases.id, leases.lease_until, (1000 * extract(epoch from leases.lease_until - v_now))::bigint,
        coalesce(leases.cancel_requested, false);
    get diagnostics v_renewed = row_count;
    if v_renewed < cardinality(p_ids) then
        -- Ours are told apart by the moment: comparing thousands of ids with thousands would take seconds.
        return query
        select leases.id, leases.lease_until, (1000 * extract(epoch from leases.lease_until - v_now))::bigint,
            coalesce(leases.cancel_requested, false)
        from unnest(p_ids, p_leases) as given(id, lease)
        join cogo.leases on leases.id = given.id and leases.lease = given.lease
        join cogo.lanes as lane on lane.id = leases.lane_id
        left join public.bus_routes as settings on settings.service = lane.service and settings.role = lane.role
        where leases.lease_until <> v_now + coalesce(settings.lease, '30 s');
    end if;
end
$$;
comment on function public.bus_renew(text, bigint[], uuid[]) is
    'Prolongs the leases a worker holds, all in one call, and tells which it was asked to cancel. Those not answered are lost.';

-- The heartbeat. Unknown fields are refused, so that a misspelt one is not silently without effect.
create function public.bus_beat(p_worker jsonb) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
    v_unknown text;
    v_drain boolean;
begin
    select given.key into v_unknown from jsonb_object_keys(p_worker) as given(key)
    where given.key <> all (array['id', 'agent_name', 'service', 'role', 'shards', 'tenant', 'host', 'pod_uid', 'version',
        'image', 'digest', 'release_id', 'state', 'slots', 'busy', 'started_at']);
    if found then
        raise exception using errcode = '22023', message = format('unknown field `%s` of a worker', v_unknown);
    end if;
    insert into public.workers as known (id, agent_name, service, role, shards, tenant, host, pod_uid, version, image, digest,
        release_id, state, slots, busy, started_at, seen_at)
    select said.id, said.agent_name, said.service, said.role, said.shards, said.tenant, said.host, said.pod_uid, said.version,
        said.image, said.digest, said.release_id, coalesce(said.state, 'starting'), coalesce(said.slots, 0), coalesce(said.busy, 0),
        coalesce(said.started_at, now()), clock_timestamp()
    from jsonb_populate_record(null::public.workers, p_worker) as said
    on conflict (id) do update set
        agent_name = excluded.agent_name, service = excluded.service, role = excluded.role, shards = excluded.shards,
        tenant = excluded.tenant, host = excluded.host, pod_uid = excluded.pod_uid, version = excluded.version,
        image = excluded.image, digest = excluded.digest, release_id = excluded.release_id, state = excluded.state,
        slots = excluded.slots, busy = excluded.busy, seen_at = excluded.seen_at,
        -- A new process under an old name starts with a clean slate.
        drain_requested = known.drain_requested and known.started_at = excluded.started_at,
        started_at = excluded.started_at
    returning known.drain_requested into v_drain;
    if p_worker ->> 'state' = 'gone' then
        perform public.bus_unpark(p_worker ->> 'id');
    end if;
    return v_drain;
end
$$;
comment on function public.bus_beat(jsonb) is 'A worker''s heartbeat; answers whether an operator asked it to drain.';
