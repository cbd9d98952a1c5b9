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
    "select version_number, version, login, clock, is_standby, autovacuum
    from public.bus_server()",
    &[],
);

pub(crate) static MISSING_ROLES: Statement =
    statement("bus.missing_roles", "select name from public.bus_missing_roles()", &[]);

pub(crate) static LOOSE_ROLES: Statement =
    statement("bus.loose_roles", "select name, why from public.bus_loose_roles()", &[]);

/// A view has no policies of its own; ours reads with its caller's rights.
pub(crate) static UNPROTECTED_TABLES: Statement =
    statement("bus.unprotected_tables", "select name from public.bus_unprotected_tables()", &[]);

/// `cogo.is_open` answers the policies of clients, so they must be able to call it; the schema keeps
/// them from calling it by name.
pub(crate) static UNSAFE_FUNCTIONS: Statement =
    statement("bus.unsafe_functions", "select name, why from public.bus_unsafe_functions()", &[]);

pub(crate) static KEEPER: Statement =
    statement("bus.keeper", "select worker, silent_s from public.bus_keeper()", &[]);

/// They wake up by themselves before `until`, so whoever is still there has died.
pub(crate) static DEAD_SLEEPERS: Statement =
    statement("bus.dead_sleepers", "select worker from public.bus_dead_sleepers()", &[]);

/// Everybody whose snapshot `vacuum` must respect, but ourselves and vacuum.
pub(crate) static HOLDERS: Statement = statement(
    "bus.holders",
    "select who, held_for_s from public.bus_snapshot_holders(p_longer_ms => $1)",
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

    /// Roles of clients that may do more than clients do, and what.
    pub async fn loose_roles(&self) -> Result<Vec<(String, String)>, BusError> {
        let rows = self.db().query(&LOOSE_ROLES, &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
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
        let silent = row.get::<Option<f64>>(1).map(Duration::from_secs_f64);
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
            .map(|row| Holder { who: row.get(0), held_for: row.get::<Option<f64>>(1).map(held) })
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
