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
