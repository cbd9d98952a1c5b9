use db::{Db, DbError};

/// Makes this one database accept whatever lease a worker names, even one that is gone: what the
/// fence is for happens then, and the judge has to see it.
pub(crate) async fn break_fence(db: &Db) -> Result<(), DbError> {
    db.client().await?.batch("chaos.break_fence", BREAK).await
}

const BREAK: &str = "
do $$
declare
    v_change record;
    v_before text;
    v_after text;
begin
    for v_change in
        select * from (values
            ('bus_settle', ' and leases.lease = wanted.lease', ''),
            ('bus_settle', 'leaving.id is not null', 'true'),
            ('bus_done', ' and leases.lease = given.lease', '')) as change(name, was, becomes)
    loop
        select pg_get_functiondef(pg_proc.oid) into strict v_before from pg_proc
        where pronamespace = 'public'::regnamespace and proname = v_change.name;
        v_after := replace(v_before, v_change.was, v_change.becomes);
        if v_after = v_before then
            raise exception '% does not say `%` any more; break the fence where it is now',
                v_change.name, v_change.was;
        end if;
        execute v_after;
    end loop;
end
$$";
