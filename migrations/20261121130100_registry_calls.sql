-- What is done to the registry: tags recorded and promoted, agents paused, accounts and agents put in place. The command
-- line, a build after its push and a person in psql all call these.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

create function cogo.agent_named(p_agent text) returns public.agent_catalog
language plpgsql set search_path = '' as $$
declare
    v_agent public.agent_catalog;
begin
    select * into v_agent from public.agent_catalog as agent where agent.agent_name = p_agent for update;
    if not found then
        raise exception using errcode = 'P0002', message = format('there is no agent `%s`', left(p_agent, 128)),
            hint = coalesce('There are ' || (select string_agg(agent.agent_name, ', ' order by agent.agent_name) from public.agent_catalog as agent) || '.',
                'The catalogue is empty; add one with cogo agents add.');
    end if;
    return v_agent;
end
$$;
comment on function cogo.agent_named(text) is 'The agent of this name, locked.';

create function cogo.supersede(p_release public.image_tag_history) returns void
language plpgsql set search_path = '' as $$
declare
    v_release public.image_tag_history;
begin
    update public.image_tag_history as release set phase = 'superseded', finished_at = clock_timestamp() where release.id = p_release.id
    returning * into v_release;
    perform cogo.release_event(v_release, 'superseded', jsonb_build_object('from', p_release.phase));
end
$$;
comment on function cogo.supersede(public.image_tag_history) is 'Ends a release because a newer one takes its place.';

create function public.registry_record_tag(p_agent text, p_tag text, p_digest text default null, p_built_by text default null,
    p_built_at text default null, p_changelog_url text default null, p_trace_id text default null, p_canary jsonb default null)
returns table (release_id uuid, phase text, trace_id text, attached boolean)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    v_agent public.agent_catalog := cogo.agent_named(p_agent);
    v_known public.image_tag_history;
begin
    -- A build that tells the same tag once more gets the answer of the first time.
    select * into v_known from public.image_tag_history as release
    where release.agent_id = v_agent.id and release.tag = p_tag and release.phase <> 'rejected'
        and (p_digest is null or release.digest is null or release.digest = p_digest)
    order by release.seq desc limit 1;
    if found then
        return query select v_known.id, v_known.phase, v_known.trace_id, true;
        return;
    end if;
    return query
    insert into public.image_tag_history as release (agent_id, tag, digest, built_by, built_at, changelog_url, trace_id, canary)
    values (v_agent.id, p_tag, p_digest, p_built_by, p_built_at::timestamptz, p_changelog_url, coalesce(p_trace_id, cogo.new_trace_id()), p_canary)
    returning release.id, release.phase, release.trace_id, false;
end
$$;
comment on function public.registry_record_tag(text, text, text, text, text, text, text, jsonb) is
    'Records a tag that was pushed. The same tag once more attaches to the release it made before.';

