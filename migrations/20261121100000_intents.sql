-- Intents: what people may ask for by name, and what becomes of it. agent-core reads the table for every message of
-- orchestrator/intent, and lets new ones in through intent_publish, so that no tenant piles up more than it may.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

create table public.intents (
    name text collate "C" primary key,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    description text not null default '',
    target text collate "C" not null,
    payload_schema jsonb not null default '{}',
    default_assignment jsonb not null default '{}',
    enabled boolean not null default true,
    constraint name_is_a_word check (name ~ '^[a-z][a-z0-9-]{0,62}$'),
    constraint target_is_a_route_without_a_tenant check (target ~ '^[a-z][a-z0-9-]{0,62}/[a-z][a-z0-9-]{0,62}/(0|[1-9][0-9]{0,8})$'),
    constraint payload_schema_is_an_object check (jsonb_typeof(payload_schema) = 'object'),
    constraint default_assignment_is_an_object check (jsonb_typeof(default_assignment) = 'object')
);
comment on table public.intents is 'What may be asked for by name, and where it goes. A change holds from the next message on.';
comment on column public.intents.name is 'What callers say: a lower-case word.';
comment on column public.intents.created_at is 'When the row was written.';
comment on column public.intents.updated_at is 'When it last changed; kept by a trigger. A compiled schema is known by it.';
comment on column public.intents.description is 'What it does, for people.';
comment on column public.intents.target is 'Route of the stage that does the work, as in codegen/generate/0.';
comment on column public.intents.payload_schema is 'JSON Schema that the payload must satisfy, with the defaults of its fields filled in. `{}` lets every object through.';
comment on column public.intents.default_assignment is 'Model, budget and time limit, unless the payload names others in `__assignment`.';
comment on column public.intents.enabled is 'While false the intent is refused.';

create function cogo.touch_intent() returns trigger
language plpgsql set search_path = '' as $$
begin
    -- Not now(): two changes in one transaction must differ.
    new.updated_at := clock_timestamp();
    return new;
end
$$;
comment on function cogo.touch_intent() is 'Notes when an intent changed.';
create trigger touch_intent before update on public.intents for each row execute function cogo.touch_intent();

-- How many intents of a tenant (null: of all) wait to be decided or are being decided, counted up to a limit.
create function cogo.undecided(p_tenant text, p_most int) returns int
language plpgsql stable set search_path = '' as $$
declare
    v_lanes int[] := array(
        select lane.id from cogo.lanes as lane
        where lane.service = 'orchestrator' and lane.role = 'intent' and (p_tenant is null or lane.tenant = p_tenant));
begin
    return (select count(*) from (
        -- Each part on its own: most have nothing, and none walks further than it must.
        (select from cogo.ready where ready.lane_id = any (v_lanes) limit p_most)
        union all
        (select from cogo.leases where leases.lane_id = any (v_lanes) limit p_most)
        union all
        (select from cogo.later where later.lane_id = any (v_lanes) limit p_most)
        union all
        (select from cogo.ordered where not ordered.placed and ordered.lane_id = any (v_lanes) limit p_most)
        limit p_most) as undecided);
end
$$;
comment on function cogo.undecided(text, int) is 'Intents that are queued or claimed, of a tenant or of all; counted no further than told.';

-- Whether one more intent of the tenant fits below the limit: yes, no, or again.
-- Far below it callers only share a lock, and do not wait for each other. Within a hundred of it they take turns until
-- the commit, and whoever counts then sees all who were let in before. So the limit is exact as long as not more than a
-- hundred transactions pass here at one time.
create function cogo.admits_intent(p_tenant text, p_limit int) returns text
language plpgsql set search_path = '' as $$
declare
    v_lock bigint := hashtextextended('cogo intents ' || p_tenant, 0);
    v_near int := p_limit - 100;
begin
    if v_near > 0 and cogo.undecided(p_tenant, v_near) < v_near then
        perform pg_advisory_xact_lock_shared(v_lock);
        -- Counted again, because waiting for the lock may have taken long. A lock that is shared cannot be made
        -- exclusive without waiting for others who want the same: the caller comes again.
        return case when cogo.undecided(p_tenant, v_near) < v_near then 'yes' else 'again' end;
    end if;
    perform pg_advisory_xact_lock(v_lock);
    return case when cogo.undecided(p_tenant, p_limit) < p_limit then 'yes' else 'no' end;
end
$$;
comment on function cogo.admits_intent(text, int) is 'Whether one more undecided intent of a tenant is allowed; `again` asks to be called in a new transaction.';

create function public.intent_publish(p_message jsonb, p_limit int)
returns table (verdict text, id bigint, trace_id text, attached boolean)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    v_tenant text := coalesce(p_message ->> 'tenant', 'default');
    v_key text := p_message ->> 'idempotency_key';
    v_verdict text := 'yes';
