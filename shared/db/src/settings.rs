use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use model::Secret;
use realtime::SupabaseSettings;

use crate::DbError;
use crate::address::Address;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DbSettings {
    /// Where the database is, as in postgres://cogo:password@db.internal:5432/cogo?sslmode=require.
    ///
    /// sslmode is disable, prefer, require, verify-ca or verify-full; the last two check the
    /// server's certificate against those of this machine, or against sslrootcert=/path/ca.pem.
    /// Characters that mean something in a URL are percent-encoded: a password's `@` is `%40`.
    // Kept as text and parsed on connecting: clap would quote a URL it refuses, password and all.
    #[arg(long, env, value_name = "URL", hide_env_values = true)]
    pub database_url: Option<Secret>,

    #[command(flatten)]
    pub supabase: SupabaseSettings,

    /// How many connections this process opens at most, besides the one it listens on.
    ///
    /// Opened when needed. More helps only when statements wait for each other; all processes
    /// together must stay below the server's max_connections.
    #[arg(long, env, default_value = "4", value_name = "N")]
    pub db_pool: NonZeroUsize,

    /// How long connecting, or waiting for a free connection, may take.
    #[arg(long, env, default_value = "5s", value_parser = model::duration, value_name = "TIME")]
    pub db_connect_timeout: Duration,

    /// How long one statement may take before the server cancels it; 0s means for ever.
    ///
    /// A pooler in transaction mode cannot tell the server; there only our own waiting ends.
    #[arg(long, env, default_value = "30s", value_parser = model::duration, value_name = "TIME")]
    pub db_statement_timeout: Duration,

    /// Whether a connection stays ours: session (a direct connection or a pooler in session mode),
    /// transaction (a pooler in transaction mode: no LISTEN, no prepared statements), or auto.
    ///
    /// auto means transaction on port 6543 or with pgbouncer=true in the URL, otherwise session.
    #[arg(long, env, default_value = "auto", value_enum, value_name = "MODE")]
    pub db_session: SessionSetting,

    /// Who we are in `pg_stat_activity`; see [`DbSettings::named`].
    #[arg(skip)]
    pub application_name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SessionSetting {
    Auto,
    Session,
    Transaction,
}

/// What a connection can be trusted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionMode {
    /// It stays ours: it may listen, keep prepared statements and hold advisory locks.
    Session,
    /// Each transaction may reach another server process.
    Transaction,
    /// There is none: every statement is a request to Supabase's REST API.
    Supabase,
}

impl fmt::Display for SessionMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Supabase => "supabase",
        })
    }
}

impl DbSettings {
    /// The defaults, at this address.
    pub fn at(url: &str) -> Self {
        Self {
            database_url: Some(Secret::new(url.to_owned())),
            supabase: SupabaseSettings::default(),
            db_pool: NonZeroUsize::new(4).expect("four is not zero"),
            db_connect_timeout: Duration::from_secs(5),
            db_statement_timeout: Duration::from_secs(30),
            db_session: SessionSetting::Auto,
            application_name: None,
        }
    }

    /// The defaults, by way of a Supabase project alone.
    pub fn at_supabase(url: &str, secret_key: &Secret) -> Self {
        let supabase = SupabaseSettings {
            supabase_url: Some(url.to_owned()),
            supabase_secret_key: Some(secret_key.clone()),
            supabase_service_role_key: None,
        };
        Self { database_url: None, supabase, ..Self::at("") }
    }

    /// The same, called `name` in `pg_stat_activity`, unless the URL says another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.application_name = Some(name.to_owned());
        self
    }

    /// What `auto` comes to. Fails when the URL does.
    pub fn session_mode(&self) -> Result<SessionMode, DbError> {
        if self.is_direct() { Ok(self.address()?.mode) } else { Ok(SessionMode::Supabase) }
    }

    /// A connection to Postgres wins where both ways are open.
    pub(crate) fn is_direct(&self) -> bool {
        self.database_url.is_some() || self.supabase.supabase_url.is_none()
    }

    pub(crate) fn address(&self) -> Result<Address, DbError> {
        let url = self.database_url.as_ref().ok_or_else(|| self.unset())?;
        let mut address = Address::parse(url)?;
        if let SessionSetting::Session = self.db_session {
            address.mode = SessionMode::Session;
        }
        if let SessionSetting::Transaction = self.db_session {
            address.mode = SessionMode::Transaction;
        }
        let config = &mut address.config;
        if config.get_application_name().is_none() {
            config.application_name(self.application_name.clone().unwrap_or_else(program));
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(self.db_connect_timeout);
        }
        Ok(address)
    }

    fn unset(&self) -> DbError {
        match self.supabase.supabase_url {
            Some(_) => DbError::NeedsDirect("this"),
            None => DbError::NotConfigured,
        }
    }

    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        Some(self.db_statement_timeout).filter(|limit| !limit.is_zero())
    }
}

fn program() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(Path::file_stem);
    name.map_or_else(|| "cogo".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    #[test]
    fn the_defaults_are_what_the_help_says() {
        let url = "postgres://u:hunter2@h/d";
        let found = DbSettings::augment_args(Command::new("db"))
            .mut_args(|arg| arg.env(None::<&str>))
            .get_matches_from(["db", "--database-url", url]);
        let parsed = DbSettings::from_arg_matches(&found).unwrap();
        assert_eq!(format!("{parsed:?}"), format!("{:?}", DbSettings::at(url)));
        assert!(!format!("{parsed:?}").contains("hunter2"));
    }

    #[test]
    fn a_pooler_in_transaction_mode_is_recognised_unless_told_otherwise() {
        use SessionMode::{Session, Transaction};
        for (url, setting, mode) in [
            ("postgres://h:5432/d", SessionSetting::Auto, Session),
            ("postgres://h:6543/d", SessionSetting::Auto, Transaction),
            ("postgres://h/d?pgbouncer=true&connection_limit=1", SessionSetting::Auto, Transaction),
            ("postgres://h/d?pgbouncer=false", SessionSetting::Auto, Session),
            ("postgres://h:6543/d", SessionSetting::Session, Session),
            ("postgres://h/d", SessionSetting::Transaction, Transaction),
        ] {
            let settings = DbSettings { db_session: setting, ..DbSettings::at(url) };
            assert_eq!(settings.session_mode().unwrap(), mode, "{url} {setting:?}");
        }
    }
}
