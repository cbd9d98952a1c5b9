-- Publishing. Whoever inserts into cogo.agent_messages, through the view, a function or psql, passes the triggers here.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- `codegen/generate/0`, with `*` for any shard and a tenant as an optional fourth part.
create function cogo.parse_route(p_route text, out service text, out role text, out shard int, out tenant text)
language plpgsql immutable set search_path = '' as $$
declare
    v_parts text[] := string_to_array(p_route, '/');
begin
    -- Lengths apart from the pattern: one with counts in it takes Postgres twenty times as long.
    if p_route is null or p_route !~ '^[a-z][a-z0-9-]*/[a-z][a-z0-9-]*/([0-9]{1,10}|\*)(/[A-Za-z0-9][A-Za-z0-9_.:-]*)?$'
        or length(v_parts[1]) > 63 or length(v_parts[2]) > 63 or length(v_parts[4]) > 128
    then
        raise exception using errcode = '22023',
            message = format('`%s` is not a route', left(p_route, 200)),
            hint = 'Write service/role/shard, as in `codegen/generate/0`; `*` means every shard; a tenant may follow.';
    end if;
    service := v_parts[1];
    role := v_parts[2];
    shard := nullif(v_parts[3], '*')::int;
    tenant := v_parts[4];
end
$$;
comment on function cogo.parse_route(text) is 'Splits a route; a shard of null means every shard, a tenant of null every tenant.';

-- Held shared by whoever publishes to a stage until the commit, and exclusively for a moment by a worker that lies
-- down to sleep. So a sleeper has either seen what was published before, or is seen by who publishes after.
create function cogo.stage_lock(p_service text, p_role text) returns bigint
language sql immutable as $$
    select hashtextextended('cogo stage ' || p_service || '/' || p_role, 0)
$$;
comment on function cogo.stage_lock(text, text) is 'The advisory lock between publishing to a stage and falling asleep on it.';

-- Realtime swallows what goes wrong with a broadcast, and so may we: a lost ring costs time and never a message.
create function cogo.broadcast(p_topic text, p_event text, p_payload jsonb) returns void
language plpgsql set search_path = '' as $$
begin
    if to_regprocedure('realtime.send(jsonb,text,text,boolean)') is not null then
        execute 'select realtime.send($1, $2, $3, true)' using p_payload, p_event, p_topic;
    end if;
end
$$;
comment on function cogo.broadcast(text, text, jsonb) is 'Sends to a private topic of Realtime, where there is one.';

-- Wakes one sleeper on a route (or all). A row that is rung stays until its worker removes it: deleting it here would
-- silence other producers, and if this transaction then rolled back, their messages would wait for the slow poll.
create function cogo.ring(p_service text, p_role text, p_shard int, p_tenant text, p_except text default null, p_all boolean default false)
returns void
language plpgsql set search_path = '' as $$
declare
    v_route text := p_service || '/' || p_role || '/' || coalesce(p_shard::text, '*');
    v_sleeper record;
begin
    for v_sleeper in
        select parked.channel, min(parked.worker) as worker from cogo.parked
        where parked.service = p_service and parked.role = p_role
            and (p_shard is null or parked.shard in (-1, p_shard))
            and (p_tenant is null or parked.tenant in ('', p_tenant))
            -- Not now(): a transaction may have been open for long, and the dead must not be rung.
            and parked.until > clock_timestamp()
            and parked.worker is distinct from p_except
            -- Realtime counts every message, and drops what is too many: whoever was just rung there need not be again.
            and (p_all or parked.rung_at is null or parked.rung_at < clock_timestamp() - interval '1 s')
        -- A topic is shared: all who listen there are woken by one message.
        group by parked.channel, case when not p_all then parked.worker end
        -- By chance, so that one dead or stopped worker does not swallow every ring.
        order by random()
        limit case when p_all then null else 1 end
    loop
        if not starts_with(v_sleeper.channel, 'realtime:') then
            perform pg_notify(v_sleeper.channel, v_route);
            continue;
        end if;
        if not p_all then
            -- Whoever holds the row is ringing the same sleeper at this moment.
            update cogo.parked set rung_at = clock_timestamp() where parked.ctid = any (array(
                select rung.ctid from cogo.parked as rung
                where rung.worker = v_sleeper.worker and rung.service = p_service and rung.role = p_role
                for update skip locked));
            continue when not found;
        end if;
        perform cogo.broadcast(substr(v_sleeper.channel, 10), 'ring',
            jsonb_build_object('route', v_route, 'worker', case when not p_all then v_sleeper.worker end));
    end loop;
