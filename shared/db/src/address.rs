use std::borrow::Cow;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use model::Secret;
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};

use crate::SessionMode;
use crate::tls::Trust;

/// Where Supabase's pooler listens in transaction mode.
const TRANSACTION_POOLER_PORT: u16 = 6543;

/// What other programs put into the same URL and what means nothing to us.
const IGNORED: [&str; 4] = ["connection_limit", "pool_timeout", "schema", "supa"];

/// A connection that stopped answering is found in at most 15 s: idle, by keepalives (5 + 3 × 3 s);
/// with something on its way, by what is not acknowledged.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_RETRIES: u32 = 3;
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// What tokio-postgres assumes when the URL says nothing.
const KEEPALIVE_IDLE_UNSET: Duration = Duration::from_secs(2 * 60 * 60);

/// Why a database URL was refused. None of these repeats a part of it: what looks like a host may
/// be half of a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    #[error("it does not start with postgres:// or postgresql://")]
    NotPostgres,
    #[error("there is an `@` in the user name or password; write it as %40")]
    AtSign,
    #[error("it names no host")]
    NoHost,
    #[error("its sslmode is unknown; choose disable, prefer, require, verify-ca or verify-full")]
    SslMode,
    #[error("its user, host, port, database or one of its parameters is malformed or unknown")]
    Malformed,
}

pub(crate) struct Address {
    pub(crate) config: Config,
    pub(crate) trust: Trust,
    pub(crate) mode: SessionMode,
    /// Host, port and database, for people.
    pub(crate) shown: String,
}

