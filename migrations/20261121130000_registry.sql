-- The registry: accounts at image registries, the catalogue of agents, every release of theirs, and the pull secrets that
-- follow from an account. A value is never stored where a reference belongs, and every change leaves an event.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- Words. Each says the same as the type of its name in the crate `model`; a test compares them.
create function cogo.is_reference(p_text text) returns boolean
language sql immutable strict set search_path = '' as $$
    with split as (
        select substring(p_text from '^(?:k8s|vault|env):(?://)?([^#?]*)') as place, substring(p_text from '^(k8s|vault|env):') as scheme,
            substring(p_text from '[#?].*$') as tail
    )
    select length(p_text) <= 1024 and case scheme
        when 'env' then tail is null and place ~ '^[A-Z_][A-Z0-9_]*$'
        when 'k8s' then place ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$'
            and place !~ '[^/.]{64}' and length(split_part(place, '/', 2)) <= 253
            and coalesce(tail ~ '^#[-_.A-Za-z0-9]+$' and length(tail) <= 254, true)
        when 'vault' then place ~ '^([-A-Za-z0-9._~@:+,=]|%[0-9A-Fa-f]{2})+(/([-A-Za-z0-9._~@:+,=]|%[0-9A-Fa-f]{2})+)+$'
            and place !~ '(^|/)\.{1,2}(/|$)' and place !~* '%(0|1|7f)'
            and coalesce(tail ~ ('^(#([-A-Za-z0-9._~@:+,=]|%[0-9A-Fa-f]{2})+(\?version=0*[1-9][0-9]*)?'
                || '|\?version=0*[1-9][0-9]*(#([-A-Za-z0-9._~@:+,=]|%[0-9A-Fa-f]{2})+)?)$') and tail !~* '%(0|1|7f)', true)
        else false end
    from split
$$;
comment on function cogo.is_reference(text) is 'Whether this names a secret, as in k8s:<namespace>/<secret>#<key>, vault:<mount>/<path>#<field> or env:<NAME>.';

create function cogo.tag_kind(p_tag text) returns text
language sql immutable set search_path = '' as $$
    select case
        when p_tag ~ '^v(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){2}(-[0-9a-f]{7,40})?$' then 'prod'
        when p_tag ~ '^dev-(?!0000)[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])([01][0-9]|2[0-3])([0-5][0-9]){2}$' then
            -- Within the calendar's month.
            case when substr(p_tag, 11, 2)::int <= date_part('day',
                make_date(substr(p_tag, 5, 4)::int, substr(p_tag, 9, 2)::int, 1) + interval '1 month' - interval '1 day') then 'dev' end
    end
$$;
comment on function cogo.tag_kind(text) is 'dev for dev-YYYYMMDDHHMMSS, prod for vX.Y.Z[-shortsha], and null for a tag that the policy refuses, such as latest.';

create function cogo.is_repo(p_repo text) returns boolean
language sql immutable set search_path = '' as $$
    select length(p_repo) <= 255
        and p_repo ~ '^([a-z0-9-]+(\.[a-z0-9-]+)+|localhost|[a-z0-9-]+(?=:))(:[1-9][0-9]{0,4})?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$'
$$;
comment on function cogo.is_repo(text) is 'Whether this names a repository with its registry, as in ghcr.io/my-org/cogo-agent-core.';

