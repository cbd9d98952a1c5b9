use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};

use crate::open::Opener;
use crate::statement::Rules;
use crate::tls::connector;
use crate::{Client, DbError, DbSettings, Row, SessionMode, Statement, TimedOut, ToSql, Trouble};

/// How much longer than the server we wait for a statement, so that normally it is the server that
/// gives up: it knows why, and the connection stays usable.
const BEYOND_THE_SERVER: Duration = Duration::from_secs(5);

/// A pool of connections. Clones share it.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    pool: Pool,
    rules: Rules,
    server: String,
    connect_timeout: Duration,
}

impl Db {
    /// Connects to nothing yet: the database may still be starting. Fails only if the settings are
    /// wrong.
    pub fn connect(settings: &DbSettings) -> Result<Self, DbError> {
        let address = settings.address()?;
        let tls = connector(&address.trust, address.direct_tls())?;
        let rules = rules(settings, address.mode);
        let opener = Opener { tls, setup: setup(settings, address.mode) };
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(address.config, opener, recycling);
        let pool = Pool::builder(manager)
            .max_size(settings.db_pool.get())
            .wait_timeout(Some(settings.db_connect_timeout))
            .create_timeout(Some(settings.db_connect_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with time-outs has a runtime");
        let connect_timeout = settings.db_connect_timeout;
        Ok(Self(Arc::new(Inner { pool, rules, server: address.shown, connect_timeout })))
    }

    /// A connection of its own, for a transaction or a number of statements.
    pub async fn client(&self) -> Result<Client, DbError> {
        let object = self.0.pool.get().await.map_err(|error| self.explain(error))?;
        Ok(Client::new(object, self.0.rules))
    }

    pub async fn query(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DbError> {
        self.client().await?.query(statement, parameters).await
    }

    /// Exactly one row, or an error.
    pub async fn query_one(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, DbError> {
        self.client().await?.query_one(statement, parameters).await
    }

    /// At most one row, or an error.
    pub async fn query_opt(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, DbError> {
        self.client().await?.query_opt(statement, parameters).await
    }

    /// How many rows it touched.
    pub async fn execute(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, DbError> {
        self.client().await?.execute(statement, parameters).await
    }

    pub fn mode(&self) -> SessionMode {
        self.0.rules.mode
    }

    /// Host, port and database, for people; never the login.
    pub fn server(&self) -> &str {
        &self.0.server
    }

    fn explain(&self, error: PoolError) -> DbError {
        let server = self.0.server.clone();
        let late = |what| TimedOut { what, limit: self.0.connect_timeout };
        match error {
            PoolError::Backend(error) => DbError::connecting(&server, &error),
            PoolError::Timeout(TimeoutType::Wait) => {
                let size = self.0.pool.status().max_size;
                DbError::PoolBusy { size, source: late("db.client") }
            }
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                DbError::Unreachable { server, source: Trouble::TimedOut(late("db.client")) }
            }
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                DbError::Unreachable { server, source: Trouble::Way(error.to_string()) }
            }
        }
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Db({})", self.0.server)
    }
}

pub(crate) fn rules(settings: &DbSettings, mode: SessionMode) -> Rules {
    let limit = settings.statement_timeout().map(|limit| match mode {
        SessionMode::Session => limit + BEYOND_THE_SERVER,
        SessionMode::Transaction => limit,
    });
    Rules { mode, limit }
}

/// What each new connection is told. Behind a pooler in transaction mode: nothing, because it would
/// be told to whoever comes next.
pub(crate) fn setup(settings: &DbSettings, mode: SessionMode) -> String {
    if let SessionMode::Transaction = mode {
        return String::new();
    }
    let limit = settings.statement_timeout().map_or(0, |limit| limit.as_millis().max(1));
    // Our statements are few and prepared; planning one anew takes longer than running it.
    format!("set statement_timeout = {limit}; set plan_cache_mode = force_generic_plan")
}
