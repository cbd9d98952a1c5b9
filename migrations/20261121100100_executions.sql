-- Executions: what became of the work that the dispatcher forwarded, what it may cost, and which targets are spared
-- because they keep failing. A message is checked, forwarded and settled by one call of execution_forward; how its
-- target's message ends is noticed by execution_follow. Each state and its event are written in one transaction.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

create table public.execution_policies (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    target text collate "C" not null,
    models text[],
    max_cost_usd numeric,
    max_tokens bigint,
    max_ttl_ms bigint,
    circuit_failures int not null default 5,
    circuit_open_for interval not null default '30 s',
    description text,
    constraint one_policy_per_target unique (target),
    constraint target_is_a_stage_or_a_pattern
        check (target ~ '^(\*|[a-z][a-z0-9-]{0,62}/(\*|[a-z][a-z0-9-]{0,62}))$'),
    constraint limits_are_not_negative check (max_cost_usd >= 0 and max_tokens >= 0 and max_ttl_ms > 0),
    constraint circuit_failures_is_positive check (circuit_failures > 0),
    constraint circuit_open_for_is_between_10ms_and_1d check (circuit_open_for between '10 ms' and '1 day')
);
comment on table public.execution_policies is 'What executions at a target may use. The most specific row counts; without any, everything may be asked for.';
comment on column public.execution_policies.id is 'Row number; nothing refers to it.';
comment on column public.execution_policies.created_at is 'When the row was written.';
comment on column public.execution_policies.target is 'A stage, as in codegen/generate; codegen/* for all of a service; * for all.';
comment on column public.execution_policies.models is 'Models that may be asked for; a trailing * stands for anything. Null: any. Who asks for none gets the one that the target is set to.';
comment on column public.execution_policies.max_cost_usd is 'The largest budget; who asks for none in particular gets at most this. Null: any.';
comment on column public.execution_policies.max_tokens is 'The same in tokens.';
comment on column public.execution_policies.max_ttl_ms is 'A longer ttl counts as this one. Null: any.';
comment on column public.execution_policies.circuit_failures is 'Failures in a row after which the circuit opens.';
comment on column public.execution_policies.circuit_open_for is 'How long it stays open before one execution probes the target.';
comment on column public.execution_policies.description is 'For people.';

create table public.executions (
    id bigint primary key,
    created_at timestamptz not null default now(),
    target text collate "C" not null,
    stage text collate "C" not null,
    target_id bigint,
    tenant text collate "C" not null,
    trace_id text collate "C" not null,
    agent_id text collate "C",
    model text,
    budget jsonb not null,
    expires_at timestamptz not null,
    state text collate "C" not null,
    attempts int not null default 0,
    opening timestamptz,
    reason text,
    ended_at timestamptz,
    constraint state_is_known check (state in ('waiting', 'enqueued', 'retrying', 'done', 'failed', 'cancelled')),
    constraint ended_has_a_time check ((ended_at is not null) = (state in ('done', 'failed', 'cancelled'))),
    constraint forwarded_has_a_message check (target_id is not null or state in ('waiting', 'failed', 'cancelled'))
);
create index executions_open on public.executions (id) where ended_at is null;
create index executions_ended on public.executions (ended_at) where ended_at is not null;
create index executions_waiting on public.executions (stage) where state = 'waiting';
create index executions_trace on public.executions (trace_id);
comment on table public.executions is 'Every execution that was accepted, and what became of it at its target.';
comment on column public.executions.id is 'The message that asked for it.';
comment on column public.executions.created_at is 'When it was forwarded, or first had to wait.';
comment on column public.executions.target is 'The route it goes to.';
comment on column public.executions.stage is 'Service and role of that route: whose circuit it is.';
comment on column public.executions.target_id is 'The message at the target; null while it waits.';
comment on column public.executions.tenant is 'Whose it is.';
comment on column public.executions.trace_id is 'Its trace.';
comment on column public.executions.agent_id is 'The agent it was assigned to.';
comment on column public.executions.model is 'The model it asked for.';
comment on column public.executions.budget is 'What it may spend.';
comment on column public.executions.expires_at is 'The end of its ttl: it does not start at the target after this.';
comment on column public.executions.state is 'waiting (its target''s circuit is open), enqueued, retrying, done, failed or cancelled.';
comment on column public.executions.attempts is 'Failed attempts of the target''s message that events have told of.';
comment on column public.executions.opening is 'When the circuit opened that it was last told to wait for.';
comment on column public.executions.reason is 'Why it failed or was cancelled, as a code.';
comment on column public.executions.ended_at is 'When its end was noticed; null before.';

