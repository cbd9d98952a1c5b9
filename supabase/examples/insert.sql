-- Work is a row: psql "$DATABASE_URL" --file supabase/examples/insert.sql

insert into public.agent_messages (service, role, tenant, payload)
values ('example', 'echo', 'example', '{"text": "hello from SQL"}')
returning id, trace_id, status;

-- Where everything of this stage stands.
select id, status, attempts, claimed_by, result_snippet, error
from public.agent_messages where service = 'example' and role = 'echo'
order by id desc limit 10;
