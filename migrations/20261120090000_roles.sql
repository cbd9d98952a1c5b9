-- The roles that Supabase brings along, for a plain Postgres that has none, and the role of Cogo's own workers.
-- Nothing here changes a role that exists.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

create schema if not exists cogo;
comment on schema cogo is 'Internals of the bus. Never exposed over PostgREST; reached through the functions and views in public.';

do $$
declare
    v_role text;
begin
    foreach v_role in array array['anon', 'authenticated', 'service_role', 'cogo_worker'] loop
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
                execute format('create role %I nologin noinherit', v_role);
            end if;
        exception
            -- Roles belong to the whole cluster: another database may be creating the same one right now.
            when duplicate_object or unique_violation then null;
        end;
    end loop;
end
$$;

-- What a role may say of itself is in its token. Supabase puts our claim on the top level or into app_metadata.
-- One expression and no search_path of its own, so that the planner can inline it into the policies and the default.
create function cogo.caller_tenant() returns text
language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'tenant',
        nullif(current_setting('request.jwt.claims', true), '')::jsonb #>> '{app_metadata,tenant}')
$$;
comment on function cogo.caller_tenant() is 'The tenant in the caller''s token; null without a token or without the claim.';

-- The time comes first, as in a UUID of version 7: whatever is indexed by trace grows at one end, where a random place
-- for every row costs more than all the rest of writing it.
create function cogo.new_trace_id() returns text
language sql volatile as $$
    select lpad(to_hex((1000 * date_part('epoch', clock_timestamp()))::bigint), 12, '0')
        || substr(replace(gen_random_uuid()::text, '-', ''), 13)
$$;
comment on function cogo.new_trace_id() is 'A new trace id: 32 hex digits, the first twelve of them the milliseconds since 1970.';

-- In a function with its owner's rights current_user is the owner. What `set role` said stays what it was, and nobody
-- can say there what they are not a member of; the claims of a token anybody may set who has a connection.
create function cogo.caller_role() returns name
language sql stable set search_path = '' as $$
    select case current_setting('role') when 'none' then session_user else current_setting('role')::name end
$$;
comment on function cogo.caller_role() is 'The role of whoever called, also inside functions with their owner''s rights.';

create function cogo.caller_is_server() returns boolean
language sql stable set search_path = '' as $$
    select pg_has_role(cogo.caller_role(), 'service_role', 'usage') or pg_has_role(cogo.caller_role(), 'cogo_worker', 'usage')
$$;
comment on function cogo.caller_is_server() is 'Whether the caller sees every tenant. Whoever is not known for it does not.';

-- Nobody may do anything but what is granted: row level security is on and forced, and a function is closed to the
-- public, also where Supabase grants to everybody. Every migration ends with these two.
create function cogo.protect_tables(p_tables regclass[]) returns void
language plpgsql set search_path = '' as $$
declare
    v_table regclass;
begin
    foreach v_table in array p_tables loop
        execute format('alter table %s enable row level security', v_table);
        execute format('alter table %s force row level security', v_table);
        execute format('revoke all on %s from public, anon, authenticated, service_role, cogo_worker', v_table);
        execute format('grant select on %s to service_role, cogo_worker', v_table);
        -- The functions run as the owner, who is bound by force row level security unless a superuser.
        execute format('create policy the_functions on %s to current_user using (true) with check (true)', v_table);
        execute format('create policy workers on %s to service_role, cogo_worker using (true) with check (true)', v_table);
    end loop;
end
$$;
comment on function cogo.protect_tables(regclass[]) is 'Closes tables to all but their owner''s functions, and lets workers read them.';

create function cogo.protect_functions(p_functions regprocedure[], p_callers text default null) returns void
language plpgsql set search_path = '' as $$
declare
    v_function regprocedure;
begin
    foreach v_function in array p_functions loop
        execute format('revoke all on function %s from public, anon, authenticated', v_function);
        if p_callers is not null then
            execute format('grant execute on function %s to %s', v_function, p_callers);
        end if;
    end loop;
end
$$;
comment on function cogo.protect_functions(regprocedure[], text) is 'Closes functions to all but these roles.';

-- What functions of a schema are called so, to be protected: all of them, whatever their arguments.
create function cogo.functions_named(p_schema text, p_names text[]) returns regprocedure[]
language plpgsql stable set search_path = '' as $$
declare
    v_missing text;
begin
    select name into v_missing from unnest(p_names) as name
    where not exists (
        select from pg_catalog.pg_proc as function join pg_catalog.pg_namespace as namespace on namespace.oid = function.pronamespace
        where namespace.nspname = p_schema and function.proname = name);
    if found then
        raise exception using errcode = '42883', message = format('there is no function %I.%I to protect', p_schema, v_missing);
    end if;
    return array(
        select function.oid::regprocedure
        from pg_catalog.pg_proc as function join pg_catalog.pg_namespace as namespace on namespace.oid = function.pronamespace
        where namespace.nspname = p_schema and function.proname = any (p_names));
end
$$;
comment on function cogo.functions_named(text, text[]) is 'The functions of these names; an error if one of them does not exist.';
