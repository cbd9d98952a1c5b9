use std::net::TcpListener;
use std::time::Duration;

use db::DbSettings;
use model::Secret;

/// What a stand-in is started with.
#[derive(Debug)]
pub struct StandinSettings {
    /// As a superuser: it becomes whoever a token names, and reads the write-ahead log. The
    /// database needs what [`crate::provide`] makes.
    pub db: DbSettings,
    /// Signs the tokens it believes, with HS256.
    pub jwt_secret: Secret,
    pub keys: ApiKeys,
    /// Where it listens; without one, on a free port of this machine alone.
    pub listener: Option<TcpListener>,
    /// How many sockets at once; further ones are told 429. Supabase's smallest plan has 200.
    pub max_sockets: usize,
    pub awkward: Awkward,
}

/// Keys that stand for a role, and do not expire.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    /// For `service_role`: `sb_secret_…`.
    pub secret: Secret,
    /// For `anon`: `sb_publishable_…`.
    pub publishable: Secret,
}

/// How the real server is unlike what one would wish. What it always does is on; what it only does
/// under load, or what only costs time, is off until asked for.
#[derive(Clone, Copy, Debug)]
pub struct Awkward {
    /// How much later than the answer to its join a channel hears of changes to tables. What
    /// happens in between is lost. The real server took up to 2.8 s.
    pub ready_after: Duration,
    /// Above it, what comes from the database is thrown away in silence, and what a client sends
    /// ends its channel.
    pub rate: Option<Rate>,
    /// A socket that says nothing for so long is closed, with code 1000.
    pub idle_close: Option<Duration>,
    /// Whether a channel ends with its token.
    pub expiry: bool,
    /// How long a refused join waits for its answer; 5 s in earnest.
    pub refused_join: Duration,
    /// How long a refused socket or request waits for its answer; 2 s in earnest.
    pub refused_socket: Duration,
    /// Today's partition of `realtime.messages` is not there: what is sent is lost, and its
    /// transaction commits.
    pub lost_partition: bool,
}

/// So many messages per second as an average over `over`. A message counts once when it arrives and
/// once for each who gets it.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: u32,
    /// A minute in earnest.
    pub over: Duration,
}

impl StandinSettings {
    pub fn new(db: DbSettings, jwt_secret: Secret, keys: ApiKeys) -> Self {
        let awkward = Awkward::default();
        Self { db, jwt_secret, keys, listener: None, max_sockets: 200, awkward }
    }
}

impl Default for Awkward {
    fn default() -> Self {
        Self {
            ready_after: Duration::ZERO,
            rate: None,
            idle_close: Some(Duration::from_secs(60)),
            expiry: true,
            refused_join: Duration::from_millis(100),
            refused_socket: Duration::ZERO,
            lost_partition: false,
        }
    }
}