end
$$;
comment on function cogo.ring(text, text, int, text, text, boolean) is 'Wakes one parked worker of a route, or all of them, where each listens.';

-- For a transaction whose snapshot is older than the lock: it cannot see who has fallen asleep since.
create function cogo.ring_everybody(p_service text, p_role text, p_shard int, p_tenant text) returns void
language plpgsql set search_path = '' as $$
declare
    v_route text := p_service || '/' || p_role || '/' || coalesce(p_shard::text, '*');
begin
    perform pg_notify('cogo_all', v_route);
    perform cogo.broadcast('route:' || p_service || '/' || p_role, 'ring', jsonb_build_object('route', v_route));
    if p_tenant is not null then
        perform cogo.broadcast('route:' || p_service || '/' || p_role || '/' || p_tenant, 'ring', jsonb_build_object('route', v_route));
    end if;
end
$$;
comment on function cogo.ring_everybody(text, text, int, text) is 'Wakes whoever listens for a route, asleep or not.';

-- The worker asks what was cancelled, and whether it is to drain, with its next renewal; a call makes it ask now.
create function cogo.call_worker(p_worker text) returns void
language plpgsql set search_path = '' as $$
begin
    perform pg_notify('cogo_cancel', p_worker);
    perform cogo.broadcast('worker:' || p_worker, 'call', '{}');
end
$$;
comment on function cogo.call_worker(text) is 'Has a worker ask at once what was cancelled and whether it is to drain.';

create function cogo.stream_of(p_service text, p_role text, p_shard int, p_tenant text, p_key text) returns bigint
language sql immutable as $$
    select hashtextextended(p_service || '/' || p_role || '/' || p_shard || '/' || p_tenant || '/' || p_key, 0)
$$;
comment on function cogo.stream_of(text, text, int, text, text) is 'The number under which an ordering key is known.';

-- The producer's side of falling asleep: lock before looking (see cogo.stage_lock). A transaction with an older snapshot
-- than its lock cannot see who has fallen asleep since, so it wakes everybody.
create function cogo.ring_for_new(p_service text, p_role text, p_shard int, p_tenant text) returns void
language plpgsql set search_path = '' as $$
begin
    perform pg_advisory_xact_lock_shared(cogo.stage_lock(p_service, p_role));
    if current_setting('transaction_isolation') <> 'read committed' then
        perform cogo.ring_everybody(p_service, p_role, p_shard, p_tenant);
    elsif exists (select from cogo.parked where parked.service = p_service and parked.role = p_role) then
        perform cogo.ring(p_service, p_role, p_shard, p_tenant);
    end if;
end
$$;
comment on function cogo.ring_for_new(text, text, int, text) is 'Rings for messages that the current transaction has inserted.';

-- As the Rust parser has it: a message that only one of them accepts would stop every worker that claims it.
create function cogo.is_traceparent(p_text text) returns boolean
language sql immutable as $$
    select p_text ~ '^(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|(?!00|ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?)$'
        and substr(p_text, 4, 32) <> repeat('0', 32) and substr(p_text, 37, 16) <> repeat('0', 16)
$$;
comment on function cogo.is_traceparent(text) is 'Whether a text is a W3C trace context. Null of null.';

-- Not [[:print:]]: in the collation of these columns nothing beyond ASCII is printable.
create function cogo.is_key(p_text text) returns boolean
language sql immutable as $$
    select p_text ~ '^[^[:cntrl:]]{1,255}$'
$$;
comment on function cogo.is_key(text) is 'Whether a text may be an idempotency or ordering key. Null of null.';

