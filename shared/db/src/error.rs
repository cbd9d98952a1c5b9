use std::error::Error as StdError;
use std::fmt;
use std::io;

use model::Disposition;
use realtime::{InvalidEndpoint, RestError};
use tokio_postgres::Error;
use tokio_postgres::error::{ErrorPosition, SqlState};

use crate::{InvalidTls, InvalidUrl, TimedOut};

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DbError {
    #[error("no database is configured")]
    #[diagnostic(help(
        "set DATABASE_URL, as in postgres://cogo:password@db.internal:5432/cogo; or SUPABASE_URL \
         and SUPABASE_SECRET_KEY"
    ))]
    NotConfigured,

    #[error("Supabase cannot be used")]
    #[diagnostic(help(
        "set SUPABASE_URL to the project's address, as in https://abc.supabase.co, and \
         SUPABASE_SECRET_KEY to one of its secret keys"
    ))]
    InvalidEndpoint(#[source] InvalidEndpoint),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Supabase(#[from] RestError),

    #[error("{0} needs a connection to Postgres, and only Supabase's REST API is configured")]
    #[diagnostic(help("set DATABASE_URL for this command; a project's settings show it"))]
    NeedsDirect(&'static str),

    #[error("DATABASE_URL cannot be used")]
    #[diagnostic(help(
        "write postgres://user:password@host:5432/database?sslmode=require, with special \
         characters of the password percent-encoded"
    ))]
    InvalidUrl(#[source] InvalidUrl),

    #[error("DATABASE_URL asks for a TLS connection that cannot be made")]
    #[diagnostic(help("check sslmode and sslrootcert in DATABASE_URL"))]
    InvalidTls(#[source] InvalidTls),

    #[error("could not agree on TLS with {server}")]
    #[diagnostic(help(
        "check sslmode in DATABASE_URL and whether sslrootcert signed the server's certificate"
    ))]
    Tls { server: String, source: Trouble },

    #[error("could not reach the database at {server}")]
    #[diagnostic(help("check that Postgres runs there and that this machine may connect to it"))]
    Unreachable { server: String, source: Trouble },

    #[error("the database at {server} does not accept connections right now")]
    #[diagnostic(help("it is starting, stopping or full; this passes"))]
    NotReady { server: String, source: Trouble },

    #[error("the database at {server} refused our login")]
    #[diagnostic(help("check user, password and database in DATABASE_URL"))]
    LoginRefused { server: String, source: Login },

    #[error("all {size} connections of this process are busy")]
    #[diagnostic(help("raise DB_POOL if this happens while the database has little to do"))]
    PoolBusy { size: usize, source: TimedOut },

    #[error("this needs a connection of its own, which a pooler in transaction mode cannot give")]
    #[diagnostic(help(
        "point DATABASE_URL at the database itself or at the pooler's session port (5432); if it \
         already is, set DB_SESSION=session"
    ))]
    NeedsSession,

    #[error("the database did not answer in time")]
    #[diagnostic(help("it is overloaded, or a lock is held; DB_STATEMENT_TIMEOUT is the limit"))]
    TooSlow(#[source] TimedOut),

    #[error("lost the connection during {statement}")]
    Lost { statement: &'static str, source: Trouble },

    #[error("could not run {statement} at this moment")]
    TryAgain { statement: &'static str, source: Trouble },

    #[error("could not run {statement}")]
    Statement { statement: &'static str, source: Trouble },
}

/// What went wrong underneath: the server said so, or the way to it failed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    // Boxed: every result of the bus carries the room for it.
    Server(Box<ServerError>),
    #[error("{0}")]
    Way(String),
    #[error(transparent)]
    TimedOut(TimedOut),
}

/// Why a login failed, in the words of whoever has to mend it.
#[derive(Debug, thiserror::Error)]
pub enum Login {
    #[error("it does not know this user with this password")]
    WrongPassword(#[source] Trouble),
    #[error("it has no such database")]
    NoDatabase(#[source] Trouble),
    #[error(transparent)]
    Other(Trouble),
}

/// What the server said, without its DETAIL: that quotes whole rows, and with them payloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    pub code: SqlState,
    pub message: String,
    pub hint: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
    /// Where in the statement, counted in characters from 1.
    pub position: Option<u32>,
    /// Which function was running, and where in it.
    pub context: Option<String>,
}

impl fmt::Display for ServerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.message, self.code.code())
    }
}

