use std::time::{Duration, Instant};

use db::{Commit, Session, Statement, Type, within};
use time::OffsetDateTime;

use crate::statement::statement;
use crate::{Bus, BusError};

/// What the server is, for `cogo doctor`.
#[derive(Clone, Debug)]
pub struct Server {
    /// As in `170002`.
    pub version_number: i32,
    pub version: String,
    pub user: String,
    pub clock: OffsetDateTime,
    /// How much later the server's clock is than ours, in seconds.
    pub ahead: f64,
    /// Asking took this long; no difference below it means anything.
    pub round_trip: Duration,
    pub is_standby: bool,
    pub autovacuum: bool,
}

/// Who leads the keeping, and how long ago it last swept; `None` if nobody ever did.
#[derive(Clone, Debug)]
pub struct KeeperSeen {
    pub worker: String,
    pub silent: Option<Duration>,
}

/// Somebody whose snapshot keeps dead rows from being removed.
#[derive(Clone, Debug)]
pub struct Holder {
    /// As in `process 4711 (psql), idle in transaction`.
    pub who: String,
    /// `None` where the server does not say.
    pub held_for: Option<Duration>,
}

pub(crate) static SERVER: Statement = statement(
    "bus.server",
    "select current_setting('server_version_num')::int, current_setting('server_version'),
        current_user::text, clock_timestamp(), pg_is_in_recovery(),
        current_setting('autovacuum')::boolean",
    &[],
);

pub(crate) static MISSING_ROLES: Statement = statement(
    "bus.missing_roles",
    "select wanted.name from unnest(array['anon', 'authenticated', 'service_role', 'cogo_worker'])
        as wanted(name)
    where not exists (select from pg_catalog.pg_roles where rolname = wanted.name)",
    &[],
);

/// A view has no policies of its own; ours reads with its caller's rights.
pub(crate) static UNPROTECTED_TABLES: Statement = statement(
    "bus.unprotected_tables",
    "select namespace.nspname || '.' || relation.relname
    from pg_catalog.pg_class as relation
    join pg_catalog.pg_namespace as namespace on namespace.oid = relation.relnamespace
    where relation.relkind in ('r', 'p')
        and (namespace.nspname = 'cogo' or (namespace.nspname = 'public' and relation.relname in
            ('agent_messages', 'agent_messages_dlq', 'bus_events', 'bus_routes', 'intents', 'workers')))
        and not (relation.relrowsecurity and relation.relforcerowsecurity)
    order by 1",
    &[],
);

/// `cogo.is_open` answers the policies of clients, so they must be able to call it; the schema keeps
/// them from calling it by name.
pub(crate) static UNSAFE_FUNCTIONS: Statement = statement(
    "bus.unsafe_functions",
    "select function.oid::regprocedure::text,
        case when has_function_privilege('public', function.oid, 'execute')
            then 'anybody may execute it' else 'its search_path is not fixed' end
    from pg_catalog.pg_proc as function
    join pg_catalog.pg_namespace as namespace on namespace.oid = function.pronamespace
    where function.prosecdef
        and (namespace.nspname = 'cogo'
            or (namespace.nspname = 'public' and function.proname ~ '^(bus|intent)_'))
        and (not exists (select from unnest(function.proconfig) as setting
                where starts_with(setting, 'search_path='))
            or (has_function_privilege('public', function.oid, 'execute')
                and function.oid::regprocedure::text <> 'cogo.is_open(text,text,name)'))
    order by 1",
    &[],
);

pub(crate) static KEEPER: Statement = statement(
    "bus.keeper",
    "select worker, case when isfinite(kept_at)
        then greatest(0, extract(epoch from clock_timestamp() - kept_at))::float8 end
    from cogo.keeper",
    &[],
);

/// They wake up by themselves before `until`, so whoever is still there has died.
pub(crate) static DEAD_SLEEPERS: Statement = statement(
    "bus.dead_sleepers",
    "select distinct worker from cogo.parked where until < clock_timestamp() order by 1",
    &[],
);