-- Puts new messages where they can be claimed, and rings.
-- Looked at for every message, so without counts, which cost Postgres twenty times as much; and one expression without
-- a search_path of its own, so that it becomes part of the statement.
create function cogo.may_hold_a_secret(p_payload jsonb) returns boolean
language sql immutable as $$
    select p_payload::text ~ 'gh[opsur]_|github_pat_|glpat-|xox[abeprs]-|AKIA|ASIA|AIza|PRIVATE KEY|eyJ|sk-|hv[sb]\.|dckr_pat_|npm_|sb_secret_|sbp_|[sr]k_live_'
$$;
comment on function cogo.may_hold_a_secret(jsonb) is 'Whether it is worth looking closely.';

create function cogo.secret_in(p_payload jsonb) returns text
language sql immutable set search_path = '' as $$
    select kind from (values
        ('a GitHub token', '\m(gh[opsur]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9_]{30})'),
        ('a GitLab token', '\mglpat-[A-Za-z0-9_-]{20}'),
        ('a Slack token', '\mxox[abeprs]-[A-Za-z0-9-]{20}'),
        ('an AWS access key', '\m(AKIA|ASIA)[A-Z0-9]{16}\M'),
        ('a Google API key', '\mAIza[A-Za-z0-9_-]{35}'),
        ('a private key', '-----BEGIN [A-Z ]*PRIVATE KEY-----'),
        ('a signed token (JWT)', '\meyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20}'),
        ('an API key of a model', '\msk-(ant-|proj-|svcacct-)?[A-Za-z0-9_-]{32}'),
        ('a Vault token', '\mhv[sb]\.[A-Za-z0-9_-]{20}'),
        ('a Docker Hub token', '\mdckr_pat_[A-Za-z0-9_-]{20}'),
        ('an npm token', '\mnpm_[A-Za-z0-9]{36}'),
        ('a Supabase key', '\m(sb_secret_[A-Za-z0-9_-]{20}|sbp_[a-f0-9]{40})'),
        ('a Stripe key', '\m[sr]k_live_[A-Za-z0-9]{20}')
    ) as shape(kind, pattern)
    where p_payload::text ~ pattern limit 1
$$;
comment on function cogo.secret_in(jsonb) is 'What a payload holds that looks like a secret; null: nothing known.';

create function cogo.enqueue() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_one record;
    v_lane record;
    v_route record;
    v_fault text;
    v_keyed boolean := false;
    v_delayed boolean := false;
    v_ttl boolean := false;
