-- The bus. A message is written once, into cogo.agent_messages. Where it stands is told by the one narrow table
-- that holds its id: ready, later, leases or receipts (ordered adds the keys that must wait their turn). Moving a
-- message moves some sixty bytes and never its payload. public.agent_messages shows all of it as one table.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- Settings of a stage; a stage without a row has the defaults ----------------------------------------------------

create table public.bus_routes (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    service text collate "C" not null,
    role text collate "C" not null,
    lease interval not null default '30 s',
    max_attempts int not null default 3,
    backoff_base interval not null default '5 s',
    backoff_cap interval not null default '60 s',
    ttl interval,
    max_in_flight int,
    max_in_flight_per_tenant int,
    rate double precision,
    rate_per_tenant double precision,
    paused boolean not null default false,
    max_payload int not null default 1048576,
    allowed_targets text[],
    open_to text[] not null default '{}',
    allow_secrets boolean not null default false,
    constraint one_row_per_stage unique (service, role),
    constraint service_is_a_word check (service ~ '^[a-z][a-z0-9-]{0,62}$'),
    constraint role_is_a_word check (role ~ '^[a-z][a-z0-9-]{0,62}$'),
    constraint lease_is_between_1s_and_1d check (lease between '1 s' and '1 day'),
    constraint max_attempts_is_positive check (max_attempts between 1 and 1000),
    constraint backoff_grows check (backoff_base >= '0 s' and backoff_cap >= backoff_base),
    constraint ttl_is_positive check (ttl > '0 s'),
    constraint max_in_flight_is_positive check (max_in_flight > 0 and max_in_flight_per_tenant > 0),
    constraint rate_is_positive check (rate > 0 and rate_per_tenant > 0),
    constraint max_payload_is_between_1k_and_100m check (max_payload between 1024 and 104857600),
    constraint open_to_known_roles check (open_to <@ array['authenticated', 'anon'])
);
comment on table public.bus_routes is 'How a stage (service/role) is worked. A stage without a row has the defaults of these columns.';
comment on column public.bus_routes.id is 'Row number; nothing refers to it.';
comment on column public.bus_routes.created_at is 'When the row was written.';
comment on column public.bus_routes.service is 'First word of the route.';
comment on column public.bus_routes.role is 'Second word of the route.';
comment on column public.bus_routes.lease is 'How long a claimed message stays its worker''s without a renewal.';
comment on column public.bus_routes.max_attempts is 'Attempts before a message goes to the dead letters, unless the message names its own number.';
comment on column public.bus_routes.backoff_base is 'Wait after the first failed attempt; doubles with each further one.';
comment on column public.bus_routes.backoff_cap is 'The longest wait between two attempts.';
comment on column public.bus_routes.ttl is 'How long a message may wait to be claimed, unless it names its own expires_at. Null: for ever.';
comment on column public.bus_routes.max_in_flight is 'Messages of this stage claimed at one time, over the whole fleet. Null: no limit.';
comment on column public.bus_routes.max_in_flight_per_tenant is 'The same for each tenant.';
comment on column public.bus_routes.rate is 'Claims a second, over the whole fleet; one second''s worth may be taken at once. Null: no limit.';
comment on column public.bus_routes.rate_per_tenant is 'The same for each tenant.';
comment on column public.bus_routes.paused is 'While true nobody claims here. Messages are still accepted.';
comment on column public.bus_routes.max_payload is 'Largest payload in bytes.';
comment on column public.bus_routes.allowed_targets is 'Stages that a message of this stage may be forwarded to. Null: any.';
comment on column public.bus_routes.open_to is 'Client roles (authenticated, anon) that may insert and read messages here, each in its own tenant.';
comment on column public.bus_routes.allow_secrets is 'Payloads may hold what looks like a token or a key. Otherwise such a message is refused: send a reference.';

-- Lanes: a route, a tenant and a priority, known by a small number -----------------------------------------------

