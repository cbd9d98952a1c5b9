-- Supabase Realtime, where there is one: who may listen to which private topic, what is told on them, and what
-- postgres_changes may show. Topics are `route:<service>/<role>` and `route:<service>/<role>/<tenant>` (rings, see
-- cogo.ring), `worker:<id>` (calls, see cogo.call_worker), and those of a trace (events, see public.bus_watch).

set local lock_timeout = '5s';
set local statement_timeout = '60s';

create table cogo.watched (
    trace_id text collate "C" primary key,
    by_clients timestamptz not null,
    by_servers timestamptz not null
);
comment on table cogo.watched is 'Traces that somebody watches over Realtime. The events of all others are not sent: nobody hears them, and a project counts what is sent.';
comment on column cogo.watched.trace_id is 'The trace.';
comment on column cogo.watched.by_clients is 'Until when its events are sent to clients, on `trace:<trace id>`.';
comment on column cogo.watched.by_servers is 'Until when all its events are sent to servers, on `trace:<trace id>:all`.';

create function cogo.may_listen(p_topic text) returns boolean
language plpgsql stable security definer set search_path = '' as $$
declare
    v_tenant text := cogo.caller_tenant();
    v_words text[];
begin
    if v_tenant is null then
        return false;
    elsif p_topic ~ '^route:[a-z][a-z0-9-]*/[a-z][a-z0-9-]*/[^/]+$' then
        v_words := string_to_array(substr(p_topic, 7), '/');
        return v_words[3] = v_tenant and cogo.is_open(v_words[1], v_words[2], 'authenticated');
    elsif p_topic ~ '^trace:[0-9a-f]{32}$' then
        -- A trace that others take part in is not shown at all: whoever knows its id could have joined it.
        return exists (
                select from cogo.agent_messages as message
                where message.trace_id = substr(p_topic, 7) and cogo.is_open(message.service, message.role, 'authenticated'))
            and not exists (
                select from cogo.agent_messages as message
                where message.trace_id = substr(p_topic, 7) and message.tenant <> v_tenant)
            and not exists (
                select from public.bus_events as event
                where event.trace_id = substr(p_topic, 7) and event.tenant <> v_tenant);
    end if;
    return false;
end
$$;
comment on function cogo.may_listen(text) is 'Whether a signed-in client may listen to a private topic: routes and traces of its tenant, on stages open to it.';

create function public.bus_watch(p_trace_id text, p_after bigint default 0) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_client boolean := not cogo.caller_is_server();
    v_until timestamptz := now() + interval '10 minutes';
begin
    if v_client and not cogo.may_listen('trace:' || p_trace_id) then
        raise exception using errcode = '42501', message = 'this trace is not yours to watch, or has no messages',
            hint = 'Publish its first message before you watch it, on a stage that is open to clients.';
    end if;
    delete from cogo.watched where watched.by_clients < now() and watched.by_servers < now();
    insert into cogo.watched as watched (trace_id, by_clients, by_servers)
    values (p_trace_id, case when v_client then v_until else '-infinity' end, case when v_client then '-infinity' else v_until end)
    on conflict (trace_id) do update set by_clients = greatest(watched.by_clients, excluded.by_clients),
        by_servers = greatest(watched.by_servers, excluded.by_servers);
    return jsonb_build_object(
        'topic', 'trace:' || p_trace_id || case when v_client then '' else ':all' end,
        'until', v_until,
        'events', coalesce((
            select jsonb_agg(to_jsonb(event) order by event.id) from public.bus_events as event
            where event.trace_id = p_trace_id and event.id > p_after
                and (not v_client or cogo.is_open(event.service, event.role, 'authenticated'))), '[]'),
        'at_rest', not exists (
            select from public.agent_messages as message
            where message.trace_id = p_trace_id and message.status in ('queued', 'claimed')));
end
$$;
comment on function public.bus_watch(text, bigint) is
    'Has the events of a trace sent to its private topic for ten minutes, as `bus_events`, and answers those that there are behind p_after. '
    'Join the topic first, so that nothing lies between; an event may come both ways, and has the same id.';