begin
    select fresh.id, fresh.service, fresh.role, fresh.shard, fresh.tenant, lane.id as lane_id,
        fresh.idempotency_key is null and fresh.ordering_key is null and fresh.retry_at is null and fresh.expires_at is null
            and fresh.traceparent is null and fresh.max_attempts is null and fresh.parent_id is null and fresh.replay_of is null
            and length(fresh.trace_id) = 32 and fresh.trace_id ~ '^[0-9a-f]*$' and fresh.trace_id <> repeat('0', 32)
            and settings.ttl is null and pg_column_size(fresh.payload) <= coalesce(settings.max_payload, 1048576)
            and (settings.allow_secrets is true or not cogo.may_hold_a_secret(fresh.payload))
            and not exists (select from fresh as another offset 1) as plain
    into v_one
    from fresh
    left join cogo.lanes as lane on lane.service = fresh.service and lane.role = fresh.role and lane.shard = fresh.shard
        and lane.tenant = fresh.tenant and lane.priority = fresh.priority
    left join public.bus_routes as settings on settings.service = fresh.service and settings.role = fresh.role
    limit 1;
    if not found then
        return null;
    end if;

    -- The everyday case, one plain message on a known lane, without the joins that many need.
    if v_one.plain and v_one.lane_id is not null then
        insert into cogo.ready (lane_id, id) values (v_one.lane_id, v_one.id);
        perform cogo.ring_for_new(v_one.service, v_one.role, v_one.shard, v_one.tenant);
        return null;
    end if;

    select case
        -- First, because trace_id was taken from it.
        when not cogo.is_traceparent(fresh.traceparent) then 'traceparent must be a W3C trace context'
        when fresh.trace_id !~ '^[0-9a-f]{32}$' or fresh.trace_id = repeat('0', 32) then 'trace_id must be 32 lower-case hex digits, not all zero'
        when fresh.parent_id <= 0 then 'parent_id must be a message id'
        when fresh.replay_of <= 0 then 'replay_of must be a message id'
        when not cogo.is_key(fresh.idempotency_key) then 'idempotency_key must be 1 to 255 characters, none of them a control character'
        when not cogo.is_key(fresh.ordering_key) then 'ordering_key must be 1 to 255 characters, none of them a control character'
        when fresh.max_attempts not between 1 and 1000 then 'max_attempts must be from 1 to 1000'
        when fresh.retry_at not between '0001-01-01' and '9999-12-31' then 'retry_at must be a time in the years 1 to 9999'
        when fresh.expires_at <= fresh.created_at or fresh.expires_at > '9999-12-31'
            then 'expires_at must be in the future, and before the year 10000'
    end into v_fault
    from fresh
    where length(fresh.trace_id) <> 32 or fresh.trace_id !~ '^[0-9a-f]*$' or fresh.trace_id = repeat('0', 32)
        or not cogo.is_traceparent(fresh.traceparent) or fresh.parent_id <= 0 or fresh.replay_of <= 0
        or not cogo.is_key(fresh.idempotency_key) or not cogo.is_key(fresh.ordering_key)
        or fresh.max_attempts not between 1 and 1000 or fresh.expires_at <= fresh.created_at
        -- Postgres knows times, such as infinity, that hardly any reader does.
        or fresh.expires_at > '9999-12-31' or fresh.retry_at not between '0001-01-01' and '9999-12-31'
    limit 1;
    if found then
        raise exception using errcode = '22023', message = v_fault, hint = 'Nothing was published. Correct the field and publish again.';
    end if;

    for v_route in
        select fresh.service, fresh.role, fresh.shard, fresh.tenant, fresh.priority, lane.id as lane_id,
            coalesce(settings.max_payload, 1048576) as allowed, max(pg_column_size(fresh.payload)) as largest,
            bool_or(fresh.ordering_key is not null) as keyed, bool_or(fresh.retry_at is not null) as delayed,
            settings.ttl is not null as ttl,
            settings.allow_secrets is not true and bool_or(cogo.may_hold_a_secret(fresh.payload)) as suspicious
        from fresh
        left join cogo.lanes as lane on lane.service = fresh.service and lane.role = fresh.role and lane.shard = fresh.shard
            and lane.tenant = fresh.tenant and lane.priority = fresh.priority
        left join public.bus_routes as settings on settings.service = fresh.service and settings.role = fresh.role
        group by fresh.service, fresh.role, fresh.shard, fresh.tenant, fresh.priority, lane.id, settings.max_payload, settings.ttl,
            settings.allow_secrets
        -- Always in this order, so that two producers cannot wait for each other.
        order by 1, 2, 3, 4, 5
    loop
        if v_route.largest > v_route.allowed then
            raise exception using errcode = '22023',
                message = format('payload is too large: %s bytes, and %s/%s takes %s',
                    v_route.largest, v_route.service, v_route.role, v_route.allowed),
                hint = 'Store it elsewhere and send where it is, or raise max_payload of the stage in bus_routes.';
        end if;
        if v_route.suspicious then
            select cogo.secret_in(fresh.payload) into v_fault from fresh
            where fresh.service = v_route.service and fresh.role = v_route.role and cogo.may_hold_a_secret(fresh.payload)
                and cogo.secret_in(fresh.payload) is not null limit 1;
            if found then
                raise exception using errcode = '22023',
                    message = format('the payload for %s/%s holds what looks like %s', v_route.service, v_route.role, v_fault),
                    hint = 'Send a reference, as in vault:<mount>/<path>#<field>, and let the worker resolve it; or set allow_secrets of the stage in bus_routes.';
            end if;
        end if;
        if v_route.lane_id is null then
            insert into cogo.lanes (service, role, shard, tenant, priority)
            values (v_route.service, v_route.role, v_route.shard, v_route.tenant, v_route.priority)
            on conflict do nothing;
        end if;
        v_keyed := v_keyed or v_route.keyed;
        v_delayed := v_delayed or v_route.delayed;
        v_ttl := v_ttl or v_route.ttl;
    end loop;

    if v_ttl then
        update cogo.agent_messages as message set expires_at = message.created_at + settings.ttl
        from fresh join public.bus_routes as settings on settings.service = fresh.service and settings.role = fresh.role
        where message.id = fresh.id and fresh.expires_at is null and settings.ttl is not null;
    end if;

    insert into cogo.ready (lane_id, id, expires_at)
    select lane.id, fresh.id, coalesce(fresh.expires_at, fresh.created_at + settings.ttl)
    from fresh
    join cogo.lanes as lane on lane.service = fresh.service and lane.role = fresh.role and lane.shard = fresh.shard
        and lane.tenant = fresh.tenant and lane.priority = fresh.priority
    left join public.bus_routes as settings on settings.service = fresh.service and settings.role = fresh.role
    where fresh.ordering_key is null and (fresh.retry_at is null or fresh.retry_at <= now());

    if v_delayed then
        insert into cogo.later (id, lane_id, due_at, expires_at)
        select fresh.id, lane.id, fresh.retry_at, coalesce(fresh.expires_at, fresh.created_at + settings.ttl)
        from fresh
        join cogo.lanes as lane on lane.service = fresh.service and lane.role = fresh.role and lane.shard = fresh.shard
            and lane.tenant = fresh.tenant and lane.priority = fresh.priority
        left join public.bus_routes as settings on settings.service = fresh.service and settings.role = fresh.role
        where fresh.ordering_key is null and fresh.retry_at > now();
    end if;

    if v_keyed then
        for v_lane in
            select fresh.id, lane.id as lane_id, fresh.retry_at, coalesce(fresh.expires_at, fresh.created_at + settings.ttl) as expires_at,
                cogo.stream_of(fresh.service, fresh.role, fresh.shard, fresh.tenant, fresh.ordering_key) as stream
            from fresh
            join cogo.lanes as lane on lane.service = fresh.service and lane.role = fresh.role and lane.shard = fresh.shard
                and lane.tenant = fresh.tenant and lane.priority = fresh.priority
            left join public.bus_routes as settings on settings.service = fresh.service and settings.role = fresh.role
            where fresh.ordering_key is not null
            order by stream, fresh.id
        loop
            perform pg_advisory_xact_lock(v_lane.stream);
            insert into cogo.ordered (stream, id, lane_id, due_at, expires_at)
            values (v_lane.stream, v_lane.id, v_lane.lane_id, v_lane.retry_at, v_lane.expires_at);
            perform cogo.place_head(v_lane.stream);
        end loop;
    end if;

    for v_route in select distinct fresh.service, fresh.role, fresh.shard, fresh.tenant from fresh order by 1, 2, 3, 4 loop
        perform cogo.ring_for_new(v_route.service, v_route.role, v_route.shard, v_route.tenant);
    end loop;
    return null;