begin
    if p_message ->> 'service' is distinct from 'orchestrator' or p_message ->> 'role' is distinct from 'intent' then
        raise exception using errcode = '22023', message = 'an intent goes to orchestrator/intent',
            hint = 'Publish other messages with bus_publish.';
    end if;
    -- Whoever repeats a call gets the answer of the first, however many wait.
    if v_key is null or not cogo.intent_is_known(p_message, v_tenant, v_key) then
        v_verdict := cogo.admits_intent(v_tenant, p_limit);
        if v_verdict = 'no' and v_key is not null and cogo.intent_is_known(p_message, v_tenant, v_key) then
            v_verdict := 'yes';
        end if;
    end if;
    if v_verdict = 'yes' then
        return query select 'yes', made.id, made.trace_id, made.attached from public.bus_publish(p_message) as made;
    else
        return query select v_verdict, null::bigint, null::text, null::boolean;
    end if;
end
$$;
comment on function public.intent_publish(jsonb, int) is
    'Publishes an intent unless so many of its tenant are undecided. Answers yes, no (too many) or again (call once more).';

create function cogo.intent_is_known(p_message jsonb, p_tenant text, p_key text) returns boolean
-- Volatile, for a fresh look each time: others commit while we wait for the lock.
language plpgsql set search_path = '' as $$
begin
    return exists (
        select from cogo.agent_messages as message
        where message.service = 'orchestrator' and message.role = 'intent'
            and message.shard::text = coalesce(p_message ->> 'shard', '0')
            and message.tenant = p_tenant and message.idempotency_key = p_key);
end
$$;
comment on function cogo.intent_is_known(jsonb, text, text) is 'Whether an intent with this idempotency key was published before.';

create function public.intent_replay(p_id bigint, p_limit int) returns table (verdict text, id bigint)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    v_tenant text := (select message.tenant from cogo.agent_messages as message where message.id = p_id);
    v_verdict text := 'yes';
begin
    if v_tenant is not null then
        v_verdict := cogo.admits_intent(v_tenant, p_limit);
    end if;
    return query select v_verdict, case when v_verdict = 'yes' then public.bus_replay(p_id) end;
end
$$;
comment on function public.intent_replay(bigint, int) is 'bus_replay for an intent, within the same limit as intent_publish.';

create function public.intent_undecided(p_most int default 100000) returns int
language sql stable security definer set search_path = '' as $$
    select cogo.undecided(null, p_most)
$$;
comment on function public.intent_undecided(int) is 'Undecided intents of all tenants, counted up to a limit; for metrics.';

-- Who may do what.
select cogo.protect_tables(array['public.intents']::regclass[]);
grant insert, update, delete on public.intents to service_role, cogo_worker;
grant select on public.intents to authenticated;
-- Whoever belongs to nobody can ask for nothing, and so has no use for the list.
create policy clients_read_what_is_enabled on public.intents for select to authenticated
    using (enabled and (select cogo.caller_tenant()) is not null);

select cogo.protect_functions(cogo.functions_named('cogo', array['touch_intent', 'undecided', 'admits_intent', 'intent_is_known']));
select cogo.protect_functions(cogo.functions_named('public', array['intent_publish', 'intent_replay', 'intent_undecided']),
    'service_role, cogo_worker');

-- What can be asked for from the start.
insert into public.intents (name, description, target, payload_schema) values
    ('hello', 'Makes a small tested program from a template, and builds and tests it.', 'codegen/generate/0', '{
        "type": "object",
        "additionalProperties": false,
        "required": ["template"],
        "properties": {
            "executor": {"const": "template", "default": "template", "description": "Templates need no model and no key."},
            "template": {"type": "string", "minLength": 1, "maxLength": 63, "description": "Which set of templates, as in `rust`."},
            "params": {"type": "object", "description": "What to fill in."},
            "context": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Files to put beside: path and text."},
            "build": {"type": "object", "description": "How it is built and tested; found out from the files, if absent."}
        }
    }'),
    ('generate', 'Has code made by an executor of your choice, and builds and tests it.', 'codegen/generate/0', '{
        "type": "object",
        "additionalProperties": false,
        "required": ["executor"],
        "properties": {
            "executor": {"type": "string", "minLength": 1, "maxLength": 63, "description": "`template`, or a command that the workers know by this name."},
            "prompt": {"type": "string", "description": "What a command is asked to do."},
            "template": {"type": "string", "minLength": 1, "maxLength": 63, "description": "Which set of templates, for the executor `template`."},
            "params": {"type": "object", "description": "What to fill in."},
            "context": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Files the executor finds: path and text."},
            "build": {"type": "object", "description": "How it is built and tested; found out from the files, if absent."}
        }
    }');