create function cogo.tell_watchers() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_watched record;
begin
    -- Nearly always nobody watches anything, and then this costs one look at an empty table.
    for v_watched in
        select watched.trace_id, watched.by_clients > now() as clients, watched.by_servers > now() as servers
        from cogo.watched where watched.trace_id in (select fresh.trace_id from fresh)
    loop
        if v_watched.clients then
            perform cogo.broadcast('trace:' || v_watched.trace_id, 'bus_events', jsonb_build_object('events', shown.events))
            from (
                select jsonb_agg(to_jsonb(fresh) order by fresh.id) as events from fresh
                where fresh.trace_id = v_watched.trace_id and cogo.is_open(fresh.service, fresh.role, 'authenticated')
            ) as shown where shown.events is not null;
        end if;
        if v_watched.servers then
            perform cogo.broadcast('trace:' || v_watched.trace_id || ':all', 'bus_events',
                jsonb_build_object('events', (select jsonb_agg(to_jsonb(fresh) order by fresh.id) from fresh
                    where fresh.trace_id = v_watched.trace_id)));
        end if;
    end loop;
    return null;
end
$$;
comment on function cogo.tell_watchers() is 'Sends the events just written to whoever watches their traces.';

-- A function of its own, to be called again where Realtime came after the migrations.
create function cogo.attach_realtime() returns text[]
language plpgsql set search_path = '' as $$
declare
    v_lacking text[] := '{}';
begin
    if to_regprocedure('realtime.send(jsonb,text,text,boolean)') is null then
        return array['realtime.send'];
    end if;
    -- Only here: where nobody can watch, writing events should not even ask.
    if not exists (select from pg_catalog.pg_trigger where tgrelid = 'public.bus_events'::regclass and tgname = 'tell_watchers') then
        create trigger tell_watchers after insert on public.bus_events
            referencing new table as fresh for each statement execute function cogo.tell_watchers();
    end if;
    begin
        if not exists (select from pg_catalog.pg_policies where schemaname = 'realtime' and tablename = 'messages' and policyname = 'cogo_clients_listen') then
            execute 'create policy cogo_clients_listen on realtime.messages for select to authenticated
                using (extension = ''broadcast'' and cogo.may_listen((select realtime.topic())))';
        end if;
    exception when insufficient_privilege then
        v_lacking := v_lacking || 'policies on realtime.messages'::text;
    end;
    begin
        if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
            v_lacking := v_lacking || 'publication supabase_realtime'::text;
        elsif not exists (
            select from pg_catalog.pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'cogo' and tablename = 'agent_messages')
        then
            alter publication supabase_realtime add table cogo.agent_messages;
        end if;
    exception when insufficient_privilege then
        v_lacking := v_lacking || 'the right to change publication supabase_realtime'::text;
    end;
    return v_lacking;
end
$$;
comment on function cogo.attach_realtime() is 'Makes Realtime ring, tell and show what is ours; answers what it lacks for that. Safe to run again.';

create function public.bus_realtime() returns table (check_name text, fine boolean)
language plpgsql stable security definer set search_path = '' as $$
begin
    return query values
        ('realtime.send', to_regprocedure('realtime.send(jsonb,text,text,boolean)') is not null),
        ('trigger on bus_events', exists (
            select from pg_catalog.pg_trigger where tgrelid = 'public.bus_events'::regclass and tgname = 'tell_watchers')),
        ('policy on realtime.messages', exists (
            select from pg_catalog.pg_policies
            where schemaname = 'realtime' and tablename = 'messages' and policyname = 'cogo_clients_listen')),
        ('cogo.agent_messages in publication supabase_realtime', exists (
            select from pg_catalog.pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'cogo' and tablename = 'agent_messages'));
end
$$;
comment on function public.bus_realtime() is 'What Realtime needs of the database and whether it is there, for `cogo doctor`. What is not: select cogo.attach_realtime().';

create function public.bus_ring_topic(p_topic text) returns void
language plpgsql security definer set search_path = '' as $$
begin
    perform cogo.broadcast(p_topic, 'ring', '{}');
end
$$;
comment on function public.bus_ring_topic(text) is 'Rings on a topic, for who wants to hear whether rings arrive.';

select cogo.protect_tables(array['cogo.watched']::regclass[]);

-- postgres_changes reads with the listener's role, which must be able to see the schema; PostgREST does not serve it.
grant usage on schema cogo to service_role, cogo_worker;

select cogo.protect_functions(cogo.functions_named('cogo', array['tell_watchers', 'attach_realtime']));
-- The first answers a policy of clients, with no more than yes or no.
select cogo.protect_functions(array['cogo.may_listen(text)', 'public.bus_watch(text,bigint)']::regprocedure[],
    'authenticated, service_role, cogo_worker');
select cogo.protect_functions(cogo.functions_named('public', array['bus_realtime', 'bus_ring_topic']), 'service_role, cogo_worker');

do $$
declare
    v_lacking text[] := cogo.attach_realtime();
begin
    if v_lacking <> '{}' and v_lacking <> '{realtime.send}' then
        raise warning 'Realtime lacks: %', array_to_string(v_lacking, ', ');
    end if;
end
$$;