create table public.circuits (
    target text collate "C" primary key,
    created_at timestamptz not null default now(),
    state text collate "C" not null default 'closed',
    failures int not null default 0,
    opened_at timestamptz,
    retry_at timestamptz,
    probe_id bigint,
    updated_at timestamptz not null default now(),
    constraint state_is_known check (state in ('closed', 'open', 'half_open')),
    constraint open_says_until_when check (state = 'closed' or (opened_at is not null and retry_at is not null)),
    constraint half_open_has_a_probe check ((state = 'half_open') = (probe_id is not null))
);
comment on table public.circuits is 'Targets where something failed. While one is open, executions there wait; a stage without a row is closed.';
comment on column public.circuits.target is 'The stage.';
comment on column public.circuits.created_at is 'When something failed there for the first time.';
comment on column public.circuits.state is 'closed: executions go through; open: they wait; half_open: one probes the target, the others wait.';
comment on column public.circuits.failures is 'Failures in a row.';
comment on column public.circuits.opened_at is 'When it opened last.';
comment on column public.circuits.retry_at is 'When the next execution may probe the target.';
comment on column public.circuits.probe_id is 'The execution that does.';
comment on column public.circuits.updated_at is 'When its state changed last.';

-- Whether a stage or a model is meant by a text that may end in `*`.
create function cogo.matches(p_text text, p_pattern text) returns boolean
language sql immutable as $$
    select case when p_pattern like '%*' then starts_with(p_text, left(p_pattern, -1)) else p_text = p_pattern end
$$;
comment on function cogo.matches(text, text) is 'Whether a text is the pattern, or begins as it does if that ends in `*`.';

-- Not in SQL: the plan of such a function is not kept, and making it takes longer than running it.
create function cogo.execution_policy(p_stage text) returns public.execution_policies
language plpgsql stable set search_path = '' as $$
declare
    v_policy public.execution_policies;
begin
    select * into v_policy from public.execution_policies as policy
    where policy.target in (p_stage, split_part(p_stage, '/', 1) || '/*', '*')
    order by policy.target = p_stage desc, policy.target <> '*' desc limit 1;
    return v_policy;
end
$$;
comment on function cogo.execution_policy(text) is 'The policy that counts for a target; all null if there is none.';

