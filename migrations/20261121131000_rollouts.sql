-- Rollouts: how a release gets from recorded to active, or back. A controller takes agents over under a fence, and each
-- step it takes is one call, refused if its fence is old or if the step is none: the row is the truth, not the controller.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

create function cogo.is_arrow(p_from text, p_to text) returns boolean
language sql immutable set search_path = '' as $$
    select (p_from, p_to) in (
        ('recorded', 'resolved'), ('recorded', 'rejected'), ('resolved', 'rejected'), ('queued', 'rejected'),
        ('queued', 'canary_deploying'), ('queued', 'deploying'),
        ('canary_deploying', 'canary_verifying'), ('canary_verifying', 'deploying'), ('deploying', 'verifying'), ('verifying', 'active'),
        ('canary_deploying', 'failed'), ('canary_verifying', 'failed'), ('deploying', 'failed'), ('verifying', 'failed'),
        ('failed', 'rolling_back'), ('failed', 'scaled_down'),
        ('rolling_back', 'rolled_back'), ('rolling_back', 'rollback_failed'), ('failed', 'rollback_failed'))
$$;
comment on function cogo.is_arrow(text, text) is 'Whether a controller may take a release from one phase to the other.';

create function public.rollout_take(p_holder text, p_hold_ms int default 5000) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_agents uuid[];
begin
    with free as (
        select agent.id from public.agent_catalog as agent
        where (agent.held_by is null or agent.held_by = p_holder or agent.held_until < clock_timestamp())
            and exists (select from public.image_tag_history as release where release.agent_id = agent.id and release.phase in
                ('recorded', 'queued', 'canary_deploying', 'canary_verifying', 'deploying', 'verifying', 'failed', 'rolling_back'))
        order by agent.id for update skip locked
    ),
    taken as (
        update public.agent_catalog as agent set held_by = p_holder, held_until = clock_timestamp() + make_interval(secs => p_hold_ms / 1000.0),
            fence = agent.fence + (agent.held_by is distinct from p_holder)::int
        from free where agent.id = free.id returning agent.id
    )
    select array_agg(taken.id) into v_agents from taken;

    -- The newest wins: what was wanted before it and has not begun never will.
    perform cogo.supersede(older) from public.image_tag_history as older
    where older.agent_id = any (v_agents) and older.phase = 'queued' and exists (
        select from public.image_tag_history as newer
        where newer.agent_id = older.agent_id and newer.seq > older.seq and newer.phase in ('queued', 'canary_deploying', 'canary_verifying', 'deploying', 'verifying'));

    return (select coalesce(jsonb_agg(to_jsonb(told)), '[]') from (
    select release.id as release_id, agent.id as agent_id, agent.agent_name, agent.service, agent.role, agent.repo, release.tag, release.digest,
        release.phase, agent.fence, release.forced, release.canary, release.generation, release.template_hash,
        cogo.milliseconds(release.deadline_at - clock_timestamp()) as deadline_ms, release.extended,
        cogo.milliseconds(clock_timestamp() - release.started_at) as running_ms, release.failure_code, release.failure_detail, release.failed_in,
        agent.kube_namespace, agent.deployment, agent.container, release.trace_id,
        previous.id as previous_id, previous.tag as previous_tag, previous.digest as previous_digest,
        account.provider, account.registry_url, account.credential_ref
    from public.agent_catalog as agent
    join public.image_tag_history as release on release.agent_id = agent.id
    left join public.image_tag_history as previous on previous.id = coalesce(release.previous_id, agent.active_release_id)
    left join public.registry_accounts as account on account.id = agent.registry_account_id
    where agent.id = any (v_agents) and case release.phase
        when 'recorded' then true
        -- One that goes back comes to its end first; one that is on its way forward does not.
        when 'queued' then not agent.paused and not exists (
            select from public.image_tag_history as back where back.agent_id = agent.id and back.phase in ('failed', 'rolling_back'))
        when 'failed' then true
        when 'rolling_back' then true
        when 'canary_deploying' then true
        when 'canary_verifying' then true
        when 'deploying' then true
        when 'verifying' then true
        else false end
    order by release.agent_id, release.seq desc) as told);