create table cogo.lanes (
    id int generated always as identity primary key,
    service text collate "C" not null,
    role text collate "C" not null,
    shard int not null,
    tenant text collate "C" not null,
    priority smallint not null,
    constraint one_number_per_lane unique (service, role, shard, tenant, priority),
    constraint service_is_a_word check (service ~ '^[a-z][a-z0-9-]{0,62}$'),
    constraint role_is_a_word check (role ~ '^[a-z][a-z0-9-]{0,62}$'),
    constraint shard_is_not_negative check (shard >= 0),
    constraint tenant_is_a_name check (tenant ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$')
);
comment on table cogo.lanes is 'Every (route, tenant, priority) that ever had a message. The words are checked here, once, instead of in each message.';
comment on column cogo.lanes.id is 'The number that ready, later and leases carry.';
comment on column cogo.lanes.service is 'First word of the route.';
comment on column cogo.lanes.role is 'Second word of the route.';
comment on column cogo.lanes.shard is 'Shard of the route.';
comment on column cogo.lanes.tenant is 'Whose messages these are.';
comment on column cogo.lanes.priority is 'Higher first, within a tenant.';

-- The message itself: written once --------------------------------------------------------------------------------

create table cogo.agent_messages (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    service text collate "C" not null,
    role text collate "C" not null,
    shard int not null default 0,
    tenant text collate "C" not null default coalesce(cogo.caller_tenant(), 'default'),
    project_id uuid,
    trace_id text collate "C" not null default cogo.new_trace_id(),
    parent_id bigint,
    replay_of bigint,
    idempotency_key text collate "C",
    ordering_key text collate "C",
    priority smallint not null default 0,
    payload jsonb not null default '{}',
    traceparent text collate "C",
    max_attempts int,
    retry_at timestamptz,
    expires_at timestamptz,
    attempts int not null default 0,
    error text,
    last_error_at timestamptz
);
-- What must be true of a row is checked by the trigger that makes it claimable: Postgres reads check constraints anew for
-- every statement, which made a seventh of the cost of publishing one message.
-- Kept as it comes: compressing costs more than it saves at this size, and the size limit reads the stored length.
alter table cogo.agent_messages alter column payload set storage external;
create unique index agent_messages_idempotency on cogo.agent_messages (service, role, shard, tenant, idempotency_key)
    where idempotency_key is not null;
create index agent_messages_trace on cogo.agent_messages (trace_id);

comment on table cogo.agent_messages is 'A message as its producer wrote it. Its state is in ready, later, leases or receipts.';
comment on column cogo.agent_messages.id is 'Message number; order of writing, not of committing.';
comment on column cogo.agent_messages.created_at is 'When it was published.';
comment on column cogo.agent_messages.service is 'First word of the route.';
comment on column cogo.agent_messages.role is 'Second word of the route.';
comment on column cogo.agent_messages.shard is 'Shard of the route.';
comment on column cogo.agent_messages.tenant is 'Whose message it is; a signed-in client''s own unless said.';
comment on column cogo.agent_messages.project_id is 'The user''s own grouping; the bus only carries it.';
comment on column cogo.agent_messages.trace_id is '32 hex digits, shared by everything that follows from one intent.';
comment on column cogo.agent_messages.parent_id is 'The message whose handler published this one.';
comment on column cogo.agent_messages.replay_of is 'The message this one repeats.';
comment on column cogo.agent_messages.idempotency_key is 'A second message with the same key, route and tenant is not made.';
comment on column cogo.agent_messages.ordering_key is 'Messages of one key are claimed one at a time, in order.';
comment on column cogo.agent_messages.priority is 'Higher is claimed first, within a tenant.';
comment on column cogo.agent_messages.payload is 'The work.';
comment on column cogo.agent_messages.traceparent is 'W3C trace context as it came in.';
comment on column cogo.agent_messages.max_attempts is 'Overrides the route''s number.';
comment on column cogo.agent_messages.retry_at is 'Not before: as the producer asked, or when the next attempt is due.';
comment on column cogo.agent_messages.expires_at is 'If still unclaimed by then, it fails with the reason `expired`.';
comment on column cogo.agent_messages.attempts is 'Attempts spent so far; written when one fails, not when one starts.';
comment on column cogo.agent_messages.error is 'What the last failed attempt said.';
comment on column cogo.agent_messages.last_error_at is 'When it said so.';

-- Where a message stands: one row in exactly one of these ---------------------------------------------------------

create table cogo.ready (
    lane_id int not null,
    id bigint not null,
    expires_at timestamptz,
    stream bigint,
    primary key (lane_id, id)
);
create index ready_expires on cogo.ready (expires_at) where expires_at is not null;
comment on table cogo.ready is 'Messages that may be claimed now.';
comment on column cogo.ready.lane_id is 'Route, tenant and priority, as a number of cogo.lanes.';
comment on column cogo.ready.id is 'The message.';
comment on column cogo.ready.expires_at is 'Not claimed after this.';
comment on column cogo.ready.stream is 'Hash of its ordering key; null without one.';

create table cogo.later (
    id bigint primary key,
    lane_id int not null,
    due_at timestamptz not null,
    expires_at timestamptz,
    stream bigint
);
create index later_due on cogo.later (due_at, id);
create index later_lane_due on cogo.later (lane_id, due_at);
create index later_expires on cogo.later (expires_at) where expires_at is not null;
comment on table cogo.later is 'Messages that wait for a time: delayed by their producer or by a retry.';
comment on column cogo.later.id is 'The message.';
comment on column cogo.later.lane_id is 'Route, tenant and priority, as a number of cogo.lanes.';
comment on column cogo.later.due_at is 'When it becomes ready.';
comment on column cogo.later.expires_at is 'Not claimed after this.';
comment on column cogo.later.stream is 'Hash of its ordering key; null without one.';

create table cogo.ordered (
    stream bigint not null,
    id bigint not null,
    lane_id int not null,
    due_at timestamptz,
    expires_at timestamptz,
    placed boolean not null default false,
    primary key (stream, id)
);
create unique index ordered_one_at_a_time on cogo.ordered (stream) where placed;
create index ordered_expires on cogo.ordered (expires_at) where expires_at is not null and not placed;
comment on table cogo.ordered is 'Every unfinished message with an ordering key. The first of a stream is ready, later or leased; the others wait here.';
comment on column cogo.ordered.stream is 'Hash of route, tenant and ordering key. Two keys that collide wait for each other, which is harmless.';
comment on column cogo.ordered.id is 'The message.';
comment on column cogo.ordered.lane_id is 'Where it goes when its turn comes.';
comment on column cogo.ordered.due_at is 'Not before, as its producer asked.';
comment on column cogo.ordered.expires_at is 'Not claimed after this.';
comment on column cogo.ordered.placed is 'It is this one''s turn: it is ready, later or leased.';

create table cogo.leases (
    id bigint primary key,
    lane_id int not null,
    lease uuid not null,
    worker text not null,
    claimed_at timestamptz not null,
    lease_until timestamptz not null,
    expires_at timestamptz,
    stream bigint,
    limited boolean,
    cancel_requested boolean
);
create index leases_limited on cogo.leases (lane_id) where limited;
comment on table cogo.leases is 'Messages being worked on. Whoever deletes the row decides what becomes of the message: that is the fence.';
comment on column cogo.leases.id is 'The message.';
comment on column cogo.leases.lane_id is 'Route, tenant and priority, as a number of cogo.lanes.';
comment on column cogo.leases.lease is 'Random for each claim, so that no crash can hand the same one out twice. Settling must name it.';
comment on column cogo.leases.worker is 'Who holds it.';
comment on column cogo.leases.claimed_at is 'Since when.';
comment on column cogo.leases.lease_until is 'From then on the keeper may give it to another.';
comment on column cogo.leases.expires_at is 'The message''s own, for when it is given back.';
comment on column cogo.leases.stream is 'Hash of its ordering key; null without one.';
comment on column cogo.leases.limited is 'True where the route limits what is in flight; only those are counted.';
comment on column cogo.leases.cancel_requested is 'Somebody asked the worker to stop.';

create table cogo.receipts (
    id bigint primary key,
    status text collate "C" not null,
    attempts int not null,
    worker text,
    claimed_at timestamptz,
    done_at timestamptz not null,
    reason text,
    error text,
    result_snippet text,
    result_url text,
    constraint status_is_final check (status in ('done', 'failed', 'cancelled'))
);
comment on table cogo.receipts is 'How a message ended. Written once; a final state never changes.';
comment on column cogo.receipts.id is 'The message.';
comment on column cogo.receipts.status is 'done, failed or cancelled.';
comment on column cogo.receipts.attempts is 'Attempts it took.';
comment on column cogo.receipts.worker is 'Who had it last.';
comment on column cogo.receipts.claimed_at is 'When the last attempt began.';
comment on column cogo.receipts.done_at is 'When it ended.';
comment on column cogo.receipts.reason is 'Why it failed or was cancelled, as a code.';
comment on column cogo.receipts.error is 'Why it failed, in words.';
comment on column cogo.receipts.result_snippet is 'What came of it, short.';
comment on column cogo.receipts.result_url is 'Where the rest is.';

-- Small tables that every message passes through: vacuum them by count, at once, at full speed.
alter table cogo.ready set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
alter table cogo.leases set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
alter table cogo.later set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- One table for people and clients ---------------------------------------------------------------------------------

create view public.agent_messages with (security_invoker = true) as
select
    message.id, message.created_at, message.service, message.role, message.shard, message.tenant, message.project_id,
    message.trace_id, message.parent_id, message.replay_of, message.idempotency_key, message.ordering_key,
    message.priority, message.payload,
    coalesce(
        (select receipt.status from cogo.receipts as receipt where receipt.id = message.id),
        (select 'claimed' from cogo.leases as lease where lease.id = message.id),
        'queued') as status,
    coalesce(
        (select receipt.attempts from cogo.receipts as receipt where receipt.id = message.id),
        message.attempts + (select count(*)::int from cogo.leases as lease where lease.id = message.id)) as attempts,
    message.max_attempts,
    message.retry_at,
    message.expires_at,
    coalesce(
        (select receipt.worker from cogo.receipts as receipt where receipt.id = message.id),
        (select lease.worker from cogo.leases as lease where lease.id = message.id)) as claimed_by,
    coalesce(
        (select receipt.claimed_at from cogo.receipts as receipt where receipt.id = message.id),
        (select lease.claimed_at from cogo.leases as lease where lease.id = message.id)) as claimed_at,
    (select lease.lease_until from cogo.leases as lease where lease.id = message.id) as lease_until,
    (select receipt.done_at from cogo.receipts as receipt where receipt.id = message.id) as done_at,
    coalesce((select receipt.error from cogo.receipts as receipt where receipt.id = message.id), message.error) as error,
    message.last_error_at,
    (select receipt.result_snippet from cogo.receipts as receipt where receipt.id = message.id) as result_snippet,
    (select receipt.result_url from cogo.receipts as receipt where receipt.id = message.id) as result_url,
    coalesce((select lease.cancel_requested from cogo.leases as lease where lease.id = message.id), false) as cancel_requested,
    message.traceparent
from cogo.agent_messages as message;
comment on view public.agent_messages is 'Work is a row here: insert service, role and payload. State columns are read-only; the bus_* functions change them.';
comment on column public.agent_messages.id is 'Message number; order of writing, not of committing.';
comment on column public.agent_messages.created_at is 'When it was published.';
comment on column public.agent_messages.service is 'First word of the route.';
comment on column public.agent_messages.role is 'Second word of the route.';
comment on column public.agent_messages.shard is 'Shard of the route; 0 unless said.';
comment on column public.agent_messages.tenant is 'Whose message it is; a signed-in client''s own unless said.';
comment on column public.agent_messages.project_id is 'The user''s own grouping; the bus only carries it.';
comment on column public.agent_messages.trace_id is '32 hex digits, shared by everything that follows from one intent; minted if absent.';
comment on column public.agent_messages.parent_id is 'The message whose handler published this one.';
comment on column public.agent_messages.replay_of is 'The message this one repeats.';
comment on column public.agent_messages.idempotency_key is 'A second message with the same key, route and tenant is not made.';
comment on column public.agent_messages.ordering_key is 'Messages of one key are claimed one at a time, in order.';
comment on column public.agent_messages.priority is 'Higher is claimed first, within a tenant.';
comment on column public.agent_messages.payload is 'The work.';
comment on column public.agent_messages.status is 'queued, claimed, done, failed or cancelled.';
comment on column public.agent_messages.attempts is 'Attempts started, the running one included.';
comment on column public.agent_messages.max_attempts is 'Attempts before it fails for good; null: the route''s number.';
comment on column public.agent_messages.retry_at is 'Not claimed before.';
comment on column public.agent_messages.expires_at is 'If still unclaimed by then, it fails with the reason `expired`.';
comment on column public.agent_messages.claimed_by is 'The worker that holds it, or had it last.';
comment on column public.agent_messages.claimed_at is 'When the running or last attempt began.';
comment on column public.agent_messages.lease_until is 'Until when its worker holds it; null unless claimed.';
comment on column public.agent_messages.done_at is 'When it ended; null before.';
comment on column public.agent_messages.error is 'What the last failed attempt said.';
comment on column public.agent_messages.last_error_at is 'When it said so.';
comment on column public.agent_messages.result_snippet is 'What came of it, short.';
comment on column public.agent_messages.result_url is 'Where the rest is.';
comment on column public.agent_messages.cancel_requested is 'Its worker was asked to stop.';
comment on column public.agent_messages.traceparent is 'W3C trace context as it came in.';

-- Beside the messages ----------------------------------------------------------------------------------------------

create table public.agent_messages_dlq (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    orig_id bigint not null unique,
    service text collate "C" not null,
    role text collate "C" not null,
    shard int not null,
    tenant text collate "C" not null,
    trace_id text collate "C" not null,
    attempts int not null,
    reason text not null,
    payload jsonb not null,
    error text,
    replayed_as bigint
);
create index agent_messages_dlq_trace on public.agent_messages_dlq (trace_id);
comment on table public.agent_messages_dlq is 'Dead letters: messages that failed for good. A replay makes a new message and notes it here.';
comment on column public.agent_messages_dlq.id is 'Dead letter number.';
comment on column public.agent_messages_dlq.created_at is 'When it was given up.';
comment on column public.agent_messages_dlq.orig_id is 'The message that failed.';
comment on column public.agent_messages_dlq.service is 'First word of its route.';
comment on column public.agent_messages_dlq.role is 'Second word of its route.';
comment on column public.agent_messages_dlq.shard is 'Shard of its route.';
comment on column public.agent_messages_dlq.tenant is 'Whose message it was.';
comment on column public.agent_messages_dlq.trace_id is 'Its trace.';
comment on column public.agent_messages_dlq.attempts is 'Attempts spent.';
comment on column public.agent_messages_dlq.reason is 'Why, as a code: attempts_exhausted, lease_lost, expired, or what its handler said.';
comment on column public.agent_messages_dlq.payload is 'The work that was not done.';
comment on column public.agent_messages_dlq.error is 'Why, in words.';
comment on column public.agent_messages_dlq.replayed_as is 'The message that repeats it.';

create table public.bus_events (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default now(),
    event_type text collate "C" not null,
    message_id bigint,
    trace_id text collate "C" not null,
    service text collate "C",
    role text collate "C",
    shard int,
    tenant text collate "C" not null default coalesce(cogo.caller_tenant(), 'default'),
    project_id uuid,
    agent_id text collate "C",
    reason text,
    payload jsonb not null default '{}',
    constraint event_type_is_snake_case check (length(event_type) <= 63 and event_type ~ '^[a-z][a-z0-9]*(_[a-z0-9]+)*$'),
    -- Whoever reads the events must be able to read each of them. Lengths apart from patterns, and one pattern for three
    -- columns: this is checked for every event, and a pattern with a count in it takes Postgres twenty times as long.
    constraint trace_id_is_32_hex_not_all_zero
        check (length(trace_id) = 32 and trace_id ~ '^[0-9a-f]*$' and trace_id <> repeat('0', 32)),
    constraint message_id_is_positive_and_shard_not_negative check (message_id > 0 and shard >= 0),
    constraint service_role_and_tenant_are_words check (
        length(service) <= 63 and length(role) <= 63 and length(tenant) <= 128
        and (coalesce(service, 'a') || '/' || coalesce(role, 'a') || '/' || tenant)
            ~ '^[a-z][a-z0-9-]*/[a-z][a-z0-9-]*/[A-Za-z0-9][A-Za-z0-9_.:-]*$')
);
create index bus_events_trace on public.bus_events (trace_id);
comment on table public.bus_events is 'What happened, one row an event, tied together by trace_id.';
comment on column public.bus_events.id is 'Event number; order of writing, not of committing.';
comment on column public.bus_events.created_at is 'When it happened.';
comment on column public.bus_events.event_type is '<stage>_<what>, as in codegen_done.';
comment on column public.bus_events.message_id is 'The message it is about.';
comment on column public.bus_events.trace_id is 'The trace it belongs to.';
comment on column public.bus_events.service is 'First word of the message''s route.';
comment on column public.bus_events.role is 'Second word of the message''s route.';
comment on column public.bus_events.shard is 'Shard of the message''s route.';
comment on column public.bus_events.tenant is 'Whose event it is.';
comment on column public.bus_events.project_id is 'The message''s project.';
comment on column public.bus_events.agent_id is 'The agent that acted.';
comment on column public.bus_events.reason is 'Why, as a code.';
comment on column public.bus_events.payload is 'Details.';

create table public.workers (
    id text primary key,
    created_at timestamptz not null default now(),
    agent_name text collate "C" not null,
    service text collate "C",
    role text collate "C",
    shards int[],
    tenant text collate "C",
    host text,
    pod_uid text,
    version text,
    image text,
    digest text,
    release_id text,
    state text not null default 'starting',
    drain_requested boolean not null default false,
    slots int not null default 0,
    busy int not null default 0,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    constraint state_is_known check (state in ('starting', 'ready', 'draining', 'gone')),
    constraint id_is_1_to_255_printable check (id ~ '^[[:print:]]{1,255}$'),
    constraint tenant_is_a_name check (tenant ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$'),
    constraint shards_are_not_negative check (0 <= all (shards))
) with (fillfactor = 50);
comment on table public.workers is 'Every worker process and when it was last heard of.';
comment on column public.workers.id is 'The holder name that its leases carry.';
comment on column public.workers.created_at is 'When the row was first written.';
comment on column public.workers.agent_name is 'Which worker it is.';
comment on column public.workers.service is 'First word of the stage it serves; null: several.';
comment on column public.workers.role is 'Second word of the stage it serves.';
comment on column public.workers.shards is 'Shards it serves; null: all.';
comment on column public.workers.tenant is 'The one tenant it serves; null: all.';
comment on column public.workers.host is 'Machine or pod name.';
comment on column public.workers.pod_uid is 'Pod, where there is one.';
comment on column public.workers.version is 'Program version.';
comment on column public.workers.image is 'Container image.';
comment on column public.workers.digest is 'Its digest.';
comment on column public.workers.release_id is 'The release it runs for.';
comment on column public.workers.state is 'starting, ready, draining or gone.';
comment on column public.workers.drain_requested is 'An operator asked it to finish and leave.';
comment on column public.workers.slots is 'Messages it handles at a time.';
comment on column public.workers.busy is 'Of these, taken.';
comment on column public.workers.started_at is 'When the process began.';
comment on column public.workers.seen_at is 'Its last heartbeat.';

-- Doorbell and limits -----------------------------------------------------------------------------------------------

create table cogo.parked (
    service text collate "C" not null,
    role text collate "C" not null,
    shard int not null,
    tenant text collate "C" not null,
    worker text not null,
    channel text not null,
    until timestamptz not null,
    rung_at timestamptz,
    primary key (worker, service, role, shard, tenant)
);
create index parked_stage on cogo.parked (service, role);
comment on table cogo.parked is 'Workers asleep, by what they wait for. A producer rings one of them; nobody rings where nobody sleeps.';
comment on column cogo.parked.service is 'First word of the route.';
comment on column cogo.parked.role is 'Second word of the route.';
comment on column cogo.parked.shard is 'Shard; -1: any.';
comment on column cogo.parked.tenant is 'Tenant; empty: any.';
comment on column cogo.parked.worker is 'Who sleeps.';
comment on column cogo.parked.channel is 'Where it listens: a channel of NOTIFY, or `realtime:` and a topic.';
comment on column cogo.parked.rung_at is 'When it was last rung over Realtime, since it lay down.';
comment on column cogo.parked.until is 'It looks again by itself then; older rows are of the dead.';

create table cogo.meters (
    service text collate "C" not null,
    role text collate "C" not null,
    tenant text collate "C" not null,
    tokens double precision not null,
    filled_at timestamptz not null,
    primary key (service, role, tenant)
) with (fillfactor = 50);
comment on table cogo.meters is 'Token buckets of the routes that have a rate.';
comment on column cogo.meters.service is 'First word of the stage.';
comment on column cogo.meters.role is 'Second word of the stage.';
comment on column cogo.meters.tenant is 'Tenant; empty: the whole stage.';
comment on column cogo.meters.tokens is 'Claims left.';
comment on column cogo.meters.filled_at is 'As of when.';