-- Only what executors reported: an event that cannot be read counts nothing, and nothing can be earned back.
create function cogo.spent(p_trace_id text, out cost_usd numeric, out tokens numeric)
language plpgsql stable set search_path = '' as $$
begin
    select
        coalesce(sum(greatest(0, (usage.cost_usd #>> '{}')::numeric)) filter (where jsonb_typeof(usage.cost_usd) = 'number'), 0),
        coalesce(sum(greatest(0, (usage.tokens #>> '{}')::numeric)) filter (where jsonb_typeof(usage.tokens) = 'number'), 0)
    into cost_usd, tokens
    from public.bus_events as event
    cross join lateral (select event.payload #> '{usage,cost_usd}', event.payload #> '{usage,tokens}') as usage(cost_usd, tokens)
    where event.trace_id = p_trace_id and event.event_type in ('codegen_done', 'codegen_failed');
end
$$;
comment on function cogo.spent(text) is 'What a trace has spent so far.';

-- Why an execution is refused, or null in both. Producers write assignments out in full, so a budget that is the default was
-- not asked for: where a policy allows less, it is narrowed and not refused.
create function cogo.execution_fault(
    p_message cogo.agent_messages, p_stage text, p_assignment jsonb, p_default_budget jsonb, p_policy public.execution_policies, p_expires_at timestamptz,
    out code text, out why text)
language plpgsql stable set search_path = '' as $$
declare
    v_allowed text[];
    v_cost numeric := (p_assignment #>> '{budget,maxCostUsd}')::numeric;
    v_tokens numeric := (p_assignment #>> '{budget,maxTokens}')::numeric;
    v_spent record;
begin
    select settings.allowed_targets into v_allowed from public.bus_routes as settings
    where settings.service = p_message.service and settings.role = p_message.role;
    if p_stage = 'orchestrator/execute' or p_stage = p_message.service || '/' || p_message.role then
        code := 'target_refused';
        why := 'an execution cannot be forwarded to the dispatcher itself; name the stage that does the work';
    elsif v_allowed is null and p_stage like 'orchestrator/%' then
        code := 'target_refused';
        why := format('%s is not a target unless it is listed; add it to allowed_targets of %s/%s in bus_routes',
            p_stage, p_message.service, p_message.role);
    elsif not coalesce((select bool_or(cogo.matches(p_stage, allowed.target)) from unnest(v_allowed) as allowed(target)), v_allowed is null) then
        code := 'target_refused';
        why := format('%s is not among the allowed targets; add it to allowed_targets of %s/%s in bus_routes',
            p_stage, p_message.service, p_message.role);
    elsif p_expires_at <= now() then
        code := 'ttl_exceeded';
        why := format('its ttl of %s ms had passed before it could be forwarded; ask for a longer one', p_assignment ->> 'ttl_ms');
    elsif p_policy.models is not null and p_assignment ->> 'model' is not null
        and not coalesce((select bool_or(cogo.matches(p_assignment ->> 'model', allowed.model)) from unnest(p_policy.models) as allowed(model)), false)
    then
        code := 'model_policy_violation';
        why := format('the model `%s` may not be used at %s; allowed are %s', left(p_assignment ->> 'model', 100), p_stage,
            coalesce(nullif(array_to_string(p_policy.models, ', '), ''), 'none'));
    elsif v_cost > p_policy.max_cost_usd and v_cost <> (p_default_budget ->> 'maxCostUsd')::numeric then
        code := 'budget_exceeded';
        why := format('it asks for $%s, and %s may be given $%s; ask for less', v_cost, p_stage, p_policy.max_cost_usd);
    elsif v_tokens > p_policy.max_tokens and v_tokens <> (p_default_budget ->> 'maxTokens')::numeric then
        code := 'budget_exceeded';
        why := format('it asks for %s tokens, and %s may be given %s; ask for less', v_tokens, p_stage, p_policy.max_tokens);
    else
        v_spent := cogo.spent(p_message.trace_id);
        if v_spent.cost_usd > least(v_cost, p_policy.max_cost_usd) or v_spent.tokens > least(v_tokens, p_policy.max_tokens) then
            code := 'budget_exceeded';
            why := format('its trace has already spent $%s and %s tokens, and its budget is $%s and %s tokens', v_spent.cost_usd, v_spent.tokens,
                least(v_cost, p_policy.max_cost_usd), least(v_tokens, p_policy.max_tokens));
        end if;
    end if;
end
$$;
comment on function cogo.execution_fault(cogo.agent_messages, text, jsonb, jsonb, public.execution_policies, timestamptz) is
    'Says why an execution is refused, as a code and in words; null if it is not.';

-- Says whether an execution may go to its target now. One that finds the circuit ready to be probed becomes the probe.
create function cogo.pass_circuit(p_id bigint, p_stage text, out passes boolean, out opening timestamptz, out until timestamptz)
language plpgsql set search_path = '' as $$
declare
    v_circuit public.circuits;
begin
    -- Looked at without a lock first: almost always it is closed, and executions must not queue up for it.
    passes := not exists (select from public.circuits as circuit where circuit.target = p_stage and circuit.state <> 'closed');
    if passes then
        return;
    end if;
    select * into v_circuit from public.circuits as circuit where circuit.target = p_stage for update;
    passes := v_circuit.state = 'closed' or (v_circuit.state = 'open' and v_circuit.retry_at <= clock_timestamp())
        -- Somebody removed the probe by hand.
        or (v_circuit.state = 'half_open' and not exists (
            select from public.executions as probe where probe.id = v_circuit.probe_id and probe.ended_at is null));
    if not passes then
        opening := v_circuit.opened_at;
        -- When the probe ends well they are called; if it does not, this is when the next probe is due.
        until := case v_circuit.state when 'open' then v_circuit.retry_at else clock_timestamp() + (v_circuit.retry_at - v_circuit.opened_at) end;
    elsif v_circuit.state <> 'closed' then
        update public.circuits as circuit set state = 'half_open', probe_id = p_id, updated_at = now() where circuit.target = p_stage;
    end if;
end
$$;
comment on function cogo.pass_circuit(bigint, text) is 'Whether an execution may go through, and else for which opening it waits and until when.';

-- One message of the dispatcher, from its lease to its end, in one transaction: forwarded, told to wait, or refused.
create function public.execution_forward(
    p_worker text, p_id bigint, p_lease uuid, p_target text, p_assignment jsonb, p_default_budget jsonb)
returns table (verdict text, reason text, target_id bigint)
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    v_message cogo.agent_messages;
    v_cancelled boolean;
    v_route record;
    v_stage text;
    v_policy public.execution_policies;
    v_assignment jsonb := p_assignment;
    v_expires_at timestamptz;
    v_fault record;
    v_told timestamptz;
    v_circuit record;
    v_target_id bigint;
    v_outcome jsonb := jsonb_build_object('id', p_id, 'lease', p_lease);
    v_event jsonb := jsonb_build_object('agent_id', p_assignment ->> 'agent_id', 'payload', jsonb_build_object('target', p_target));
begin
    -- Held from here on, so that the settle below is accepted whatever happens around us.
    select coalesce(lease.cancel_requested, false) into v_cancelled from cogo.leases as lease
    where lease.id = p_id and lease.lease = p_lease for update;
    if not found then
        return query select 'lost', null::text, null::bigint;
        return;
    end if;
    if v_cancelled then
        perform public.bus_settle(p_worker, jsonb_build_array(v_outcome || '{"outcome": "cancel"}'));
        return query select 'cancelled', null::text, null::bigint;
        return;
    end if;

    select * into v_message from cogo.agent_messages as message where message.id = p_id;
    v_route := cogo.parse_route(p_target);
    v_stage := v_route.service || '/' || v_route.role;
    v_policy := cogo.execution_policy(v_stage);
    -- Ten years are as good as for ever, and fit into an interval.
    v_assignment := v_assignment || jsonb_build_object('ttl_ms', least((v_assignment ->> 'ttl_ms')::numeric, v_policy.max_ttl_ms, 315360000000));
    v_expires_at := v_message.created_at + (v_assignment ->> 'ttl_ms')::float8 * interval '1 ms';

    v_fault := cogo.execution_fault(v_message, v_stage, v_assignment, p_default_budget, v_policy, v_expires_at);
    if v_fault.code is not null then
        perform public.bus_settle(p_worker, jsonb_build_array(v_outcome || jsonb_build_object('outcome', 'fail', 'reason', v_fault.code,
            'error', v_fault.why, 'events', jsonb_build_array(v_event || jsonb_build_object('event_type', 'execute_failed', 'reason', v_fault.code)))));
        -- It may have waited until now.
        update public.executions as execution set state = 'failed', reason = v_fault.code, ended_at = now() where execution.id = p_id;
        return query select 'refused', v_fault.code, null::bigint;
        return;
    end if;
    v_assignment := v_assignment || jsonb_build_object('budget', jsonb_build_object(
        'maxCostUsd', least((v_assignment #>> '{budget,maxCostUsd}')::numeric, v_policy.max_cost_usd),
        'maxTokens', least((v_assignment #>> '{budget,maxTokens}')::numeric, v_policy.max_tokens)));

    -- Its own row before the circuit's: execution_follow locks them in this order, too.
    select execution.opening into v_told from public.executions as execution where execution.id = p_id for update;
    v_circuit := cogo.pass_circuit(p_id, v_stage);
    if v_circuit.passes then
        select published.id into v_target_id from cogo.publish_all(jsonb_build_array(
            jsonb_strip_nulls(jsonb_build_object('trace_id', v_message.trace_id, 'tenant', v_message.tenant, 'project_id', v_message.project_id,
                'parent_id', v_message.id, 'traceparent', v_message.traceparent))
            || jsonb_build_object('service', v_route.service, 'role', v_route.role, 'shard', v_route.shard, 'expires_at', v_expires_at,
                'payload', coalesce(nullif(v_message.payload -> 'payload', 'null'), '{}') || jsonb_build_object('__assignment', v_assignment))))
            as published;
        v_outcome := v_outcome || jsonb_build_object('outcome', 'done', 'result_snippet', format('forwarded to %s as message %s', p_target, v_target_id),
            'events', jsonb_build_array(v_event || jsonb_build_object('event_type', 'execute_enqueued',
                'payload', jsonb_build_object('target', p_target, 'target_id', v_target_id))));
    else
        -- Not a failure of the message: it goes back with no attempt spent, and does not outlive its ttl.
        v_outcome := v_outcome || jsonb_build_object('outcome', 'release',
            'retry_in_ms', greatest(1, ceil(1000 * extract(epoch from least(v_circuit.until, v_expires_at) - now()))::bigint));
        if v_told is distinct from v_circuit.opening then
            v_outcome := v_outcome || jsonb_build_object('events',
                jsonb_build_array(v_event || '{"event_type": "execute_retry", "reason": "circuit_open"}'));
        end if;
    end if;
    insert into public.executions (id, target, stage, target_id, tenant, trace_id, agent_id, model, budget, expires_at, state, opening)
    values (p_id, p_target, v_stage, v_target_id, v_message.tenant, v_message.trace_id, v_assignment ->> 'agent_id', v_assignment ->> 'model',
        v_assignment -> 'budget', v_expires_at, case when v_circuit.passes then 'enqueued' else 'waiting' end, v_circuit.opening)
    on conflict (id) do update set target_id = excluded.target_id, state = excluded.state, budget = excluded.budget,
        expires_at = excluded.expires_at, opening = coalesce(excluded.opening, executions.opening);
    perform public.bus_settle(p_worker, jsonb_build_array(v_outcome));
    return query select case when v_circuit.passes then 'forwarded' else 'waits' end, null::text, v_target_id;
end
$$;
comment on function public.execution_forward(text, bigint, uuid, text, jsonb, jsonb) is
    'Checks, forwards and settles one message of the dispatcher. Answers forwarded, waits (the circuit is open), refused (with the reason), '
    'cancelled, or lost (the lease is no longer current, and nothing was changed).';

-- Whoever waits for a target looks again now.
create function cogo.call_waiting(p_stage text) returns void
language plpgsql set search_path = '' as $$
declare
    v_lane record;
begin
    for v_lane in
        with called as (
            update cogo.later set due_at = now()
            where later.id = any (array(select execution.id from public.executions as execution
                    where execution.stage = p_stage and execution.state = 'waiting'))
                and later.due_at > now()
            returning later.lane_id
        )
        select distinct lane.service, lane.role, lane.shard, lane.tenant
        from called join cogo.lanes as lane on lane.id = called.lane_id
        order by 1, 2, 3, 4
    loop
        perform cogo.ring_for_new(v_lane.service, v_lane.role, v_lane.shard, v_lane.tenant);
    end loop;
end
$$;
comment on function cogo.call_waiting(text) is 'Makes the executions that wait for a circuit due.';

-- What an execution's end says about its target. Only failures to work at all count: a message that was worked on and
-- refused, or code that fails its tests, shows a target that works.
create function cogo.tell_circuit(p_execution public.executions) returns void
language plpgsql set search_path = '' as $$
declare
    v_broken boolean := p_execution.state = 'failed' and p_execution.reason in ('attempts_exhausted', 'lease_lost', 'ttl_exceeded');
    v_circuit public.circuits;
    v_policy public.execution_policies;
    v_event jsonb;
begin
    if v_broken then
        insert into public.circuits (target) values (p_execution.stage) on conflict do nothing;
    elsif not exists (select from public.circuits as circuit
        where circuit.target = p_execution.stage and (circuit.state <> 'closed' or circuit.failures > 0))
    then
        return;
    end if;
    select * into v_circuit from public.circuits as circuit where circuit.target = p_execution.stage for update;
    -- While it is open or being probed, only the probe has a say: the others were forwarded before it opened.
    if v_circuit.state <> 'closed' and v_circuit.probe_id is distinct from p_execution.id then
        return;
    end if;
    if p_execution.state = 'cancelled' or p_execution.reason = 'message_gone' then
        -- It says nothing; another may probe.
        if v_circuit.state = 'half_open' then
            update public.circuits as circuit set state = 'open', probe_id = null, retry_at = now(), updated_at = now()
            where circuit.target = p_execution.stage;
            perform cogo.call_waiting(p_execution.stage);
        end if;
        return;
    end if;

    v_policy := cogo.execution_policy(p_execution.stage);
    v_event := jsonb_build_object('message_id', p_execution.id, 'trace_id', p_execution.trace_id, 'tenant', p_execution.tenant,
        'service', split_part(p_execution.stage, '/', 1), 'role', split_part(p_execution.stage, '/', 2));
    if not v_broken then
        update public.circuits as circuit set state = 'closed', failures = 0, probe_id = null, updated_at = now()
        where circuit.target = p_execution.stage;
        if v_circuit.state = 'half_open' then
            perform cogo.emit_all(jsonb_build_array(v_event || jsonb_build_object('event_type', 'circuit_closed',
                'payload', jsonb_build_object('target', p_execution.stage))));
            perform cogo.call_waiting(p_execution.stage);
        end if;
    elsif v_circuit.state = 'half_open' or v_circuit.failures + 1 >= coalesce(v_policy.circuit_failures, 5) then
        update public.circuits as circuit set state = 'open', failures = circuit.failures + 1, probe_id = null, updated_at = now(),
            opened_at = now(), retry_at = now() + coalesce(v_policy.circuit_open_for, '30 s')
        where circuit.target = p_execution.stage
        returning * into v_circuit;
        perform cogo.emit_all(jsonb_build_array(v_event || jsonb_build_object('event_type', 'circuit_opened', 'reason', p_execution.reason,
            'payload', jsonb_build_object('target', p_execution.stage, 'failures', v_circuit.failures, 'retry_at', v_circuit.retry_at))));
    else
        update public.circuits as circuit set failures = circuit.failures + 1, updated_at = now() where circuit.target = p_execution.stage;
    end if;
end
$$;
comment on function cogo.tell_circuit(public.executions) is 'Opens and closes the circuit of a target by how an execution there ended.';

-- Looks at the messages of open executions: tells of failed attempts, and closes what has ended. Any number of callers
-- may do so at once; each execution is told of by one of them.
create function public.execution_follow(p_limit int default 500) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
    v_seen record;
    v_execution public.executions;
    v_ended public.executions[] := '{}';
    v_events jsonb[] := '{}';
    v_changed int := 0;
begin
    for v_seen in
        with changed as materialized (
            -- Nothing is locked or written where nothing has changed: this runs often, and most executions are still at work.
            select execution.id
            from public.executions as execution
            left join cogo.agent_messages as message on message.id = coalesce(execution.target_id, execution.id)
            left join cogo.receipts as receipt on receipt.id = message.id
            where execution.ended_at is null
                and (receipt.id is not null or message.id is null or (execution.target_id is not null and message.attempts > execution.attempts))
            order by execution.id limit p_limit
        ),
        mine as (
            select execution.* from public.executions as execution
            where execution.id = any (array(select changed.id from changed)) and execution.ended_at is null
            for update skip locked
        ),
        found as (
            select mine.id, mine.attempts as told, message.error, receipt.done_at,
                coalesce(receipt.status, case when message.id is null then 'failed' end) as ended_as,
                case
                    when message.id is null then 'message_gone'
                    when receipt.status = 'failed' and receipt.reason = 'expired' then 'ttl_exceeded'
                    when receipt.status in ('failed', 'cancelled') then coalesce(receipt.reason, receipt.status)
                end as because,
                -- The last attempt counts as failed only where another one followed, or was to follow.
                case when mine.target_id is null then 0
                    else coalesce(receipt.attempts - (receipt.claimed_at is not null)::int, message.attempts, 0) end as failed
            from mine
            left join cogo.agent_messages as message on message.id = coalesce(mine.target_id, mine.id)
            left join cogo.receipts as receipt on receipt.id = message.id
        ),
        updated as (
            update public.executions as execution set
                state = coalesce(found.ended_as, 'retrying'), reason = found.because, attempts = greatest(found.failed, execution.attempts),
                ended_at = case when found.ended_as is not null then now() end
            from found where execution.id = found.id and (found.ended_as is not null or found.failed > execution.attempts)
            returning execution as now_is, found.told, found.error, found.done_at
        )
        -- Circuits are locked in the order of their names, and hear of ends in the order in which these happened.
        select * from updated order by (updated.now_is).stage, updated.done_at, (updated.now_is).id
    loop
        v_execution := v_seen.now_is;
        v_changed := v_changed + 1;
        v_events := v_events || array(
            select jsonb_build_object('event_type', 'execute_retry', 'message_id', v_execution.id, 'trace_id', v_execution.trace_id,
                'tenant', v_execution.tenant, 'agent_id', v_execution.agent_id, 'reason', 'attempt_failed',
                'payload', jsonb_strip_nulls(jsonb_build_object('target', v_execution.target, 'target_id', v_execution.target_id, 'attempt', failed.attempt,
                    'error', case when failed.attempt = v_execution.attempts then v_seen.error end)))
            from generate_series(v_seen.told + 1, v_execution.attempts) as failed(attempt));
        if v_execution.ended_at is not null then
            v_ended := v_ended || v_execution;
            v_events := v_events || jsonb_build_object('event_type', case v_execution.state when 'done' then 'execute_done' else 'execute_failed' end,
                'message_id', v_execution.id, 'trace_id', v_execution.trace_id, 'tenant', v_execution.tenant, 'agent_id', v_execution.agent_id,
                'reason', v_execution.reason, 'payload', jsonb_build_object('target', v_execution.target, 'target_id', v_execution.target_id));
        end if;
    end loop;
    if v_changed > 0 then
        perform cogo.emit_all(to_jsonb(v_events));
        foreach v_execution in array v_ended loop
            perform cogo.tell_circuit(v_execution) where v_execution.target_id is not null;
        end loop;
    end if;
    return jsonb_build_object('changed', v_changed, 'ended', cardinality(v_ended), 'more', v_changed >= p_limit,
        'open', exists (select from public.executions as execution where execution.ended_at is null));
end
$$;
comment on function public.execution_follow(int) is
    'Brings open executions up to date with their target''s messages, with the events that tell of it. Answers how many changed and ended, '
    'whether there is more to do at once, and whether any are still open.';

create function public.execution_retain(p_keep interval, p_limit int default 1000) returns int
language plpgsql security definer set search_path = '' as $$
declare
    v_count int;
begin
    delete from public.executions as execution where execution.id = any (array(
        select old.id from public.executions as old where old.ended_at < now() - p_keep
        order by old.ended_at limit p_limit for update skip locked));
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function public.execution_retain(interval, int) is 'Deletes executions that ended long ago, one small batch a call; answers how many.';

-- Who may do what -----------------------------------------------------------------------------------------------------

select cogo.protect_tables(array['public.execution_policies', 'public.executions', 'public.circuits']::regclass[]);
grant insert, update, delete on public.execution_policies to service_role;
select cogo.protect_functions(cogo.functions_named('cogo', array[
    'matches', 'execution_policy', 'spent', 'execution_fault', 'pass_circuit', 'call_waiting', 'tell_circuit']));
select cogo.protect_functions(cogo.functions_named('public', array['execution_forward', 'execution_follow', 'execution_retain']),
    'service_role, cogo_worker');
