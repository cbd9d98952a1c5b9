-- Who asks how deep the queues are, and may ask nothing else. Give it a password with \password in
-- psql, which shows it to nobody and writes it to no log.
create role cogo_autoscaler login connection limit 10;
alter role cogo_autoscaler set statement_timeout = '10s';
grant usage on schema public to cogo_autoscaler;
grant execute on function public.bus_depth(bigint) to cogo_autoscaler;
