-- What is broadcast from the database, and what policies on private channels are written for. A partition per day: where
-- today's is missing, nothing can be sent, and that has to be seen before it happens in earnest.
create table realtime.messages (
    topic text not null,
    extension text not null,
    payload jsonb,
    event text,
    private boolean default false,
    -- Not now(): what one transaction sends keeps its order.
    updated_at timestamp not null default (clock_timestamp() at time zone 'utc'),
    inserted_at timestamp not null default (clock_timestamp() at time zone 'utc'),
    id uuid not null default gen_random_uuid(),
    primary key (id, inserted_at)
) partition by range (inserted_at);

comment on table realtime.messages is
    'Stand-in: what was broadcast from the database within the last hour. Its policies decide who may join a private channel.';
create index on realtime.messages (topic, inserted_at desc) where private and extension = 'broadcast';
alter table realtime.messages enable row level security;
grant select, insert, update on realtime.messages to anon, authenticated, service_role;