impl StdError for ServerError {}

impl DbError {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unreachable { .. }
            | Self::NotReady { .. }
            | Self::PoolBusy { .. }
            | Self::TooSlow(_)
            | Self::Lost { .. }
            | Self::TryAgain { .. } => Disposition::Retry,
            Self::Supabase(error) if error.passes() => Disposition::Retry,
            Self::NotConfigured
            | Self::InvalidEndpoint(_)
            | Self::Supabase(_)
            | Self::NeedsDirect(_)
            | Self::InvalidUrl(_)
            | Self::InvalidTls(_)
            | Self::Tls { .. }
            | Self::LoginRefused { .. }
            | Self::NeedsSession
            | Self::Statement { .. } => Disposition::GiveUp,
        }
    }

    /// Whether the statement may have been carried out although we got no answer: doing it again is
    /// safe only if doing it twice is.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::TooSlow(_) | Self::Lost { .. } => true,
            Self::Supabase(error) => error.may_have_happened(),
            Self::NotConfigured
            | Self::InvalidEndpoint(_)
            | Self::NeedsDirect(_)
            | Self::InvalidUrl(_)
            | Self::InvalidTls(_)
            | Self::Tls { .. }
            | Self::Unreachable { .. }
            | Self::NotReady { .. }
            | Self::LoginRefused { .. }
            | Self::PoolBusy { .. }
            | Self::NeedsSession
            | Self::TryAgain { .. }
            | Self::Statement { .. } => false,
        }
    }

    /// What the server said about a statement, if it is the server that refused it.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::TryAgain { source, .. }
            | Self::Statement { source, .. }
            | Self::Lost { source, .. }
            | Self::Unreachable { source, .. }
            | Self::NotReady { source, .. }
            | Self::Tls { source, .. } => source.server(),
            Self::LoginRefused {
                source:
                    Login::WrongPassword(source) | Login::NoDatabase(source) | Login::Other(source),
                ..
            } => source.server(),
            Self::NotConfigured
            | Self::InvalidEndpoint(_)
            | Self::Supabase(_)
            | Self::NeedsDirect(_)
            | Self::InvalidUrl(_)
            | Self::InvalidTls(_)
            | Self::PoolBusy { .. }
            | Self::NeedsSession
            | Self::TooSlow(_) => None,
        }
    }

    /// Shorthand for `server()`'s code.
    pub fn code(&self) -> Option<&SqlState> {
        self.server().map(|server| &server.code)
    }

    /// Whether the connection this came from must not be used again.
    pub(crate) fn spoils_the_connection(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::TooSlow(_))
    }

    /// Opening a connection failed.
    pub(crate) fn connecting(server: &str, error: &Error) -> Self {
        let server = server.to_owned();
        let source = Trouble::from(error);
        if let Some(said) = source.server() {
            return match said.code.code() {
                "28P01" => Self::LoginRefused { server, source: Login::WrongPassword(source) },
                "3D000" => Self::LoginRefused { server, source: Login::NoDatabase(source) },
                // Supabase's pooler for a tenant it does not know.
                "XX000" if said.message.contains("not found") => {
                    Self::LoginRefused { server, source: Login::Other(source) }
                }
                // Poolers report their own trouble in these two classes.
                code if code.starts_with("XX") || passes(code) => Self::NotReady { server, source },
                _ => Self::LoginRefused { server, source: Login::Other(source) },
            };
        }
        let cause = error.source();
        let tls = cause.is_some_and(|cause| {
            let io = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            io.is_some_and(|inner| inner.is::<rustls::Error>())
        });
        let io = error.is_closed() || cause.is_some_and(|cause| cause.is::<io::Error>());
        // tokio-postgres keeps its kinds to itself and says this one in words alone.
        if tls || (!io && error.to_string().contains("TLS")) {
            return Self::Tls { server, source };
        }
        if io {
            return Self::Unreachable { server, source };
        }
        Self::LoginRefused { server, source: Login::Other(source) }
    }

    /// A statement failed.
    pub(crate) fn running(statement: &'static str, error: &Error) -> Self {
        let source = Trouble::from(error);
        let Some(said) = source.server() else {
            let io = error.source().is_some_and(|cause| cause.is::<io::Error>());
            return if io || error.is_closed() {
                Self::Lost { statement, source }
            } else {
                Self::Statement { statement, source }
            };
        };
        let code = said.code.code();
        if ends_the_connection(code) {
            Self::Lost { statement, source }
        } else if passes(code) || stale_plan(said) {
            Self::TryAgain { statement, source }
        } else {
            Self::Statement { statement, source }
        }
    }

    /// A call over REST failed; what the database said is told as if it had said it to us.
    pub(crate) fn calling(statement: &'static str, error: RestError) -> Self {
        let RestError::Server(said) = error else { return Self::Supabase(error) };
        let constraint = said.message.split_once("constraint \"");
        let constraint = constraint.and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
        let again = passes(&said.code);
        let source = Trouble::Server(Box::new(ServerError {
            code: SqlState::from_code(&said.code),
            message: said.message,
            hint: said.hint,
            table: None,
            column: None,
            constraint,
            position: None,
            context: None,
        }));
        if again {
            Self::TryAgain { statement, source }
        } else {
            Self::Statement { statement, source }
        }
    }
}