end
$$;
comment on function cogo.enqueue() is 'Makes new messages claimable and rings for a sleeping worker, in the producer''s own transaction.';

-- Gives the first message of a stream its turn, unless one has it. The caller holds the stream's lock.
create function cogo.place_head(p_stream bigint) returns void
language plpgsql set search_path = '' as $$
declare
    v_head cogo.ordered;
begin
    if exists (select from cogo.ordered where ordered.stream = p_stream and ordered.placed) then
        return;
    end if;
    update cogo.ordered set placed = true
    where ordered.stream = p_stream
        and ordered.id = (select min(waiting.id) from cogo.ordered as waiting where waiting.stream = p_stream)
    returning * into v_head;
    if v_head.due_at > now() then
        insert into cogo.later (id, lane_id, due_at, expires_at, stream)
        values (v_head.id, v_head.lane_id, v_head.due_at, v_head.expires_at, p_stream);
    elsif v_head.id is not null then
        insert into cogo.ready (lane_id, id, expires_at, stream)
        values (v_head.lane_id, v_head.id, v_head.expires_at, p_stream);
    end if;
end
$$;
comment on function cogo.place_head(bigint) is 'Gives the next message of an ordering key its turn.';

create trigger enqueue after insert on cogo.agent_messages
    referencing new table as fresh for each statement execute function cogo.enqueue();

-- A message that comes with a W3C trace context belongs to that trace.
create function cogo.adopt_trace() returns trigger
language plpgsql set search_path = '' as $$
begin
    new.trace_id := substr(new.traceparent, 4, 32);
    return new;
