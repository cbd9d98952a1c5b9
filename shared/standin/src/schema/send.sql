create or replace function realtime.topic() returns text
language sql stable set search_path = '' as $$
    select nullif(current_setting('realtime.topic', true), '')
$$;

create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql set search_path = '' as $$
declare
    v_id uuid := gen_random_uuid();
begin
    -- The policies on realtime.messages ask for it.
    perform set_config('realtime.topic', send.topic, true);
    if jsonb_typeof(payload) = 'object' and not payload ? 'id' then
        payload := payload || jsonb_build_object('id', v_id);
    end if;
    insert into realtime.messages (id, topic, event, extension, private, payload)
    values (v_id, send.topic, send.event, 'broadcast', send.private, payload);
exception
    -- Whoever sends must not fail for it. So a message that nobody may send is lost in silence, as it is in earnest.
    when others then
        raise warning 'realtime.send could not send to %: %', send.topic, sqlerrm using errcode = sqlstate;
end
$$;

create or replace function realtime.broadcast_changes(
    topic_name text, event_name text, operation text, table_name text, table_schema text, new record, old record,
    level text default 'ROW'
) returns void
language plpgsql set search_path = '' as $$
begin
    if level <> 'ROW' then
        raise exception 'realtime.broadcast_changes works in row triggers only'
            using hint = 'write `for each row`';
    end if;
    perform realtime.send(
        jsonb_build_object(
            'operation', operation, 'schema', table_schema, 'table', table_name,
            'record', to_jsonb(new), 'old_record', to_jsonb(old)),
        event_name, topic_name);
end
$$;

comment on function realtime.topic() is 'Stand-in: which channel a policy on realtime.messages is asked about.';
comment on function realtime.send(jsonb, text, text, boolean) is
    'Stand-in: broadcasts to all who joined the channel `topic`. Never fails: what cannot be sent is a warning.';
comment on function realtime.broadcast_changes(text, text, text, text, text, record, record, text) is
    'Stand-in: for a row trigger, broadcasts the row before and after.';