end
$$;
comment on function public.rollout_take(text, int) is
    'What this controller has to do: of the agents that it holds or may take over, what is under way, what is queued and what nobody has resolved.';

create function cogo.milliseconds(p_interval interval) returns bigint
language sql immutable set search_path = '' as $$
    select (1000 * extract(epoch from p_interval))::bigint
$$;
comment on function cogo.milliseconds(interval) is 'An interval in whole milliseconds.';

create function public.rollout_advance(p_release uuid, p_fence bigint, p_to text, p_facts jsonb default '{}')
returns table (accepted boolean, phase text, why text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    v_agent public.agent_catalog;
    v_release public.image_tag_history;
    v_from text;
    v_now timestamptz := clock_timestamp();
begin
    perform cogo.refuse_unknown(p_facts, array['code', 'detail', 'digest', 'generation', 'template_hash', 'deadline_ms', 'quarantine'], 'what happened');
    select agent.* into v_agent from public.agent_catalog as agent
    where agent.id = (select release.agent_id from public.image_tag_history as release where release.id = p_release) for update;
    if not found then
        return query select false, null::text, 'there is no such release';
        return;
    end if;
    select * into v_release from public.image_tag_history as release where release.id = p_release;
    v_from := v_release.phase;
    if v_agent.fence <> p_fence then
        return query select false, v_from, 'another controller has taken the agent over';
        return;
    elsif v_from <> p_to and not cogo.is_arrow(v_from, p_to) then
        return query select false, v_from, format('a release does not go from %s to %s', v_from, p_to);
        return;
    elsif p_to in ('deploying', 'canary_deploying') and v_from = 'queued' and v_agent.paused then
        return query select false, v_from, 'the agent is paused';
        return;
    elsif p_to in ('deploying', 'canary_deploying') and v_from = 'queued' and exists (
            select from public.image_tag_history as back where back.agent_id = v_agent.id and back.phase in ('failed', 'rolling_back')) then
        return query select false, v_from, 'another release of the agent is on its way back';
        return;
    end if;

    if p_to = 'resolved' and v_from = 'recorded' then
        v_release := cogo.resolve_release(v_agent, v_release, p_facts ->> 'digest');
        return query select true, v_release.phase, v_release.failure_detail;
        return;
    end if;

    if v_from = 'queued' and p_to in ('deploying', 'canary_deploying') then
        -- What is on its way forward makes room.
        perform cogo.supersede(other) from public.image_tag_history as other
        where other.agent_id = v_agent.id and other.id <> p_release
            and other.phase in ('canary_deploying', 'canary_verifying', 'deploying', 'verifying');
    end if;
    if p_to = 'active' and v_from <> 'active' then
        update public.image_tag_history as before set phase = 'retired' where before.agent_id = v_agent.id and before.phase = 'active';
    end if;

    update public.image_tag_history as release set
        phase = p_to,
        generation = coalesce((p_facts ->> 'generation')::bigint, release.generation),
        template_hash = coalesce(p_facts ->> 'template_hash', release.template_hash),
        -- A deadline that is put off stays so only once.
        extended = (v_from = p_to and p_facts ? 'deadline_ms') or (v_from = p_to and release.extended),
        deadline_at = coalesce(v_now + make_interval(secs => (p_facts ->> 'deadline_ms')::bigint / 1000.0), release.deadline_at),
        failure_code = case when p_to in ('active', 'deploying', 'canary_deploying') and v_from <> p_to then null
            else coalesce(p_facts ->> 'code', release.failure_code) end,
        failure_detail = case when p_to in ('active', 'deploying', 'canary_deploying') and v_from <> p_to then null
            else left(coalesce(p_facts ->> 'detail', release.failure_detail), 2000) end,
        failed_in = case when p_to = 'failed' and v_from <> 'failed' then v_from else release.failed_in end,
        previous_id = case when v_from = 'queued' and p_to in ('deploying', 'canary_deploying') then v_agent.active_release_id else release.previous_id end,
        started_at = case when p_to in ('deploying', 'canary_deploying') then coalesce(release.started_at, v_now) else release.started_at end,
        verdict_ms = case when p_to in ('active', 'failed') and v_from <> p_to then cogo.milliseconds(v_now - release.started_at) else release.verdict_ms end,
        restored_ms = case when p_to in ('rolled_back', 'scaled_down') and v_from <> p_to then cogo.milliseconds(v_now - release.started_at)
            else release.restored_ms end,
        finished_at = case when p_to in ('active', 'rejected', 'rolled_back', 'rollback_failed', 'scaled_down') then coalesce(release.finished_at, v_now)
            else release.finished_at end
    where release.id = p_release
    returning * into v_release;

    if v_from <> p_to then
        perform cogo.release_event(v_release, p_to, jsonb_build_object('from', v_from));
        perform cogo.after_step(v_agent, v_release, coalesce((p_facts ->> 'quarantine')::boolean, true));
    end if;
    return query select true, v_release.phase, null::text;
end
$$;
comment on function public.rollout_advance(uuid, bigint, text, jsonb) is
    'Takes a release one step further, or notes why it stays. Refused with a reason if the fence is old or the step is none.';

-- What the catalogue says after a step.
create function cogo.after_step(p_agent public.agent_catalog, p_release public.image_tag_history, p_quarantine boolean) returns void
language plpgsql set search_path = '' as $$
declare
    v_previous public.image_tag_history;
begin
    if p_release.phase in ('deploying', 'canary_deploying') then
        update public.agent_catalog as agent set pinned_tag = p_release.tag, pinned_release_id = p_release.id where agent.id = p_agent.id;
    elsif p_release.phase = 'active' then
        update public.agent_catalog as agent set active_release_id = p_release.id, failures = 0 where agent.id = p_agent.id;
        delete from cogo.quarantined_images as bad where bad.agent_id = p_agent.id and bad.digest = p_release.digest;
    elsif p_release.phase = 'failed' then
        if p_quarantine then
            insert into cogo.quarantined_images (agent_id, digest, release_id, failure_code)
            values (p_agent.id, p_release.digest, p_release.id, p_release.failure_code) on conflict do nothing;
        end if;
        update public.agent_catalog as agent set failures = agent.failures + 1,
            paused = agent.paused or agent.failures >= 2,
            paused_reason = case when agent.paused then agent.paused_reason
                when agent.failures >= 2 then format('%s releases in a row failed, the last one with %s', agent.failures + 1, p_release.failure_code) end
        where agent.id = p_agent.id;
    elsif p_release.phase = 'rollback_failed' then
        update public.agent_catalog as agent set paused = true, paused_reason = coalesce(agent.paused_reason,
            format('%s could not be rolled back', p_release.tag)) where agent.id = p_agent.id;
    end if;
    if p_release.phase in ('rejected', 'rolling_back', 'scaled_down', 'rollback_failed') then
        -- Unless something newer is wanted already, what should run is again what ran before.
        select * into v_previous from public.image_tag_history as release where release.id = p_agent.active_release_id;
        update public.agent_catalog as agent set pinned_tag = v_previous.tag, pinned_release_id = v_previous.id
        where agent.id = p_agent.id and agent.pinned_release_id = p_release.id;
    end if;
end
$$;
comment on function cogo.after_step(public.agent_catalog, public.image_tag_history, boolean) is 'Pins, counts failures and pauses, as a step of a release asks for.';

-- The registry has said which image the tag means. Nothing has been touched yet, and nothing is if it may not run.
create function cogo.resolve_release(p_agent public.agent_catalog, p_release public.image_tag_history, p_digest text)
returns public.image_tag_history
language plpgsql set search_path = '' as $$
declare
    v_release public.image_tag_history;
    v_code text;
    v_detail text;
    v_other text;
begin
    if p_digest is null then
        raise exception using errcode = '22023', message = 'a release is resolved by the digest of its image',
            hint = 'Give {"digest": "sha256:…"}.';
    end if;
    if p_release.digest <> p_digest then
        v_code := 'tag_moved';
        v_detail := format('it was recorded with %s, and the registry says %s', p_release.digest, p_digest);
    end if;
    select earlier.digest into v_other from public.image_tag_history as earlier
    where earlier.agent_id = p_agent.id and earlier.tag = p_release.tag and earlier.digest <> p_digest and earlier.seq < p_release.seq
        and earlier.phase <> 'rejected' limit 1;
    if v_code is null and v_other is not null then
        v_code := 'tag_moved';
        v_detail := format('it was %s before, and the registry says %s', v_other, p_digest);
    end if;
    if v_code is null and not p_release.forced then
        select 'quarantined', format('this image failed before with %s', bad.failure_code) into v_code, v_detail
        from cogo.quarantined_images as bad where bad.agent_id = p_agent.id and bad.digest = p_digest;
        if v_code is null and p_release.wanted then
            select 'same_image', format('%s runs this image already', active.tag) into v_code, v_detail
            from public.image_tag_history as active where active.id = p_agent.active_release_id and active.digest = p_digest;
        end if;
    end if;
    update public.image_tag_history as release set
        digest = coalesce(release.digest, p_digest),
        phase = case when v_code is not null then 'rejected' when release.wanted then 'queued' else 'resolved' end,
        failure_code = v_code, failure_detail = v_detail,
        finished_at = case when v_code is not null then clock_timestamp() end
    where release.id = p_release.id returning * into v_release;
    if v_code is null then
        perform cogo.release_event(v_release, 'resolved');
    end if;
    if v_release.phase = 'queued' then
        update public.agent_catalog as agent set pinned_tag = v_release.tag, pinned_release_id = v_release.id
        where agent.id = p_agent.id and not exists (
            select from public.image_tag_history as newer where newer.id = agent.pinned_release_id and newer.seq > v_release.seq and newer.phase <> 'active');
        perform cogo.release_event(v_release, 'queued');
    elsif v_release.phase = 'rejected' then
        perform cogo.release_event(v_release, 'rejected');
        perform cogo.after_step(p_agent, v_release, false);
    end if;
    return v_release;
end
$$;
comment on function cogo.resolve_release(public.agent_catalog, public.image_tag_history, text) is
    'Notes which image a tag is, and rejects one that has moved, failed before or runs already.';

create function public.rollout_let_go(p_holder text) returns int
language plpgsql security definer set search_path = '' as $$
declare
    v_count int;
begin
    update public.agent_catalog as agent set held_until = clock_timestamp() where agent.held_by = p_holder and agent.held_until > clock_timestamp();
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function public.rollout_let_go(text) is 'A controller that leaves lets others take over at once; how many agents it held.';

create function public.rollout_heartbeats(p_releases text[])
returns jsonb
language sql stable security definer set search_path = '' as $$
    select coalesce(jsonb_agg(jsonb_build_object('release_id', worker.release_id, 'worker_id', worker.id, 'pod_uid', worker.pod_uid,
        'digest', worker.digest, 'state', worker.state, 'silent_ms', cogo.milliseconds(clock_timestamp() - worker.seen_at))), '[]')
    from public.workers as worker
    where worker.release_id = any (p_releases) and worker.state <> 'gone'
$$;
comment on function public.rollout_heartbeats(text[]) is 'What the workers of these releases last said of themselves.';

create function public.rollout_pulse(p_except text[], p_recent_ms bigint, p_silent_ms bigint) returns table (workers bigint, silent bigint)
language sql stable security definer set search_path = '' as $$
    select count(*), count(*) filter (where worker.seen_at < clock_timestamp() - make_interval(secs => p_silent_ms / 1000.0))
    from public.workers as worker
    -- One that was told to stop falls silent because it ends.
    where worker.state = 'ready' and not coalesce(worker.release_id = any (p_except), false)
        and worker.seen_at > clock_timestamp() - make_interval(secs => p_recent_ms / 1000.0)
$$;
comment on function public.rollout_pulse(text[], bigint, bigint) is
    'Of all other workers heard of recently, how many have been silent for so long: whether the bus itself is down.';

-- Of the newest receipts only: a canary is judged by the last minutes, and they are at the end.
create function public.rollout_outcomes(p_releases text[], p_since_ms bigint, p_newest int default 20000)
returns jsonb
language sql stable security definer set search_path = '' as $$
    select coalesce(jsonb_agg(to_jsonb(told)), '[]') from (
    select worker.release_id, count(*) filter (where receipt.status = 'done') as done, count(*) filter (where receipt.status = 'failed') as failed,
        percentile_cont(0.5) within group (order by 1000 * extract(epoch from receipt.done_at - receipt.claimed_at)::float8) as work_p50_ms,
        percentile_cont(0.9) within group (order by 1000 * extract(epoch from receipt.done_at - receipt.claimed_at)::float8) as work_p90_ms
    from (select * from cogo.receipts order by id desc limit p_newest) as receipt
    join public.workers as worker on worker.id = receipt.worker
    where worker.release_id = any (p_releases) and receipt.done_at > clock_timestamp() - make_interval(secs => p_since_ms / 1000.0)
        and receipt.status in ('done', 'failed')
    group by worker.release_id) as told
$$;
comment on function public.rollout_outcomes(text[], bigint, int) is 'What became of the messages that workers of these releases had lately.';

create function public.pull_secrets_due(p_limit int default 100) returns jsonb
language sql stable security definer set search_path = '' as $$
    select coalesce(jsonb_agg(to_jsonb(told)), '[]') from (
    select link.id as link_id, link.kube_namespace, link.secret_name, link.content_hash, account.provider, account.registry_url, account.namespace as account_namespace,
        account.credential_ref
    from public.k8s_pull_secret_links as link join public.registry_accounts as account on account.id = link.registry_account_id
    where link.managed_by = 'controller' and coalesce(link.refresh_at, '-infinity') <= clock_timestamp()
    order by link.refresh_at nulls first limit p_limit) as told
$$;
comment on function public.pull_secrets_due(int) is 'Pull secrets that the controller should look at now.';

create function public.pull_secret_synced(p_link uuid, p_content_hash text, p_next_ms bigint) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
    v_link public.k8s_pull_secret_links;
    v_new boolean;
begin
    select * into v_link from public.k8s_pull_secret_links as link where link.id = p_link for update;
    v_new := v_link.content_hash is distinct from p_content_hash;
    update public.k8s_pull_secret_links as link set last_synced_at = clock_timestamp(), content_hash = p_content_hash, failure_code = null,
        failure_detail = null, refresh_at = clock_timestamp() + make_interval(secs => p_next_ms / 1000.0)
    where link.id = p_link;
    if found and v_new then
        insert into public.bus_events (event_type, trace_id, tenant, payload) values ('pull_secret_synced', cogo.new_trace_id(), 'default',
            jsonb_build_object('id', p_link, 'kube_namespace', v_link.kube_namespace, 'secret_name', v_link.secret_name));
    end if;
    return v_link.id is not null;
end
$$;
comment on function public.pull_secret_synced(uuid, text, bigint) is 'The secret is as it should be; look again after so long.';

create function public.pull_secret_failed(p_link uuid, p_code text, p_detail text, p_next_ms bigint) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
    v_link public.k8s_pull_secret_links;
begin
    select * into v_link from public.k8s_pull_secret_links as link where link.id = p_link for update;
    update public.k8s_pull_secret_links as link set failure_code = p_code, failure_detail = left(p_detail, 2000),
        refresh_at = clock_timestamp() + make_interval(secs => p_next_ms / 1000.0)
    where link.id = p_link;
    if found and v_link.failure_code is distinct from p_code then
        insert into public.bus_events (event_type, trace_id, tenant, reason, payload) values ('pull_secret_failed', cogo.new_trace_id(), 'default', p_code,
            jsonb_build_object('id', p_link, 'kube_namespace', v_link.kube_namespace, 'secret_name', v_link.secret_name, 'detail', left(p_detail, 2000)));
    end if;
    return v_link.id is not null;
end
$$;
comment on function public.pull_secret_failed(uuid, text, text, bigint) is 'The secret could not be made as it should be; try again after so long.';

-- What people look at.
create function public.registry_releases(p_agent text default null, p_limit int default 50, p_release uuid default null) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    return (select coalesce(jsonb_agg(to_jsonb(told)), '[]') from (
    select release.id, agent.agent_name, release.tag, release.digest, release.rollout_status, release.phase, release.wanted,
        agent.pinned_release_id is not distinct from release.id as pinned, release.canary, release.built_by, release.built_at, release.changelog_url,
        release.trace_id, previous.tag as previous_tag, back.tag as rollback_of_tag, release.failure_code, release.failure_detail, release.failed_in,
        release.created_at as recorded_at, release.requested_at, release.started_at, release.finished_at, release.verdict_ms, release.restored_ms,
        cogo.milliseconds(coalesce(release.finished_at, clock_timestamp()) - release.requested_at) as took_ms
    from public.image_tag_history as release join public.agent_catalog as agent on agent.id = release.agent_id
    left join public.image_tag_history as previous on previous.id = release.previous_id
    left join public.image_tag_history as back on back.id = release.rollback_of
    where (p_agent is null or agent.agent_name = p_agent) and (p_release is null or release.id = p_release)
    order by release.seq desc limit p_limit) as told);
end
$$;
comment on function public.registry_releases(text, int, uuid) is 'Releases of one agent or of all, the newest first.';

create function public.registry_agents(p_agent text default null) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
    return (select coalesce(jsonb_agg(to_jsonb(told)), '[]') from (
    select agent.id, agent.agent_name, agent.service, agent.role, agent.repo, agent.default_tag,
        account.registry_url || '/' || account.namespace as account, agent.autodeploy_enabled, agent.kube_namespace, agent.deployment, agent.container,
        agent.paused, agent.paused_reason, agent.failures, agent.pinned_tag, active.tag as active_tag, active.digest as active_digest,
        active.finished_at as active_since, latest.tag as latest_tag, latest.phase as latest_phase, latest.failure_code as latest_failure_code,
        (select count(*) from public.workers as worker where worker.release_id = active.id::text and worker.state = 'ready'
            and worker.seen_at > now() - interval '1 minute') as workers, agent.updated_at
    from public.agent_catalog as agent
    left join public.registry_accounts as account on account.id = agent.registry_account_id
    left join public.image_tag_history as active on active.id = agent.active_release_id
    left join lateral (select * from public.image_tag_history as release where release.agent_id = agent.id order by release.seq desc limit 1) as latest on true
    where p_agent is null or agent.agent_name = p_agent
    order by agent.agent_name) as told);
end
$$;
comment on function public.registry_agents(text) is 'The agents, and where each stands.';

create function public.registry_list_accounts() returns jsonb
language sql stable security definer set search_path = '' as $$
    select coalesce(jsonb_agg(to_jsonb(told)), '[]') from (
    select account.id, account.provider, account.registry_url, account.namespace, account.credential_ref, account.read_only, account.description,
        (select count(*) from public.agent_catalog as agent where agent.registry_account_id = account.id) as agents,
        (select count(*) from public.k8s_pull_secret_links as link where link.registry_account_id = account.id) as pull_secrets,
        (select count(*) from public.k8s_pull_secret_links as link where link.registry_account_id = account.id and link.failure_code is not null)
            as failing_pull_secrets
    from public.registry_accounts as account order by account.registry_url, account.namespace) as told
$$;
comment on function public.registry_list_accounts() is 'The accounts, and what uses them.';

select cogo.protect_functions(cogo.functions_named('cogo', array['is_arrow', 'milliseconds', 'after_step', 'resolve_release']));
select cogo.protect_functions(cogo.functions_named('public', array['rollout_take', 'rollout_advance', 'rollout_let_go', 'rollout_heartbeats', 'rollout_pulse',
    'rollout_outcomes', 'pull_secrets_due', 'pull_secret_synced', 'pull_secret_failed', 'registry_releases', 'registry_agents', 'registry_list_accounts']),
    'service_role, cogo_worker');