create table public.registry_accounts (
    id uuid primary key default gen_random_uuid(),
    created_at timestamptz not null default now(),
    provider text collate "C" not null,
    registry_url text collate "C" not null,
    namespace text collate "C" not null,
    credential_ref text collate "C",
    read_only boolean not null default true,
    description text not null default '',
    constraint provider_is_known check (provider in ('ghcr', 'dockerhub', 'ecr', 'gcr', 'oci')),
    constraint registry_url_is_a_host check (
        length(registry_url) <= 255 and registry_url ~ '^(https://|http://)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[1-9][0-9]{0,4})?$'),
    constraint namespace_is_a_path check (length(namespace) <= 255 and namespace ~ '^[a-z0-9]+([._/-]+[a-z0-9]+)*$'),
    constraint credential_ref_is_a_reference check (cogo.is_reference(credential_ref)),
    constraint one_account_a_namespace unique (registry_url, namespace)
);
comment on table public.registry_accounts is 'Accounts at image registries. What they log in with is named here and lies elsewhere.';
comment on column public.registry_accounts.id is 'Account id.';
comment on column public.registry_accounts.created_at is 'When the row was written.';
comment on column public.registry_accounts.provider is 'ghcr, dockerhub, ecr, gcr, or oci for any other.';
comment on column public.registry_accounts.registry_url is 'Host of the registry, as in ghcr.io; http:// before it allows a connection without TLS.';
comment on column public.registry_accounts.namespace is 'Organisation or account name there.';
comment on column public.registry_accounts.credential_ref is 'Names the credential, as in vault:secret/ghcr#token; null: what anybody may read.';
comment on column public.registry_accounts.read_only is 'It may only pull.';
comment on column public.registry_accounts.description is 'Notes, for people.';

