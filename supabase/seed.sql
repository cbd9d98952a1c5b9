-- An example to try things on, loaded by `supabase start` and `supabase db reset`. May be run again at any time.

-- Open to every signed-in user, each in the tenant of their token.
insert into public.bus_routes (service, role, open_to) values ('example', 'echo', '{authenticated}')
on conflict (service, role) do nothing;

insert into public.intents (name, description, target, payload_schema) values
    ('echo', 'Says what it is told; worked on by whoever claims example/echo/0.', 'example/echo/0', '{
        "type": "object",
        "required": ["text"],
        "properties": {"text": {"type": "string", "maxLength": 1000}}
    }')
on conflict (name) do nothing;

-- The key makes the second run attach to the messages of the first.
select published.id, published.trace_id
from public.bus_publish('[
    {"service": "example", "role": "echo", "tenant": "example", "idempotency_key": "seed-1", "payload": {"text": "hello"}},
    {"service": "example", "role": "echo", "tenant": "example", "idempotency_key": "seed-2", "payload": {"text": "hello again"}, "delay_ms": 60000}
]') as published;