impl Address {
    pub(crate) fn parse(url: &Secret) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = url.expose().split_once("://").ok_or(InvalidUrl::NotPostgres)?;
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(InvalidUrl::NotPostgres);
        }
        // As in tokio-postgres: whatever stands before the first `@` is the user and the password.
        let (login, place) =
            rest.split_once('@').map_or(("", rest), |(login, place)| (login, place));
        let (place, query) = place.split_once('?').unwrap_or((place, ""));
        if place.contains('@') {
            return Err(InvalidUrl::AtSign);
        }
        let mut ours = Parameters::default();
        let theirs = ours.take_from(query)?;
        let at = if rest.contains('@') { "@" } else { "" };
        // Zeroed on drop, like the URL it is made of.
        let url = Secret::new(format!("postgres://{login}{at}{place}?{theirs}"));
        let config = Config::from_str(url.expose()).map_err(|_| InvalidUrl::Malformed)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(InvalidUrl::NoHost);
        }

        let shown = show(&config);
        let pooler = ours.pgbouncer || config.get_ports().contains(&TRANSACTION_POOLER_PORT);
        let mode = if pooler { SessionMode::Transaction } else { SessionMode::Session };
        let mut address = Self { config, trust: ours.trust(), mode, shown };
        address.apply(&ours);
        Ok(address)
    }

    fn apply(&mut self, ours: &Parameters) {
        let local = self.config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        // Postgres has no TLS on Unix sockets; asking costs a round trip.
        let local = local && !self.config.get_hosts().is_empty();
        self.config.ssl_mode(match ours.sslmode {
            _ if local => SslMode::Disable,
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        if self.config.get_keepalives_idle() == KEEPALIVE_IDLE_UNSET {
            self.config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if self.config.get_keepalives_interval().is_none() {
            self.config.keepalives_interval(KEEPALIVE_INTERVAL);
        }
        if self.config.get_keepalives_retries().is_none() {
            self.config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        if self.config.get_tcp_user_timeout().is_none() {
            self.config.tcp_user_timeout(UNACKNOWLEDGED);
        }
    }

    pub(crate) fn direct_tls(&self) -> bool {
        self.config.get_ssl_negotiation() == SslNegotiation::Direct
    }
}

/// The parameters that tokio-postgres does not know.
#[derive(Default)]
struct Parameters {
    sslmode: Mode,
    sslrootcert: Option<String>,
    pgbouncer: bool,
}

#[derive(Clone, Copy, Default)]
enum Mode {
    Disable,
    /// As libpq has it.
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Parameters {
    /// Keeps what is ours and gives back the rest of the query.
    fn take_from(&mut self, query: &str) -> Result<String, InvalidUrl> {
        let mut theirs = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').ok_or(InvalidUrl::Malformed)?;
            let value = decode(value)?;
            match name {
                "sslmode" => self.sslmode = Mode::parse(&value)?,
                "sslrootcert" => self.sslrootcert = Some(value.into_owned()),
                "pgbouncer" => self.pgbouncer = value == "true",
                name if IGNORED.contains(&name) => {}
                _ => theirs.push(parameter),
            }
        }
        Ok(theirs.join("&"))
    }

    fn trust(&self) -> Trust {
        let file = self.sslrootcert.as_deref().filter(|file| *file != "system").map(PathBuf::from);
        match (self.sslmode, file) {
            (Mode::VerifyFull, file) => Trust::Full(file),
            (Mode::VerifyCa, file) => Trust::Chain(file),
            // As libpq does: who names a root certificate wants it to be used.
            (Mode::Require, Some(file)) => Trust::Chain(Some(file)),
            (Mode::Disable | Mode::Prefer | Mode::Require, _) => Trust::Anybody,
        }
    }
}

impl Mode {
    fn parse(text: &str) -> Result<Self, InvalidUrl> {
        match text {
            "disable" => Ok(Self::Disable),
            "allow" | "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(InvalidUrl::SslMode),
        }
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, InvalidUrl> {
    percent_decode_str(text).decode_utf8().map_err(|_| InvalidUrl::Malformed)
}

fn show(config: &Config) -> String {
    let mut hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.display().to_string(),
        })
        .collect();
    if hosts.is_empty() {
        hosts.extend(config.get_hostaddrs().iter().map(ToString::to_string));
    }
    let port = |index: usize| {
        let ports = config.get_ports();
        ports.get(index).or(ports.first()).copied().unwrap_or(5432)
    };
    let places: Vec<String> =
        hosts.iter().enumerate().map(|(index, host)| format!("{host}:{}", port(index))).collect();
    match config.get_dbname() {
        Some(name) => format!("{}/{name}", places.join(",")),
        None => places.join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, InvalidUrl> {
        Address::parse(&Secret::new(url.to_owned()))
    }

    #[test]
    fn a_url_is_shown_without_its_login() {
        for (url, shown) in [
            ("postgres://cogo:hunter2@db.internal/cogo", "db.internal:5432/cogo"),
            ("postgresql://cogo:hunter2@a:1,b:2/cogo?sslmode=require", "a:1,b:2/cogo"),
            ("postgres://cogo:hunt%40er2%3F@[::1]:5433", "::1:5433"),
            ("postgres://cogo@%2Frun%2Fpostgresql/cogo", "/run/postgresql:5432/cogo"),
            ("postgres:///cogo?host=/tmp&user=me&password=hunter2", "/tmp:5432/cogo"),
        ] {
            assert_eq!(parse(url).unwrap().shown, shown, "{url}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_with_a_reason_and_without_a_part_of_it() {
        for (url, reason) in [
            ("hunter2", InvalidUrl::NotPostgres),
            ("mysql://u:hunter2@h/d", InvalidUrl::NotPostgres),
            ("postgres://u:hun@ter2@h/d", InvalidUrl::AtSign),
            ("postgres:///d", InvalidUrl::NoHost),
            ("postgres://u:hunter2@h/d?sslmode=hunter2", InvalidUrl::SslMode),
            ("postgres://u:hunter2@h/d?hunter2=1", InvalidUrl::Malformed),
            ("postgres://u:hunter2@h/d?hunter2", InvalidUrl::Malformed),
            ("postgres://h:hunter2/d", InvalidUrl::Malformed),
            ("postgres://%ff:hunter2@h/d", InvalidUrl::Malformed),
        ] {
            let Err(error) = parse(url) else { panic!("{url} was accepted") };
            assert_eq!(error, reason, "{url}");
            assert!(!error.to_string().contains("hun") && !error.to_string().contains("ter2"));
        }
    }

    #[test]
    fn sslmode_says_whether_to_encrypt_and_whom_to_trust() {
        for (query, mode, trust) in [
            ("", SslMode::Prefer, Trust::Anybody),
            ("sslmode=disable", SslMode::Disable, Trust::Anybody),
            ("sslmode=require", SslMode::Require, Trust::Anybody),
            (
                "sslmode=require&sslrootcert=/a%20b.pem",
                SslMode::Require,
                Trust::Chain(Some("/a b.pem".into())),
            ),
            ("sslmode=verify-ca", SslMode::Require, Trust::Chain(None)),
            ("sslmode=verify-full&sslrootcert=system", SslMode::Require, Trust::Full(None)),
            (
                "sslmode=verify-full&sslrootcert=/ca.pem",
                SslMode::Require,
                Trust::Full(Some("/ca.pem".into())),
            ),
        ] {
            let address = parse(&format!("postgres://u:p@h/d?{query}")).unwrap();
            assert_eq!(address.config.get_ssl_mode(), mode, "{query}");
            assert_eq!(address.trust, trust, "{query}");
        }
        let local = parse("postgres://%2Ftmp/d?sslmode=require").unwrap();
        assert_eq!(local.config.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn a_dead_connection_is_found_in_15_seconds_unless_the_url_says_otherwise() {
        let config = parse("postgres://h/d").unwrap().config;
        let retries = config.get_keepalives_retries().unwrap();
        let idle =
            config.get_keepalives_idle() + config.get_keepalives_interval().unwrap() * retries;
        assert!(idle < Duration::from_secs(15), "{idle:?}");
        let config = parse("postgres://h/d?keepalives_idle=60").unwrap().config;
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(60));
    }
}