create table public.agent_catalog (
    id uuid primary key default gen_random_uuid(),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    agent_name text collate "C" not null unique,
    service text collate "C",
    role text collate "C",
    repo text collate "C" not null,
    default_tag text collate "C" not null default 'dev',
    pinned_tag text collate "C",
    registry_account_id uuid references public.registry_accounts (id),
    autodeploy_enabled boolean not null default false,
    kube_namespace text collate "C" not null default 'cogo',
    deployment text collate "C" not null,
    container text collate "C" not null default 'worker',
    paused boolean not null default false,
    paused_reason text,
    failures int not null default 0,
    pinned_release_id uuid,
    active_release_id uuid,
    fence bigint not null default 0,
    held_by text,
    held_until timestamptz,
    constraint agent_name_is_cogo_domain_role check (length(agent_name) <= 63 and agent_name ~ '^cogo-[a-z][a-z0-9]*(-[a-z0-9]+)+$'),
    constraint service_and_role_are_words check (
        service ~ '^[a-z][a-z0-9-]{0,62}$' and role ~ '^[a-z][a-z0-9-]{0,62}$' and (service is null) = (role is null)),
    constraint repo_names_its_registry check (cogo.is_repo(repo)),
    constraint default_tag_is_dev_or_prod check (default_tag in ('dev', 'prod')),
    constraint pinned_tag_obeys_the_tag_policy check (pinned_tag is null or cogo.tag_kind(pinned_tag) is not null),
    constraint names_are_kubernetes_names check (
        length(kube_namespace) <= 63 and length(deployment) <= 56 and length(container) <= 63
        and (kube_namespace || '/' || deployment || '/' || container) ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?(/[a-z0-9]([a-z0-9-]*[a-z0-9])?){2}$'),
    constraint paused_has_a_reason check (paused = (paused_reason is not null)),
    constraint one_agent_a_deployment unique (kube_namespace, deployment)
);
comment on table public.agent_catalog is 'The agents, where their images come from and where they run.';
comment on column public.agent_catalog.id is 'Agent id.';
comment on column public.agent_catalog.created_at is 'When the row was written.';
comment on column public.agent_catalog.updated_at is 'When it last changed; kept by a trigger.';
comment on column public.agent_catalog.agent_name is 'cogo-<domain>-<role>.';
comment on column public.agent_catalog.service is 'First word of the stage it works on; null: none.';
comment on column public.agent_catalog.role is 'Second word of that stage.';
comment on column public.agent_catalog.repo is 'Repository of its images, with the registry.';
comment on column public.agent_catalog.default_tag is 'Which tags roll out by themselves where autodeploy is on: dev (dev-YYYYMMDDHHMMSS) or prod (vX.Y.Z).';
comment on column public.agent_catalog.pinned_tag is 'The tag that should run. Whoever changes it promotes that tag; a release that fails sets it back.';
comment on column public.agent_catalog.registry_account_id is 'Account that reads the repository; null: anybody may.';
comment on column public.agent_catalog.autodeploy_enabled is 'A tag of the default kind is deployed as soon as it is recorded.';
comment on column public.agent_catalog.kube_namespace is 'Namespace of its Deployment.';
comment on column public.agent_catalog.deployment is 'Its Deployment; its canary is called so with -canary after it.';
comment on column public.agent_catalog.container is 'The container whose image is meant.';
comment on column public.agent_catalog.paused is 'Nothing is deployed until somebody resumes it.';
comment on column public.agent_catalog.paused_reason is 'Why.';
comment on column public.agent_catalog.failures is 'Releases that failed in a row; three pause the agent.';
comment on column public.agent_catalog.pinned_release_id is 'The release that should run.';
comment on column public.agent_catalog.active_release_id is 'The release that was last seen to run as it should.';
comment on column public.agent_catalog.fence is 'Rises with each controller that takes the agent over; who has an older one is refused.';
comment on column public.agent_catalog.held_by is 'The controller that is at it.';
comment on column public.agent_catalog.held_until is 'When another may take over.';

create table public.image_tag_history (
    id uuid primary key default gen_random_uuid(),
    seq bigint generated always as identity unique,
    created_at timestamptz not null default now(),
    agent_id uuid not null references public.agent_catalog (id),
    tag text collate "C" not null,
    digest text collate "C",
    built_by text,
    built_at timestamptz,
    changelog_url text,
    trace_id text collate "C" not null default cogo.new_trace_id(),
    rollout_status text collate "C" not null generated always as (case
        when phase in ('active', 'retired', 'superseded', 'rolled_back') then phase
        when phase in ('rejected', 'failed', 'rolling_back', 'rollback_failed', 'scaled_down') then 'failed'
        else 'staged' end) stored,
    phase text collate "C" not null default 'recorded',
    wanted boolean not null default false,
    forced boolean not null default false,
    canary jsonb,
    rollback_of uuid references public.image_tag_history (id),
    previous_id uuid references public.image_tag_history (id),
    deadline_at timestamptz,
    extended boolean not null default false,
    generation bigint,
    template_hash text,
    failure_code text collate "C",
    failure_detail text,
    failed_in text collate "C",
    requested_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    verdict_ms bigint,
    restored_ms bigint,
    constraint tag_obeys_the_tag_policy check (cogo.tag_kind(tag) is not null),
    constraint digest_is_a_sha256 check (digest ~ '^sha256:[0-9a-f]{64}$'),
    constraint phase_is_known check (phase in ('recorded', 'resolved', 'queued', 'canary_deploying', 'canary_verifying', 'deploying', 'verifying',
        'active', 'retired', 'superseded', 'rejected', 'failed', 'rolling_back', 'rolled_back', 'rollback_failed', 'scaled_down')),
    constraint canary_is_a_shard_or_a_tenant check (canary is null or coalesce(jsonb_typeof(canary) = 'object'
        and (canary - 'shard' - 'tenant') = '{}' and canary <> '{}'
        and coalesce(canary ->> 'shard' ~ '^(0|[1-9][0-9]{0,8})$', true)
        and coalesce(canary ->> 'tenant' ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$', true), false)),
    constraint trace_id_is_32_hex check (trace_id ~ '^[0-9a-f]{32}$'),
    constraint what_runs_has_a_digest check (phase in ('recorded', 'rejected', 'superseded') or digest is not null),
    constraint what_runs_has_a_deadline check (
        phase not in ('canary_deploying', 'canary_verifying', 'deploying', 'verifying', 'rolling_back') or deadline_at is not null),
    constraint what_failed_says_why check (
        phase not in ('rejected', 'failed', 'rolling_back', 'rolled_back', 'rollback_failed', 'scaled_down') or failure_code is not null),
    constraint changelog_url_is_a_url check (length(changelog_url) <= 2000 and changelog_url ~ '^https?://[^[:space:][:cntrl:]]+$'),
    constraint built_by_is_short check (length(built_by) <= 255)
);
create index image_tag_history_agent on public.image_tag_history (agent_id, seq desc);
create unique index image_tag_history_one_active on public.image_tag_history (agent_id) where phase = 'active';
create unique index image_tag_history_one_under_way on public.image_tag_history (agent_id)
    where phase in ('canary_deploying', 'canary_verifying', 'deploying', 'verifying', 'failed', 'rolling_back');
create index image_tag_history_open on public.image_tag_history (agent_id)
    where phase in ('recorded', 'resolved', 'queued', 'canary_deploying', 'canary_verifying', 'deploying', 'verifying', 'failed', 'rolling_back');
alter table public.agent_catalog add constraint pinned_release_exists foreign key (pinned_release_id) references public.image_tag_history (id);
alter table public.agent_catalog add constraint active_release_exists foreign key (active_release_id) references public.image_tag_history (id);
comment on table public.image_tag_history is 'Releases: every tag that was recorded for an agent, and what became of it.';
comment on column public.image_tag_history.id is 'Release id; its pods carry it.';
comment on column public.image_tag_history.seq is 'Order of recording: the newest wins.';
comment on column public.image_tag_history.created_at is 'When the row was written.';
comment on column public.image_tag_history.agent_id is 'The agent.';
comment on column public.image_tag_history.tag is 'dev-YYYYMMDDHHMMSS or vX.Y.Z[-shortsha].';
comment on column public.image_tag_history.digest is 'The image itself; looked up where it was not told.';
comment on column public.image_tag_history.built_by is 'Who built it.';
comment on column public.image_tag_history.built_at is 'When.';
comment on column public.image_tag_history.changelog_url is 'What is new in it.';
comment on column public.image_tag_history.trace_id is 'The trace under which its events lie.';
comment on column public.image_tag_history.rollout_status is 'staged, active, retired (was active), superseded, rolled_back or failed; follows from the phase.';
comment on column public.image_tag_history.phase is 'Where its rollout stands.';
comment on column public.image_tag_history.wanted is 'To be deployed: by autodeploy, or promoted. Otherwise it stays staged.';
comment on column public.image_tag_history.forced is 'Also if its image has failed before.';
comment on column public.image_tag_history.canary is 'First only for one shard or tenant: {"shard": 0}, {"tenant": "acme"}.';
comment on column public.image_tag_history.rollback_of is 'An operator went back from this release.';
comment on column public.image_tag_history.previous_id is 'What ran before and comes back if this fails.';
comment on column public.image_tag_history.deadline_at is 'When the phase is over, one way or the other.';
comment on column public.image_tag_history.extended is 'The deadline was put off once, because nothing could be known.';
comment on column public.image_tag_history.generation is 'Generation of the Deployment that carries it.';
comment on column public.image_tag_history.template_hash is 'Hash of the pod template that carries it.';
comment on column public.image_tag_history.failure_code is 'Why it was rejected or failed, as a code.';
comment on column public.image_tag_history.failure_detail is 'The same, in words.';
comment on column public.image_tag_history.failed_in is 'The phase in which it failed.';
comment on column public.image_tag_history.requested_at is 'When it was asked for: recorded, or promoted later.';
comment on column public.image_tag_history.started_at is 'When it was first deployed.';
comment on column public.image_tag_history.finished_at is 'When its rollout ended.';
comment on column public.image_tag_history.verdict_ms is 'From its deployment to the verdict.';
comment on column public.image_tag_history.restored_ms is 'From its deployment until the previous release served again.';

create table cogo.quarantined_images (
    agent_id uuid not null references public.agent_catalog (id),
    digest text collate "C" not null,
    created_at timestamptz not null default now(),
    release_id uuid not null references public.image_tag_history (id),
    failure_code text collate "C" not null,
    primary key (agent_id, digest)
);
comment on table cogo.quarantined_images is 'Images that failed: not deployed again unless forced.';
comment on column cogo.quarantined_images.agent_id is 'For which agent.';
comment on column cogo.quarantined_images.digest is 'The image.';
comment on column cogo.quarantined_images.created_at is 'Since when.';
comment on column cogo.quarantined_images.release_id is 'The release that failed.';
comment on column cogo.quarantined_images.failure_code is 'Why.';

create table public.k8s_pull_secret_links (
    id uuid primary key default gen_random_uuid(),
    created_at timestamptz not null default now(),
    registry_account_id uuid not null references public.registry_accounts (id),
    kube_namespace text collate "C" not null,
    secret_name text collate "C" not null,
    managed_by text collate "C" not null default 'manual',
    last_synced_at timestamptz,
    refresh_at timestamptz,
    content_hash text collate "C",
    failure_code text collate "C",
    failure_detail text,
    constraint managed_by_is_known check (managed_by in ('manual', 'controller')),
    constraint names_are_kubernetes_names check (length(kube_namespace) <= 63 and kube_namespace ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'
        and length(secret_name) <= 253 and secret_name ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$'),
    constraint one_link_a_secret unique (kube_namespace, secret_name)
);
comment on table public.k8s_pull_secret_links is 'Which Kubernetes pull secret belongs to which account.';
comment on column public.k8s_pull_secret_links.id is 'Link id.';
comment on column public.k8s_pull_secret_links.created_at is 'When the row was written.';
comment on column public.k8s_pull_secret_links.registry_account_id is 'The account whose credential it holds.';
comment on column public.k8s_pull_secret_links.kube_namespace is 'Namespace of the secret.';
comment on column public.k8s_pull_secret_links.secret_name is 'Its name, as in imagePullSecrets.';
comment on column public.k8s_pull_secret_links.managed_by is 'controller: image-controller makes and refreshes it; manual: somebody else does.';
comment on column public.k8s_pull_secret_links.last_synced_at is 'When the secret was last written, or seen to be as it should be.';
comment on column public.k8s_pull_secret_links.refresh_at is 'When to look at it again.';
comment on column public.k8s_pull_secret_links.content_hash is 'Keyed hash of what it holds, so that a change is known without the value.';
comment on column public.k8s_pull_secret_links.failure_code is 'Why the last attempt failed, as a code; null: it did not.';
comment on column public.k8s_pull_secret_links.failure_detail is 'The same, in words.';

-- Before the constraint: a constraint that fails repeats the row, and what stands there may be the secret itself.
create function cogo.refuse_values() returns trigger
language plpgsql set search_path = '' as $$
begin
    if not cogo.is_reference(new.credential_ref) then
        raise exception using errcode = '22023', message = 'credential_ref must name a secret and never be one',
            detail = 'What was written there is not repeated here.',
            hint = 'Put the credential into Vault or a Kubernetes Secret, and write vault:<mount>/<path>#<field> or k8s:<namespace>/<secret>#<key>.';
    end if;
    return new;
end
$$;
comment on function cogo.refuse_values() is 'Refuses what is no reference, without repeating it.';
create trigger refuse_values before insert or update on public.registry_accounts for each row execute function cogo.refuse_values();

-- The four agents everybody has: told by no event, since nobody added them. Where their images lie is changed by whoever installs them.
insert into public.agent_catalog (agent_name, service, role, repo, kube_namespace, deployment) values
    ('cogo-agent-core', 'orchestrator', 'intent', 'ghcr.io/my-org/cogo-agent-core', 'cogo', 'cogo-agent-core'),
    ('cogo-executor-dispatcher', 'orchestrator', 'execute', 'ghcr.io/my-org/cogo-executor-dispatcher', 'cogo', 'cogo-executor-dispatcher'),
    ('cogo-codegen-worker', 'codegen', 'generate', 'ghcr.io/my-org/cogo-codegen-worker', 'cogo-sandbox', 'cogo-codegen-worker'),
    ('cogo-buildtest-worker', 'code', 'build-test', 'ghcr.io/my-org/cogo-buildtest-worker', 'cogo-sandbox', 'cogo-buildtest-worker');

-- A new credential is not waited for.
create function cogo.renew_pull_secrets() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    update public.k8s_pull_secret_links as link set refresh_at = null where link.registry_account_id = new.id;
    return null;
end
$$;
comment on function cogo.renew_pull_secrets() is 'Makes the pull secrets of an account due.';
create trigger renew_pull_secrets after update of credential_ref, provider, registry_url on public.registry_accounts for each row
    when ((old.credential_ref, old.provider, old.registry_url) is distinct from (new.credential_ref, new.provider, new.registry_url))
    execute function cogo.renew_pull_secrets();

-- Also by plain SQL: every change of who may log in where, and of what should run, is told.
create function cogo.audit_registry() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_new jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) else '{}' end;
    v_old jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) else '{}' end;
    v_row jsonb := v_old || v_new;
    -- What controllers write as they go has events of its own.
    v_own text[] := array['id', 'created_at', 'updated_at', 'fence', 'held_by', 'held_until', 'failures', 'pinned_release_id', 'active_release_id',
        'last_synced_at', 'refresh_at', 'content_hash', 'failure_code', 'failure_detail'];
    v_changed jsonb;
begin
    select coalesce(jsonb_object_agg(coalesce(now.key, was.key), case tg_op
            when 'INSERT' then now.value when 'DELETE' then was.value
            else jsonb_build_object('from', was.value, 'to', now.value) end), '{}')
    into v_changed
    from jsonb_each(v_new) as now full join jsonb_each(v_old) as was using (key)
    where now.value is distinct from was.value and coalesce(now.key, was.key) <> all (v_own);
    if v_changed <> '{}' then
        insert into public.bus_events (event_type, trace_id, tenant, service, role, agent_id, payload)
        values (tg_argv[0] || case tg_op when 'INSERT' then '_added' when 'UPDATE' then '_changed' else '_removed' end,
            cogo.new_trace_id(), 'default', v_row ->> 'service', v_row ->> 'role',
            case tg_argv[0] when 'agent' then v_row ->> 'id' end, jsonb_build_object('id', v_row ->> 'id', 'by', cogo.caller_role(), 'changed', v_changed));
    end if;
    return null;
end
$$;
comment on function cogo.audit_registry() is 'Tells what changed, and who changed it.';
create trigger audit after insert or update or delete on public.registry_accounts for each row execute function cogo.audit_registry('account');
create trigger audit after insert or update or delete on public.agent_catalog for each row execute function cogo.audit_registry('agent');
create trigger audit after insert or update or delete on public.k8s_pull_secret_links for each row execute function cogo.audit_registry('pull_secret');

create function cogo.release_event(p_release public.image_tag_history, p_what text, p_more jsonb default '{}') returns void
language sql set search_path = '' as $$
    insert into public.bus_events (event_type, trace_id, tenant, service, role, agent_id, reason, payload)
    select 'rollout_' || p_what, p_release.trace_id, 'default', agent.service, agent.role, agent.id, p_release.failure_code,
        jsonb_strip_nulls(jsonb_build_object('release_id', p_release.id, 'agent_name', agent.agent_name, 'tag', p_release.tag,
            'digest', p_release.digest, 'detail', p_release.failure_detail, 'verdict_ms', p_release.verdict_ms,
            'restored_ms', p_release.restored_ms)) || p_more
    from public.agent_catalog as agent where agent.id = p_release.agent_id
$$;
comment on function cogo.release_event(public.image_tag_history, text, jsonb) is 'Tells a step of a rollout.';

-- A row that somebody inserts is a whole release, and one that cannot be is refused before anything is touched.
create function cogo.record_release() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    v_agent public.agent_catalog;
    v_digest text;
begin
    -- Takes turns with every other change to the agent's releases.
    select * into v_agent from public.agent_catalog as agent where agent.id = new.agent_id for update;
    if not found then
        raise exception using errcode = '23503', message = format('there is no agent %s', coalesce(new.agent_id::text, 'without an id')),
            hint = 'Add it to agent_catalog first: cogo agents add.';
    elsif cogo.tag_kind(new.tag) is null then
        raise exception using errcode = '22023', message = format('the tag policy refuses the tag `%s`', left(new.tag, 128)),
            hint = 'Write dev-YYYYMMDDHHMMSS, or vX.Y.Z with -shortsha if you like. Tags that move, such as latest, are never deployed.';
    end if;
    select release.digest into v_digest from public.image_tag_history as release
    where release.agent_id = new.agent_id and release.tag = new.tag and release.digest is not null and release.phase <> 'rejected'
    order by release.seq limit 1;
    if v_digest is distinct from new.digest and v_digest is not null and new.digest is not null then
        raise exception using errcode = '22023', message = format('the tag %s of %s has moved: it was recorded with %s, and now with %s', new.tag,
            v_agent.agent_name, v_digest, new.digest),
            hint = 'Build under a new tag: what ran must still be there to go back to.';
    end if;
    new.phase := 'recorded';
    new.wanted := new.wanted or (v_agent.autodeploy_enabled and cogo.tag_kind(new.tag) = v_agent.default_tag);
    new.trace_id := coalesce(new.trace_id, cogo.new_trace_id());
    return new;
end
$$;
comment on function cogo.record_release() is 'Checks a new release: its agent, the tag policy, and that its tag has not moved.';
create trigger record_release before insert on public.image_tag_history for each row execute function cogo.record_release();

create function cogo.tell_recorded() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    perform cogo.release_event(new, 'recorded', jsonb_strip_nulls(jsonb_build_object('built_by', new.built_by,
        'changelog_url', new.changelog_url, 'wanted', new.wanted, 'canary', new.canary)));
    return null;
end
$$;
comment on function cogo.tell_recorded() is 'Tells that a release was recorded.';
create trigger tell_recorded after insert on public.image_tag_history for each row execute function cogo.tell_recorded();

create function cogo.touch_agent() returns trigger
language plpgsql set search_path = '' as $$
begin
    new.deployment := coalesce(new.deployment, new.agent_name);
    new.updated_at := clock_timestamp();
    return new;
end
$$;
comment on function cogo.touch_agent() is 'Notes when an agent changed, and names its Deployment after it.';
create trigger touch_agent before insert or update on public.agent_catalog for each row execute function cogo.touch_agent();

select cogo.protect_tables(array['public.registry_accounts', 'public.agent_catalog', 'public.image_tag_history', 'public.k8s_pull_secret_links',
    'cogo.quarantined_images']::regclass[]);
-- What a server may write by plain SQL or REST. What follows from it is the functions' business.
grant insert (provider, registry_url, namespace, credential_ref, read_only, description),
    update (provider, credential_ref, read_only, description), delete on public.registry_accounts to service_role;
grant insert (agent_name, service, role, repo, default_tag, registry_account_id, autodeploy_enabled, kube_namespace, deployment, container),
    update (service, role, repo, default_tag, pinned_tag, registry_account_id, autodeploy_enabled, kube_namespace, deployment, container)
    on public.agent_catalog to service_role;
grant insert (agent_id, tag, digest, built_by, built_at, changelog_url, trace_id, canary) on public.image_tag_history to service_role;
grant insert (registry_account_id, kube_namespace, secret_name, managed_by), update (managed_by), delete on public.k8s_pull_secret_links to service_role;

select cogo.protect_functions(cogo.functions_named('cogo', array['is_reference', 'tag_kind', 'is_repo', 'refuse_values', 'renew_pull_secrets', 'audit_registry', 'release_event', 'record_release', 'tell_recorded', 'touch_agent']));
-- A constraint is checked with the rights of whoever writes.
grant execute on function cogo.is_reference(text), cogo.tag_kind(text), cogo.is_repo(text) to service_role, cogo_worker;