end
$$;
comment on function cogo.adopt_trace() is 'Takes trace_id from traceparent.';
create trigger adopt_trace before insert on cogo.agent_messages
    for each row when (new.traceparent is not null) execute function cogo.adopt_trace();

-- Nothing may point to a message that is gone, no matter who deleted it.
create function cogo.forget() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    delete from cogo.receipts using gone where receipts.id = gone.id;
    delete from cogo.leases using gone where leases.id = gone.id;
    delete from cogo.later using gone where later.id = gone.id;
    delete from cogo.ready using gone join cogo.lanes as lane on lane.service = gone.service and lane.role = gone.role
        and lane.shard = gone.shard and lane.tenant = gone.tenant and lane.priority = gone.priority
        where ready.lane_id = lane.id and ready.id = gone.id;
    perform cogo.leave_streams(array(
        select cogo.stream_of(gone.service, gone.role, gone.shard, gone.tenant, gone.ordering_key) from gone
        where gone.ordering_key is not null and exists (
            select from cogo.ordered where ordered.id = gone.id
                and ordered.stream = cogo.stream_of(gone.service, gone.role, gone.shard, gone.tenant, gone.ordering_key))),
        array(select gone.id from gone));
    return null;
end
$$;
comment on function cogo.forget() is 'Removes the state of deleted messages.';
create trigger forget after delete on cogo.agent_messages
    referencing old table as gone for each statement execute function cogo.forget();

-- Takes finished messages out of their streams and lets the next ones move up.
create function cogo.leave_streams(p_streams bigint[], p_ids bigint[]) returns void
language plpgsql set search_path = '' as $$
declare
    v_stream bigint;
begin
    for v_stream in select distinct stream from unnest(p_streams) as left_behind(stream) where stream is not null order by 1 loop
        perform pg_advisory_xact_lock(v_stream);
        delete from cogo.ordered where ordered.stream = v_stream and ordered.id = any(p_ids);
        perform cogo.place_head(v_stream);
        -- To whoever is falling asleep at this moment, it is as good as a new message.
        perform cogo.ring_for_new(lane.service, lane.role, lane.shard, lane.tenant)
        from cogo.ordered join cogo.lanes as lane on lane.id = ordered.lane_id
        where ordered.stream = v_stream order by ordered.id limit 1;
    end loop;
end
$$;
comment on function cogo.leave_streams(bigint[], bigint[]) is 'Removes finished messages from their ordering keys and places the next.';

