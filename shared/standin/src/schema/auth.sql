-- What policies ask about the caller. The claims are those of the request, set by whoever checked the token.
create or replace function auth.jwt() returns jsonb
language sql stable set search_path = '' as $$
    select nullif(current_setting('request.jwt.claims', true), '')::jsonb
$$;

create or replace function auth.uid() returns uuid
language sql stable set search_path = '' as $$
    select nullif(auth.jwt() ->> 'sub', '')::uuid
$$;

create or replace function auth.role() returns text
language sql stable set search_path = '' as $$
    select auth.jwt() ->> 'role'
$$;

create or replace function auth.email() returns text
language sql stable set search_path = '' as $$
    select auth.jwt() ->> 'email'
$$;

comment on function auth.jwt() is 'Stand-in: the claims of the caller''s token; null without one.';
comment on function auth.uid() is 'Stand-in: who the caller is, the claim sub.';
comment on function auth.role() is 'Stand-in: as which role the caller comes.';
comment on function auth.email() is 'Stand-in: the claim email.';