/// A prepared statement that a migration, or a pooler we were not told of, took from under us.
pub(crate) fn stale_plan(said: &ServerError) -> bool {
    said.code == SqlState::INVALID_SQL_STATEMENT_NAME
        || (said.code == SqlState::FEATURE_NOT_SUPPORTED && said.message.contains("cached plan"))
}

fn ends_the_connection(code: &str) -> bool {
    // Connection exceptions; ended by an administrator, by a crash, with its database, while idle.
    code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "57P04" | "57P05")
}

fn passes(code: &str) -> bool {
    ends_the_connection(code)
        // Out of memory, disk or connections.
        || code.starts_with("53")
        || matches!(
            code,
            // serialization_failure, deadlock_detected, lock_not_available, query_canceled (by the
            // statement timeout), read_only_sql_transaction (a failover, a full disk), io_error
            "40001" | "40P01" | "55P03" | "57014" | "25006" | "58030"
        )
}

impl Trouble {
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(said) => Some(said),
            Self::Way(_) | Self::TimedOut(_) => None,
        }
    }
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        if let Some(said) = error.as_db_error() {
            return Self::Server(Box::new(ServerError {
                code: said.code().clone(),
                message: said.message().to_owned(),
                hint: said.hint().map(str::to_owned),
                table: said.table().map(str::to_owned),
                column: said.column().map(str::to_owned),
                constraint: said.constraint().map(str::to_owned),
                position: said.position().and_then(|position| match position {
                    ErrorPosition::Original(position) => Some(*position),
                    ErrorPosition::Internal { .. } => None,
                }),
                context: said.where_().map(str::to_owned),
            }));
        }
        // Its own words are of a library ("error communicating with the server"); the cause counts.
        Self::Way(match error.source() {
            Some(cause) => cause.to_string(),
            None => error.to_string(),
        })
    }
}

impl From<InvalidUrl> for DbError {
    fn from(error: InvalidUrl) -> Self {
        Self::InvalidUrl(error)
    }
}

impl From<InvalidEndpoint> for DbError {
    fn from(error: InvalidEndpoint) -> Self {
        Self::InvalidEndpoint(error)
    }
}

impl From<InvalidTls> for DbError {
    fn from(error: InvalidTls) -> Self {
        Self::InvalidTls(error)
    }
}
