-- The stand-in's own functions. They lend nobody any rights: those that look into tables do so as whoever calls them.
create schema if not exists standin;
comment on schema standin is 'What the local stand-in for Supabase Realtime needs in the database.';
grant usage on schema standin to public;

-- Tells the stand-in what was inserted. Within a notification, because reading it back costs a round trip; a
-- notification may have 8000 bytes at most.
create or replace function standin.ring() returns trigger
language plpgsql set search_path = '' as $$
declare
    v_message text := json_build_object(
        'id', new.id, 'topic', new.topic, 'event', new.event, 'private', coalesce(new.private, false),
        'payload', coalesce(new.payload, '{}'))::text;
begin
    if octet_length(v_message) > 7000 then
        v_message := json_build_object('id', new.id)::text;
    end if;
    perform pg_notify('standin_messages', v_message);
    return null;
end
$$;

create or replace trigger standin_ring after insert on realtime.messages
for each row when (new.extension = 'broadcast') execute function standin.ring();

-- Yesterday to three days ahead, so that one survives a night without the stand-in.
create or replace function standin.make_partitions() returns void
language plpgsql set search_path = '' as $$
declare
    v_today date := (now() at time zone 'utc')::date;
    v_day date;
begin
    -- One at a time, or two that start at once make the same one.
    perform pg_advisory_xact_lock(hashtext('standin.make_partitions'));
    for v_day in select v_today + n from generate_series(-1, 3) as n loop
        if to_regclass(format('realtime.%I', standin.partition(v_day))) is null then
            execute format(
                'create table realtime.%I partition of realtime.messages for values from (%L) to (%L)',
                standin.partition(v_day), v_day, v_day + 1);
        end if;
    end loop;
end
$$;

create or replace function standin.partition(p_day date) returns text
language sql stable set search_path = '' as $$
    select 'messages_' || to_char(p_day, 'YYYY_MM_DD')
$$;

-- Today's, so that what happens without it can be seen.
create or replace function standin.lose_partition() returns void
language plpgsql set search_path = '' as $$
begin
    execute format('drop table if exists realtime.%I', standin.partition((now() at time zone 'utc')::date));
end
$$;

-- Returns how many messages were too old; whole days go with their partition.
create or replace function standin.forget() returns bigint
language plpgsql set search_path = '' as $$
declare
    v_partition text;
    v_count bigint;
begin
    for v_partition in
        select c.relname from pg_class as c join pg_inherits as i on i.inhrelid = c.oid
        where i.inhparent = 'realtime.messages'::regclass and c.relname ~ '^messages_\d{4}_\d\d_\d\d$'
            and c.relname < standin.partition((now() at time zone 'utc')::date - 1)
    loop
        execute format('drop table realtime.%I', v_partition);
    end loop;
    delete from realtime.messages where inserted_at < (now() at time zone 'utc') - interval '1 hour';
    get diagnostics v_count = row_count;
    return v_count;
end
$$;

-- For the rest of the transaction, be who the token says, asking about this channel. The database's owner could become
-- anybody; a token may only name a role that the API itself could take.
create or replace function standin.become(p_role text, p_claims text, p_topic text) returns void
language plpgsql set search_path = '' as $$
begin
    if not exists (
        select from pg_catalog.pg_auth_members as m
            join pg_catalog.pg_roles as r on r.oid = m.roleid
            join pg_catalog.pg_roles as api on api.oid = m.member
        where api.rolname = 'authenticator' and r.rolname = p_role
    ) then
        raise exception 'the role % does not exist or is not granted to authenticator', quote_ident(p_role)
            using errcode = 'insufficient_privilege';
    end if;
    perform set_config('request.jwt.claims', p_claims, true), set_config('realtime.topic', p_topic, true),
        set_config('role', p_role, true);
end
$$;

-- Whether the caller may insert such a message. To be rolled back.
create or replace function standin.may_write(p_topic text, p_extension text, p_at timestamp) returns boolean
language plpgsql set search_path = '' as $$
begin
    insert into realtime.messages (topic, extension, private, inserted_at) values (p_topic, p_extension, true, p_at);
    return true;
exception
    when insufficient_privilege then return false;
end
$$;

-- Rows of logical decoding, which are texts with types, as the JSON one would get by selecting them.
create or replace function standin.as_json(p_names text[], p_types oid[], p_values text[]) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
    v_row jsonb := '{}';
    v_value jsonb;
begin
    for i in 1 .. coalesce(array_length(p_names, 1), 0) loop
        v_value := null;
        if p_values[i] is not null then
            execute format('select to_jsonb($1::%s)', p_types[i]::regtype) into v_value using p_values[i];
        end if;
        v_row := v_row || jsonb_build_object(p_names[i], v_value);
    end loop;
    return v_row;
end
$$;

-- Each condition on its own: what Postgres says of `value op wanted` in the column's type, where null is no match.
create or replace function standin.matches(p_types oid[], p_ops text[], p_values text[], p_wanted text[]) returns boolean[]
language plpgsql stable set search_path = '' as $$
declare
    v_answers boolean[] := '{}';
    v_answer boolean;
    v_type text;
begin
    for i in 1 .. coalesce(array_length(p_types, 1), 0) loop
        v_type := p_types[i]::regtype;
        if p_ops[i] in ('~~', '~~*', '~', '~*') then
            execute format('select $1::%s::text %s $2', v_type, p_ops[i]) into v_answer using p_values[i], p_wanted[i];
        elsif p_ops[i] = 'in' then
            execute format('select $1::%1$s = any ($2::text[]::%1$s[])', v_type) into v_answer
                using p_values[i], p_wanted[i];
        elsif p_ops[i] = 'is' then
            v_answer := case p_wanted[i]
                when 'null' then p_values[i] is null
                when 'unknown' then p_values[i] is null
                else coalesce(p_values[i]::boolean = p_wanted[i]::boolean, false)
            end;
        elsif p_ops[i] in ('=', '<>', '<', '<=', '>', '>=', 'is distinct from') then
            execute format('select $1::%1$s %2$s $2::%1$s', v_type, p_ops[i]) into v_answer
                using p_values[i], p_wanted[i];
        else
            raise exception 'unknown operator';
        end if;
        v_answers := v_answers || v_answer;
    end loop;
    return v_answers;
end
$$;

-- Whether the caller sees the row with this key.
create or replace function standin.sees(p_table oid, p_names text[], p_types oid[], p_values text[]) returns boolean
language plpgsql stable set search_path = '' as $$
declare
    v_where text;
    v_seen boolean;
begin
    select string_agg(format('%I = $1[%s]::%s', p_names[i], i, p_types[i]::regtype), ' and ') into v_where
    from generate_series(1, array_length(p_names, 1)) as i;
    execute format('select exists (select from %s where %s)', p_table::regclass, v_where)
        into v_seen using p_values;
    return v_seen;
exception
    when insufficient_privilege then return false;
end
$$;

-- The same for somebody else, whom the caller is until the end of the statement. Not stable, but what it asks is.
create or replace function standin.sees_as(
    p_role text, p_claims text, p_table oid, p_names text[], p_types oid[], p_values text[]
) returns boolean
language plpgsql set search_path = '' as $$
begin
    perform standin.become(p_role, p_claims, '');
    return standin.sees(p_table, p_names, p_types, p_values);
end
$$;
