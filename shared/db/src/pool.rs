use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use realtime::{Realtime, RealtimeOptions, Rest, RestLimits};

use crate::ear::Hub;
use crate::open::Opener;
use crate::statement::{Rules, wrong_count};
use crate::tls::connector;
use crate::{
    Client, DbError, DbSettings, Ear, Parameter, Row, SessionMode, Statement, TimedOut, Topic,
    Trouble, call,
};

/// How much longer than the server we wait for a statement, so that normally it is the server that
/// gives up: it knows why, and the connection stays usable.
const BEYOND_THE_SERVER: Duration = Duration::from_secs(5);

/// "For ever", for a request that only we could end.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// The way to the database: a pool of connections, or Supabase's REST API. Clones share it.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

enum Inner {
    Direct(Direct),
    /// Every statement is a request.
    Supabase {
        rest: Rest,
        hub: Hub,
    },
}

struct Direct {
    pool: Pool,
    rules: Rules,
    server: String,
    connect_timeout: Duration,
}

impl Db {
    /// Connects to nothing yet: the database may still be starting. Fails only if the settings are
    /// wrong.
    pub fn connect(settings: &DbSettings) -> Result<Self, DbError> {
        if !settings.is_direct() {
            let limits = RestLimits {
                connections: settings.db_pool.get(),
                connect: settings.db_connect_timeout,
                answer: settings.statement_timeout().unwrap_or(NO_LIMIT),
            };
            let endpoint = settings.supabase.endpoint()?;
            let hub = Hub::new(Realtime::new(&endpoint, &RealtimeOptions::default()));
            let rest = Rest::new(&endpoint, limits);
            return Ok(Self(Arc::new(Inner::Supabase { rest, hub })));
        }
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
        let direct = Direct { pool, rules, server: address.shown, connect_timeout };
        Ok(Self(Arc::new(Inner::Direct(direct))))
    }

    /// A connection of its own, for a transaction or a number of statements. Fails with
    /// [`DbError::NeedsDirect`] where there is only the REST API.
    pub async fn client(&self) -> Result<Client, DbError> {
        match &*self.0 {
            Inner::Direct(direct) => direct.client().await,
            Inner::Supabase { .. } => Err(DbError::NeedsDirect("a transaction")),
        }
    }

    /// Over REST only what [`Statement::is_call`].
    pub async fn query(
        &self,
        statement: &Statement,
        parameters: &[&dyn Parameter],
    ) -> Result<Vec<Row>, DbError> {
        match &*self.0 {
            Inner::Direct(direct) => direct.client().await?.query(statement, parameters).await,
            Inner::Supabase { rest, .. } => call::query(rest, statement, parameters).await,
        }
    }

    /// Exactly one row, or an error.
    pub async fn query_one(
        &self,
        statement: &Statement,
        parameters: &[&dyn Parameter],
    ) -> Result<Row, DbError> {
        let row = self.query_opt(statement, parameters).await?;
        row.ok_or_else(|| wrong_count(statement, 0))
    }

    /// At most one row, or an error.
    pub async fn query_opt(
        &self,
        statement: &Statement,
        parameters: &[&dyn Parameter],
    ) -> Result<Option<Row>, DbError> {
        let rows = self.query(statement, parameters).await?;
        if rows.len() > 1 {
            return Err(wrong_count(statement, rows.len()));
        }
        Ok(rows.into_iter().next())
    }

    /// Listens over Realtime. Connects to nothing yet: what becomes of it is told while it is used.
    /// Fails with [`DbError::NotConfigured`] where there is no Supabase project.
    pub fn listen(&self, topics: &[Topic]) -> Result<Ear, DbError> {
        match &*self.0 {
            Inner::Direct(_) => Err(DbError::NotConfigured),
            Inner::Supabase { hub, .. } => Ok(hub.ear(topics)),
        }
    }

    pub fn mode(&self) -> SessionMode {
        match &*self.0 {
            Inner::Direct(direct) => direct.rules.mode,
            Inner::Supabase { .. } => SessionMode::Supabase,
        }
    }

    /// Host, port and database, for people; never the login.
    pub fn server(&self) -> &str {
        match &*self.0 {
            Inner::Direct(direct) => &direct.server,
            Inner::Supabase { rest, .. } => rest.shown(),
        }
    }
}

impl Direct {
    async fn client(&self) -> Result<Client, DbError> {
        let object = self.pool.get().await.map_err(|error| self.explain(error))?;
        Ok(Client::new(object, self.rules))
    }

    fn explain(&self, error: PoolError) -> DbError {
        let server = self.server.clone();
        let late = |what| TimedOut { what, limit: self.connect_timeout };
        match error {
            PoolError::Backend(error) => DbError::connecting(&server, &error),
            PoolError::Timeout(TimeoutType::Wait) => {
                let size = self.pool.status().max_size;
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
        write!(out, "Db({})", self.server())
    }
}

pub(crate) fn rules(settings: &DbSettings, mode: SessionMode) -> Rules {
    let limit = settings.statement_timeout().map(|limit| match mode {
        SessionMode::Session => limit + BEYOND_THE_SERVER,
        SessionMode::Transaction | SessionMode::Supabase => limit,
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
