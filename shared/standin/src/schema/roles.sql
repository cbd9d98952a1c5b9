-- The roles that an API stands on. What exists keeps what it has; nothing is taken from anybody.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            execute format('create role %I nologin noinherit', v_role);
        end if;
    end loop;
    if not exists (select from pg_catalog.pg_roles where rolname = 'authenticator') then
        create role authenticator login noinherit;
    end if;
    if not (select rolbypassrls from pg_catalog.pg_roles where rolname = 'service_role') then
        alter role service_role bypassrls;
    end if;
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
        if not pg_catalog.pg_has_role('authenticator', v_role, 'member') then
            execute format('grant %I to authenticator', v_role);
        end if;
    end loop;
end
$$;

create schema if not exists auth;
create schema if not exists realtime;
grant usage on schema auth, realtime to anon, authenticated, service_role;