-- What is wrong with a message in JSON, or null.
create function cogo.message_fault(p_message jsonb) returns text
language sql stable as $$
    select case
        when jsonb_typeof(p_message) <> 'object' then 'must be an object with service, role and payload'
        when exists (select from jsonb_object_keys(p_message) as given(key) where key <> all (array[
            'service', 'role', 'shard', 'tenant', 'project_id', 'trace_id', 'parent_id', 'idempotency_key', 'ordering_key', 'priority',
            'payload', 'traceparent', 'max_attempts', 'retry_at', 'delay_ms', 'expires_at', 'ttl_ms']))
        then (select format('unknown field `%s`; known are service, role, shard, tenant, project_id, trace_id, parent_id, idempotency_key, '
            'ordering_key, priority, payload, traceparent, max_attempts, retry_at, delay_ms, expires_at, ttl_ms', left(key, 100))
            from jsonb_object_keys(p_message) as given(key) where key <> all (array[
            'service', 'role', 'shard', 'tenant', 'project_id', 'trace_id', 'parent_id', 'idempotency_key', 'ordering_key', 'priority',
            'payload', 'traceparent', 'max_attempts', 'retry_at', 'delay_ms', 'expires_at', 'ttl_ms']) limit 1)
        when p_message ->> 'service' is null or p_message ->> 'service' !~ '^[a-z][a-z0-9-]{0,62}$' then
            'service must be a word of a-z, 0-9 and `-`, beginning with a letter'
        when p_message ->> 'role' is null or p_message ->> 'role' !~ '^[a-z][a-z0-9-]{0,62}$' then
            'role must be a word of a-z, 0-9 and `-`, beginning with a letter'
        when p_message ->> 'shard' !~ '^[0-9]{1,10}$' or (p_message ->> 'shard')::bigint > 2147483647 then 'shard must be a whole number from 0 to 2147483647'
        when p_message ->> 'tenant' !~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$' then
            'tenant must be 1 to 128 letters, digits or `_.:-`, beginning with a letter or digit'
        when p_message ->> 'priority' !~ '^-?[0-9]{1,5}$' or abs((p_message ->> 'priority')::int) > 32767
            then 'priority must be a whole number from -32767 to 32767'
        when p_message ->> 'trace_id' !~ '^[0-9a-f]{32}$' or p_message ->> 'trace_id' = repeat('0', 32)
            then 'trace_id must be 32 lower-case hex digits, not all zero'
        when not cogo.is_traceparent(p_message ->> 'traceparent') then 'traceparent must be a W3C trace context'
        when p_message ->> 'project_id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then 'project_id must be a uuid'
        when p_message ->> 'parent_id' !~ '^[1-9][0-9]{0,17}$' then 'parent_id must be a message id'
        when not cogo.is_key(p_message ->> 'idempotency_key')
            then 'idempotency_key must be 1 to 255 characters, none of them a control character'
        when not cogo.is_key(p_message ->> 'ordering_key')
            then 'ordering_key must be 1 to 255 characters, none of them a control character'
        when p_message ->> 'max_attempts' !~ '^([1-9][0-9]{0,2}|1000)$' then 'max_attempts must be from 1 to 1000'
        when p_message ->> 'delay_ms' !~ '^[0-9]{1,12}$' then 'delay_ms must be a whole number of milliseconds, not negative'
        when p_message ->> 'ttl_ms' !~ '^[1-9][0-9]{0,11}$' then 'ttl_ms must be a positive whole number of milliseconds'
        when p_message ->> 'retry_at' !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}' then 'retry_at must be a time, as in 2030-01-31T12:00:00Z'
        when p_message ->> 'expires_at' !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}' then 'expires_at must be a time, as in 2030-01-31T12:00:00Z'
        when (p_message ->> 'expires_at')::timestamptz <= now() then 'expires_at must be in the future'
        when p_message ? 'delay_ms' and p_message ? 'retry_at' then 'delay_ms and retry_at say the same thing; give one'
        when p_message ? 'ttl_ms' and p_message ? 'expires_at' then 'ttl_ms and expires_at say the same thing; give one'
    end
$$;
comment on function cogo.message_fault(jsonb) is 'Says which field of a message to publish is wrong and what it should be.';

-- Inserts an array of messages. A key that is already there attaches to the message that has it.
-- Raises the first fault of the messages as an error that names the field; returns if there is none.
create function cogo.blame(p_messages jsonb) returns void
language plpgsql set search_path = '' as $$
declare
    v_fault record;
begin
    select faulty.place, faulty.fault into v_fault
    from (
        select given.place, cogo.message_fault(given.message) as fault
        from jsonb_array_elements(p_messages) with ordinality as given(message, place)
    ) as faulty
    where faulty.fault is not null order by faulty.place limit 1;
    if found then
        raise exception using errcode = '22023',
            message = case when jsonb_array_length(p_messages) = 1 then v_fault.fault
                else format('message %s: %s', v_fault.place, v_fault.fault) end,
            hint = 'Nothing was published. Correct the field and publish again.';
    end if;
end
$$;
comment on function cogo.blame(jsonb) is 'Explains what is wrong with messages that could not be published.';

-- Inserts an array of messages. A key that is already there attaches to the message that has it.
create function cogo.publish_all(p_messages jsonb) returns table (place int, id bigint, trace_id text, attached boolean)
-- Planning these statements takes longer than running them; one plan fits every call.
language plpgsql set search_path = '' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    v_places int[];
    v_ids bigint[];
    v_traces text[];