create function public.registry_promote(p_agent text, p_tag text, p_force boolean default false, p_canary jsonb default null)
returns table (release_id uuid, phase text, trace_id text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    v_agent public.agent_catalog := cogo.agent_named(p_agent);
    v_known public.image_tag_history;
begin
    select * into v_known from public.image_tag_history as release
    where release.agent_id = v_agent.id and release.tag = p_tag order by release.seq desc limit 1;
    if not found then
        raise exception using errcode = 'P0002', message = format('%s has no tag `%s`', p_agent, left(p_tag, 128)),
            hint = 'Record it first: cogo images record.';
    elsif v_known.id = v_agent.active_release_id then
        -- It runs already: what there is to do is to call off whatever else is on its way.
        return query select told.* from public.registry_rollback(p_agent, p_tag) as told;
        return;
    end if;
    if p_force then
        delete from cogo.quarantined_images as bad where bad.agent_id = v_agent.id and bad.digest = v_known.digest;
    elsif exists (select from cogo.quarantined_images as bad where bad.agent_id = v_agent.id and bad.digest = v_known.digest) then
        raise exception using errcode = '55000', message = (
                select format('the image of %s has failed before: %s', p_tag, bad.failure_code) from cogo.quarantined_images as bad
                where bad.agent_id = v_agent.id and bad.digest = v_known.digest),
            hint = 'Build a new one, or insist with --force.';
    end if;
    return query select told.* from cogo.want(v_agent, v_known, p_force, p_canary, null) as told;
end
$$;
comment on function public.registry_promote(text, text, boolean, jsonb) is 'Makes a recorded tag the one that should run.';

-- A release that has not begun is used; of one that is over, a new release is made.
create function cogo.want(p_agent public.agent_catalog, p_known public.image_tag_history, p_force boolean, p_canary jsonb, p_rollback_of uuid)
returns table (release_id uuid, phase text, trace_id text)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
    v_release public.image_tag_history := p_known;
begin
    if p_known.phase in ('recorded', 'resolved') then
        update public.image_tag_history as release set wanted = true, forced = release.forced or p_force,
            canary = coalesce(p_canary, release.canary), requested_at = clock_timestamp(),
            phase = case release.phase when 'resolved' then 'queued' else release.phase end
        where release.id = p_known.id returning * into v_release;
        perform cogo.release_event(v_release, 'promoted', jsonb_build_object('by', cogo.caller_role()));
        if v_release.phase = 'queued' then
            perform cogo.release_event(v_release, 'queued');
        end if;
    elsif p_known.phase not in ('queued', 'canary_deploying', 'canary_verifying', 'deploying', 'verifying') then
        insert into public.image_tag_history (agent_id, tag, digest, built_by, built_at, changelog_url, wanted, forced, canary, rollback_of)
        values (p_agent.id, p_known.tag, p_known.digest, p_known.built_by, p_known.built_at, p_known.changelog_url, true, p_force, p_canary, p_rollback_of)
        returning * into v_release;
        perform cogo.release_event(v_release, 'promoted', jsonb_build_object('by', cogo.caller_role()));
        -- What has run is known, and to go back to it needs no registry.
        if p_known.phase in ('active', 'retired') then
            update public.image_tag_history as release set phase = 'queued' where release.id = v_release.id returning * into v_release;
            perform cogo.release_event(v_release, 'queued');
        end if;
    end if;
    update public.agent_catalog as agent set pinned_tag = v_release.tag, pinned_release_id = v_release.id where agent.id = p_agent.id;
    return query select v_release.id, v_release.phase, v_release.trace_id;
end
$$;
comment on function cogo.want(public.agent_catalog, public.image_tag_history, boolean, jsonb, uuid) is 'Makes a release the one that should run.';

create function public.registry_rollback(p_agent text, p_to_tag text default null) returns table (release_id uuid, phase text, trace_id text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
    v_agent public.agent_catalog := cogo.agent_named(p_agent);
    v_target public.image_tag_history;
begin
    select * into v_target from public.image_tag_history as release
    where release.agent_id = v_agent.id and release.phase in ('active', 'retired') and release.tag is not distinct from coalesce(p_to_tag, release.tag)
        and (p_to_tag is not null or (release.id is distinct from v_agent.active_release_id and release.digest is distinct from (
            select active.digest from public.image_tag_history as active where active.id = v_agent.active_release_id)))
    order by release.seq desc limit 1;
    if not found then
        raise exception using errcode = 'P0002',
            message = case when p_to_tag is null then format('%s has no earlier release to go back to', p_agent)
                else format('%s has never run %s', p_agent, left(p_to_tag, 128)) end,
            hint = 'See cogo images list; a tag that has not run yet is promoted.';
    end if;
    -- What is only waiting is called off; what has touched the cluster makes room when the other is deployed.
    perform cogo.supersede(waiting) from public.image_tag_history as waiting
    where waiting.agent_id = v_agent.id and (waiting.phase = 'queued' or waiting.wanted and waiting.phase = 'recorded');
    if v_target.phase = 'active' and not exists (select from public.image_tag_history as release where release.agent_id = v_agent.id
            and release.phase in ('canary_deploying', 'canary_verifying', 'deploying', 'verifying', 'failed', 'rolling_back')) then
        update public.agent_catalog as agent set pinned_tag = v_target.tag, pinned_release_id = v_target.id where agent.id = v_agent.id;
        return query select v_target.id, v_target.phase, v_target.trace_id;
        return;
    end if;
    return query select told.* from cogo.want(v_agent, v_target, true, null, v_agent.active_release_id) as told;
end
$$;
comment on function public.registry_rollback(text, text) is 'Goes back to an earlier release, the last that ran unless a tag is named.';

create function public.registry_pause(p_agent text, p_paused boolean, p_reason text default 'paused by an operator') returns boolean
language plpgsql security definer set search_path = '' as $$
declare
    v_agent public.agent_catalog := cogo.agent_named(p_agent);
begin
    update public.agent_catalog as agent set paused = p_paused, paused_reason = case when p_paused then coalesce(nullif(p_reason, ''), 'paused') end,
        failures = case when p_paused then agent.failures else 0 end
    where agent.id = v_agent.id and (agent.paused <> p_paused or p_paused);
    return v_agent.paused <> p_paused;
end
$$;
comment on function public.registry_pause(text, boolean, text) is 'Stops or resumes an agent''s rollouts; true if that changed anything.';

-- What an operator may change in a table, the command line changes by these.
create function public.registry_put_account(p_account jsonb) returns setof public.registry_accounts
language plpgsql security definer set search_path = '' as $$
begin
    perform cogo.refuse_unknown(p_account, array['provider', 'registry_url', 'namespace', 'credential_ref', 'read_only', 'description'], 'an account');
    return query
    insert into public.registry_accounts as account (provider, registry_url, namespace, credential_ref, read_only, description)
    select said.provider, said.registry_url, said.namespace, said.credential_ref, coalesce(said.read_only, true), coalesce(said.description, '')
    from jsonb_populate_record(null::public.registry_accounts, p_account) as said
    on conflict (registry_url, namespace) do update set provider = excluded.provider, credential_ref = excluded.credential_ref,
        read_only = excluded.read_only, description = excluded.description
    returning account.*;
end
$$;
comment on function public.registry_put_account(jsonb) is 'Adds an account, or changes the one of the same registry and namespace.';

create function cogo.refuse_unknown(p_given jsonb, p_known text[], p_of text) returns void
language plpgsql immutable set search_path = '' as $$
declare
    v_unknown text;
begin
    select given.key into v_unknown from jsonb_object_keys(p_given) as given(key) where given.key <> all (p_known) limit 1;
    if found then
        raise exception using errcode = '22023', message = format('unknown field `%s` of %s', left(v_unknown, 63), p_of),
            hint = format('It has %s.', array_to_string(p_known, ', '));
    end if;
end
$$;
comment on function cogo.refuse_unknown(jsonb, text[], text) is 'Refuses fields that are not known.';

create function cogo.account_named(p_account text) returns uuid
language plpgsql stable set search_path = '' as $$
declare
    v_account uuid;
begin
    select account.id into v_account from public.registry_accounts as account
    where account.registry_url || '/' || account.namespace = p_account or account.id::text = p_account;
    if not found then
        raise exception using errcode = 'P0002', message = format('there is no account `%s`', left(p_account, 128)),
            hint = 'Write registry/namespace, as in ghcr.io/my-org; cogo accounts list shows them.';
    end if;
    return v_account;
end
$$;
comment on function cogo.account_named(text) is 'The account of this registry/namespace, or of this id.';

create function public.registry_put_agent(p_agent jsonb) returns setof public.agent_catalog
language plpgsql security definer set search_path = '' as $$
declare
    v_account uuid;
begin
    perform cogo.refuse_unknown(p_agent, array['agent_name', 'service', 'role', 'repo', 'default_tag', 'account', 'autodeploy_enabled',
        'kube_namespace', 'deployment', 'container'], 'an agent');
    if p_agent ->> 'account' is not null then
        v_account := cogo.account_named(p_agent ->> 'account');
    end if;
    return query
    insert into public.agent_catalog as agent (agent_name, service, role, repo, default_tag, registry_account_id, autodeploy_enabled,
        kube_namespace, deployment, container)
    select said.agent_name, said.service, said.role, said.repo, coalesce(said.default_tag, 'dev'), v_account, coalesce(said.autodeploy_enabled, false),
        coalesce(said.kube_namespace, 'cogo'), coalesce(said.deployment, said.agent_name), coalesce(said.container, 'worker')
    from jsonb_populate_record(null::public.agent_catalog, p_agent) as said
    on conflict (agent_name) do update set
        service = excluded.service, role = excluded.role, repo = excluded.repo, default_tag = excluded.default_tag,
        registry_account_id = excluded.registry_account_id, autodeploy_enabled = excluded.autodeploy_enabled,
        kube_namespace = excluded.kube_namespace, deployment = excluded.deployment, container = excluded.container
    returning agent.*;
end
$$;
comment on function public.registry_put_agent(jsonb) is 'Adds an agent to the catalogue, or changes the one of that name.';

create function public.registry_put_pull_secret(p_account text, p_kube_namespace text, p_secret_name text, p_managed_by text default 'controller')
returns uuid
language plpgsql security definer set search_path = '' as $$
declare
    v_link uuid;
begin
    insert into public.k8s_pull_secret_links as link (registry_account_id, kube_namespace, secret_name, managed_by)
    values (cogo.account_named(p_account), p_kube_namespace, p_secret_name, p_managed_by)
    on conflict (kube_namespace, secret_name) do update set registry_account_id = excluded.registry_account_id, managed_by = excluded.managed_by,
        refresh_at = null, content_hash = null
    returning link.id into v_link;
    return v_link;
end
$$;
comment on function public.registry_put_pull_secret(text, text, text, text) is 'Links a pull secret to an account, for the controller to keep or as a note.';

-- Whoever changes pinned_tag by hand promotes: the functions write the release beside it, people do not.
create function cogo.promote_what_is_pinned() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if new.pinned_tag is not null then
        perform public.registry_promote(new.agent_name, new.pinned_tag);
    end if;
    return null;
end
$$;
comment on function cogo.promote_what_is_pinned() is 'Promotes the tag that somebody wrote into pinned_tag.';
create trigger promote_what_is_pinned after update of pinned_tag on public.agent_catalog for each row
    when (new.pinned_tag is distinct from old.pinned_tag and new.pinned_release_id is not distinct from old.pinned_release_id)
    execute function cogo.promote_what_is_pinned();

select cogo.protect_functions(cogo.functions_named('cogo', array['account_named', 'agent_named', 'supersede', 'want', 'refuse_unknown', 'promote_what_is_pinned']));
select cogo.protect_functions(cogo.functions_named('public', array['registry_record_tag', 'registry_promote', 'registry_rollback', 'registry_pause',
    'registry_put_account', 'registry_put_agent', 'registry_put_pull_secret']), 'service_role, cogo_worker');