/// Everybody whose snapshot `vacuum` must respect, but ourselves and vacuum.
pub(crate) static HOLDERS: Statement = statement(
    "bus.holders",
    "select who, held_for from (
        select format('process %s (%s), %s', pid, coalesce(nullif(application_name, ''), 'unnamed'),
                coalesce(state, 'hidden from this user')) as who,
            extract(epoch from clock_timestamp() - xact_start)::float8 as held_for
        from pg_catalog.pg_stat_activity
        where pid <> pg_backend_pid() and backend_type = 'client backend'
            and (backend_xmin is not null or backend_xid is not null)
            and xact_start < clock_timestamp() - $1 * interval '1 ms'
        union all
        select format('prepared transaction `%s`', gid),
            extract(epoch from clock_timestamp() - prepared)::float8
        from pg_catalog.pg_prepared_xacts
        where prepared < clock_timestamp() - $1 * interval '1 ms'
        union all
        select format('replication slot `%s`, which nobody reads', slot_name), null
        from pg_catalog.pg_replication_slots
        where not active and (xmin is not null or catalog_xmin is not null)
    ) as holding
    order by held_for desc nulls last limit 5",
    &[Type::INT8],
);

pub(crate) static NOTIFY: Statement =
    statement("bus.notify", "select pg_notify($1, '')", &[Type::TEXT]);

/// A ring that takes longer than this is as good as lost.
const LONGEST_RING: Duration = Duration::from_secs(5);

impl Bus {
    pub async fn server(&self) -> Result<Server, BusError> {
        // The first statement also opens the connection, which is no part of the round trip.
        self.db().query(&SERVER, &[]).await?;
        let (asked, at) = (OffsetDateTime::now_utc(), Instant::now());
        let row = self.db().query_one(&SERVER, &[]).await?;
        let round_trip = at.elapsed();
        let clock: OffsetDateTime = row.get(3);
        Ok(Server {
            version_number: row.get(0),
            version: row.get(1),
            user: row.get(2),
            clock,
            ahead: (clock - (asked + round_trip / 2)).as_seconds_f64(),
            round_trip,
            is_standby: row.get(4),
            autovacuum: row.get(5),
        })
    }

    pub async fn missing_roles(&self) -> Result<Vec<String>, BusError> {
        self.texts(&MISSING_ROLES).await
    }

    /// Tables of ours without forced row level security.
    pub async fn unprotected_tables(&self) -> Result<Vec<String>, BusError> {
        self.texts(&UNPROTECTED_TABLES).await
    }

    /// Functions that run with their owner's rights and could be misused, and why.
    pub async fn unsafe_functions(&self) -> Result<Vec<(String, String)>, BusError> {
        let rows = self.db().query(&UNSAFE_FUNCTIONS, &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    pub async fn keeper(&self) -> Result<KeeperSeen, BusError> {
        let row = self.db().query_one(&KEEPER, &[]).await?;
        let silent = row.get::<_, Option<f64>>(1).map(Duration::from_secs_f64);
        Ok(KeeperSeen { worker: row.get(0), silent })
    }

    /// Workers that are noted as asleep and must have died.
    pub async fn dead_sleepers(&self) -> Result<Vec<String>, BusError> {
        self.texts(&DEAD_SLEEPERS).await
    }

    /// Who has held a snapshot for longer than this, the longest first.
    pub async fn snapshot_holders(&self, longer_than: Duration) -> Result<Vec<Holder>, BusError> {
        let millis = crate::new_message::millis(longer_than);
        let rows = self.db().query(&HOLDERS, &[&millis]).await?;
        let held = |seconds: f64| Duration::from_secs_f64(seconds.max(0.0));
        Ok(rows
            .iter()
            .map(|row| Holder { who: row.get(0), held_for: row.get::<_, Option<f64>>(1).map(held) })
            .collect())
    }

    /// Rings ourselves through the server and says how long it took; `None` if it never rang.
    pub async fn ring_ourselves(&self) -> Result<Option<Duration>, BusError> {
        let channel = format!("cogo_doctor_{}", uuid::Uuid::new_v4().simple());
        let channels = [channel.clone()];
        let session = Session::open(self.db_settings(), &channels, Commit::Durable).await?;
        let mut best = None;
        // The first one pays for opening another connection.
        for _ in 0..3 {
            let rung_at = Instant::now();
            self.db().query(&NOTIFY, &[&channel]).await?;
            match within("bus.ring_ourselves", LONGEST_RING, session.notified()).await {
                Ok(heard) => heard?,
                Err(_) => return Ok(None),
            };
            let took = rung_at.elapsed();
            best = Some(best.map_or(took, |best: Duration| best.min(took)));
        }
        Ok(best)
    }

    async fn texts(&self, statement: &'static Statement) -> Result<Vec<String>, BusError> {
        let rows = self.db().query(statement, &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