begin
    -- What no type or constraint would refuse. Everything else is explained when it has failed, which costs good messages nothing.
    if exists (
        select from jsonb_array_elements(p_messages) as given(message)
        where jsonb_typeof(given.message) <> 'object'
            or given.message ->> 'delay_ms' like '-%'
            or (given.message ? 'delay_ms' and given.message ? 'retry_at')
            or (given.message ? 'ttl_ms' and given.message ? 'expires_at')
            or given.message - array[
                'service', 'role', 'shard', 'tenant', 'project_id', 'trace_id', 'parent_id', 'idempotency_key', 'ordering_key', 'priority',
                'payload', 'traceparent', 'max_attempts', 'retry_at', 'delay_ms', 'expires_at', 'ttl_ms'] <> '{}'
    ) then
        perform cogo.blame(p_messages);
    end if;

    begin
        with wanted as materialized (
            select nextval('cogo.agent_messages_id_seq') as id, given.*
            from rows from (jsonb_to_recordset(p_messages) as (
                service text, role text, shard int, tenant text, project_id uuid, trace_id text, parent_id bigint, idempotency_key text,
                ordering_key text, priority smallint, payload jsonb, traceparent text, max_attempts int, retry_at timestamptz, delay_ms bigint,
                expires_at timestamptz, ttl_ms bigint)) with ordinality as given(
                service, role, shard, tenant, project_id, trace_id, parent_id, idempotency_key,
                ordering_key, priority, payload, traceparent, max_attempts, retry_at, delay_ms,
                expires_at, ttl_ms, place)
        ),
        made as (
            insert into cogo.agent_messages (id, service, role, shard, tenant, project_id, trace_id, parent_id, idempotency_key, ordering_key,
                priority, payload, traceparent, max_attempts, retry_at, expires_at)
            overriding system value
            select wanted.id, wanted.service, wanted.role, coalesce(wanted.shard, 0), coalesce(wanted.tenant, 'default'), wanted.project_id,
                coalesce(wanted.trace_id, cogo.new_trace_id()), wanted.parent_id, wanted.idempotency_key,
                wanted.ordering_key, coalesce(wanted.priority, 0::smallint), coalesce(wanted.payload, '{}'), wanted.traceparent,
                wanted.max_attempts,
                coalesce(wanted.retry_at, now() + wanted.delay_ms * interval '1 ms'),
                coalesce(wanted.expires_at, now() + wanted.ttl_ms * interval '1 ms')
            from wanted
            on conflict (service, role, shard, tenant, idempotency_key) where idempotency_key is not null do nothing
            returning agent_messages.id, agent_messages.trace_id
        )
        select array_agg(wanted.place::int), array_agg(made.id), array_agg(made.trace_id) into v_places, v_ids, v_traces
        from wanted join made on made.id = wanted.id;
    exception
        when data_exception or integrity_constraint_violation then
            perform cogo.blame(p_messages);
            raise;
    end;
    return query select new.place, new.id, new.trace_id, false from unnest(v_places, v_ids, v_traces) as new(place, id, trace_id);

    if coalesce(cardinality(v_places), 0) < jsonb_array_length(p_messages) then
        -- A statement of its own: what a concurrent transaction has just committed is only seen by a new snapshot.
        return query
        select given.place::int, message.id, message.trace_id, true
        from rows from (jsonb_to_recordset(p_messages) as (service text, role text, shard int, tenant text, idempotency_key text))
            with ordinality as given(service, role, shard, tenant, idempotency_key, place)
        join cogo.agent_messages as message on message.service = given.service and message.role = given.role
            and message.shard = coalesce(given.shard, 0) and message.tenant = coalesce(given.tenant, 'default')
            and message.idempotency_key = given.idempotency_key
        where given.place <> all (coalesce(v_places, '{}'));
    end if;
end
$$;
comment on function cogo.publish_all(jsonb) is 'Inserts an array of messages, attaching where an idempotency key is already known.';

create function public.bus_publish(p_messages jsonb) returns table (place int, id bigint, trace_id text, attached boolean)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
    if jsonb_typeof(p_messages) = 'object' then
        p_messages := jsonb_build_array(p_messages);
    elsif jsonb_typeof(p_messages) is distinct from 'array' then
        raise exception using errcode = '22023', message = 'p_messages must be a message or an array of messages',
            hint = 'For example {"service": "codegen", "role": "generate", "payload": {}}.';
    end if;
    return query select * from cogo.publish_all(p_messages) as published order by published.place;
end
$$;
comment on function public.bus_publish(jsonb) is 'Publishes one message or an array of them, all or none; answers each with its id, trace and whether it attached to an earlier one of the same idempotency key.';
