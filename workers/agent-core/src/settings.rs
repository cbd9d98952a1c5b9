use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bus::BusSettings;
use clap::Args;
use db::DbSettings;
use model::{Secret, duration};
use worker::WorkerSettings;

/// Serves the HTTP API, and decides what becomes of intents (orchestrator/intent).
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    pub db: DbSettings,
    #[command(flatten)]
    pub bus: BusSettings,
    #[command(flatten)]
    pub worker: WorkerSettings,
    #[command(flatten)]
    pub http: HttpSettings,
    #[command(flatten)]
    pub auth: AuthSettings,
}

/// Where the API is served, and how much of it anybody gets.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpSettings {
    /// The port of the API.
    #[arg(long, env, default_value = "3000")]
    pub port: u16,

    /// The address it listens on.
    ///
    /// Every address by default, as a pod needs it: there is no open mode, so whoever reaches the
    /// port still needs a token or a key. Keys that are short or published in documentation are
    /// accepted on loopback only.
    #[arg(long, env = "HTTP_BIND", value_name = "ADDRESS", default_value = "0.0.0.0")]
    pub bind: IpAddr,

    /// A second port that serves /metrics alone, without authentication.
    ///
    /// For a Prometheus that cannot send a key; keep it inside the cluster. On the API's port
    /// /metrics needs a secret key.
    #[arg(long, env, value_name = "PORT")]
    pub metrics_port: Option<u16>,

    /// The largest body a request may have, in bytes.
    ///
    /// A stage takes payloads up to `max_payload` of its row in bus_routes; keep this a little
    /// larger than the largest of them.
    #[arg(long, env, default_value = "1179648", value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(1024..=134_217_728))]
    pub http_max_body: u32,

    /// How long a request may take, its body's arrival included. Event streams are not meant.
    #[arg(long, env, default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub http_timeout: Duration,

    /// How long a shutdown waits for answers that are under way.
    #[arg(long, env, default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub http_grace: Duration,

    /// Requests a second that one caller (a user, or a key) may make in the long run.
    #[arg(long, env, default_value = "200", value_name = "N")]
    pub rate_per_caller: NonZeroU32,

    /// Requests that one caller may make at once, after a pause.
    #[arg(long, env, default_value = "1000", value_name = "N")]
    pub burst_per_caller: NonZeroU32,

    /// Intents of one tenant that may wait to be decided; more are refused with 429.
    ///
    /// The bound is in the database, so it holds over all replicas. Raise it for tenants that send
    /// in bulk; it is what keeps one of them from filling the table.
    #[arg(long, env, default_value = "500", value_name = "N",
        value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    pub max_undecided_intents: i32,

    /// Event streams that this process serves at one time; more are refused with 503.
    #[arg(long, env, default_value = "1000", value_name = "N")]
    pub max_event_streams: NonZeroUsize,

    /// Time between two looks for new events while somebody listens: how late an event can be.
    #[arg(long, env, default_value = "100ms", value_parser = duration, value_name = "TIME")]
    pub events_poll: Duration,
}

/// Who may call. At least one way of authentication must be configured.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Authentication")]
pub struct AuthSettings {
    /// The secret that signs the project's tokens with HS256 (Supabase: JWT secret).
    #[arg(long, env, value_name = "SECRET")]
    pub supabase_jwt_secret: Option<Secret>,

    /// Where the project's public keys are, for tokens signed with RS256, ES256 or EdDSA.
    ///
    /// For a Supabase project: https://<ref>.supabase.co/auth/v1/.well-known/jwks.json
    #[arg(long, env, value_name = "URL")]
    pub supabase_jwks_url: Option<String>,

    /// The project's keys: servers that send one may act for any tenant. Both names may be set, and
    /// then both are accepted. They are settings of the way to the database, see [`Settings::join`].
    #[arg(skip)]
    pub supabase_secret_key: Option<Secret>,
    #[arg(skip)]
    pub supabase_service_role_key: Option<Secret>,

    /// More secret keys, separated by commas: for servers with a key of their own, and for changing
    /// one without a gap.
    #[arg(long, env, value_name = "KEYS", value_delimiter = ',')]
    pub agent_core_secret_keys: Vec<Secret>,
}

/// What is wrong with settings that each are right.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InvalidSettings {
    #[error("nobody could be authenticated: there is no key and no way to check a token")]
    #[diagnostic(help(
        "set SUPABASE_SECRET_KEY (or AGENT_CORE_SECRET_KEYS) for servers, and \
         SUPABASE_JWT_SECRET or SUPABASE_JWKS_URL for users; `openssl rand -hex 32` makes a key"
    ))]
    NoAuthentication,

    #[error("{setting} is too short to be a secret")]
    #[diagnostic(help(
        "use at least {least} characters, as `openssl rand -hex 32` makes them; shorter ones are \
         accepted only with HTTP_BIND=127.0.0.1"
    ))]
    TooShort { setting: &'static str, least: usize },

    #[error("{setting} is a value from Supabase's documentation, which everybody knows")]
    #[diagnostic(help("make one of your own, or set HTTP_BIND=127.0.0.1 to try things out"))]
    WellKnown { setting: &'static str },

    #[error("{setting} is empty")]
    #[diagnostic(help("give it a value, or unset it"))]
    Empty { setting: &'static str },

    #[error("SUPABASE_JWKS_URL is not a URL of http or https")]
    #[diagnostic(help(
        "write https://<ref>.supabase.co/auth/v1/.well-known/jwks.json, without a login in it"
    ))]
    JwksUrl,

    #[error("PORT and METRICS_PORT are the same")]
    #[diagnostic(help("/metrics is on PORT as well, for callers with a secret key"))]
    SamePort,

    #[error("{setting} must be longer than nothing")]
    #[diagnostic(help("write a length of time, as in `30s`"))]
    NoTime { setting: &'static str },
}

/// HMAC with SHA-256 asks for a key as long as its output, and so does Supabase.
const SHORTEST_JWT_SECRET: usize = 32;
const SHORTEST_KEY: usize = 20;

/// Of `supabase start` and of the guide to hosting it yourself. The beginnings are enough: whole
/// tokens are built from the same secret.
const WELL_KNOWN: [&str; 3] = [
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
    "sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz",
];

impl Settings {
    /// The keys that open the project to us open the API to others.
    pub(crate) fn join(&mut self) {
        let project = &self.db.supabase;
        self.auth.supabase_secret_key =
            self.auth.supabase_secret_key.take().or_else(|| project.supabase_secret_key.clone());
        self.auth.supabase_service_role_key = self
            .auth
            .supabase_service_role_key
            .take()
            .or_else(|| project.supabase_service_role_key.clone());
    }

    /// Refuses what would leave the API open, or cannot work.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        self.http.check()?;
        self.auth.check(self.http.bind)
    }
}

impl HttpSettings {
    fn check(&self) -> Result<(), InvalidSettings> {
        if self.metrics_port.is_some_and(|port| port != 0 && port == self.port) {
            return Err(InvalidSettings::SamePort);
        }
        for (setting, time) in
            [("HTTP_TIMEOUT", self.http_timeout), ("EVENTS_POLL", self.events_poll)]
        {
            if time.is_zero() {
                return Err(InvalidSettings::NoTime { setting });
            }
        }
        Ok(())
    }
}

impl AuthSettings {
    /// Every secret key, with the name of its setting.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&'static str, &Secret)> {
        let one = self.supabase_secret_key.iter().map(|key| ("SUPABASE_SECRET_KEY", key));
        let other =
            self.supabase_service_role_key.iter().map(|key| ("SUPABASE_SERVICE_ROLE_KEY", key));
        let more = self.agent_core_secret_keys.iter().map(|key| ("AGENT_CORE_SECRET_KEYS", key));
        one.chain(other).chain(more)
    }

    fn check(&self, bind: IpAddr) -> Result<(), InvalidSettings> {
        let jwt = self.supabase_jwt_secret.iter().map(|secret| ("SUPABASE_JWT_SECRET", secret));
        let secrets: Vec<_> = self.keys().chain(jwt).collect();
        if secrets.is_empty() && self.supabase_jwks_url.is_none() {
            return Err(InvalidSettings::NoAuthentication);
        }
        for (setting, secret) in secrets {
            let secret = secret.expose();
            if secret.trim().is_empty() {
                return Err(InvalidSettings::Empty { setting });
            }
            if bind.is_loopback() {
                continue;
            }
            let least = match setting {
                "SUPABASE_JWT_SECRET" => SHORTEST_JWT_SECRET,
                _ => SHORTEST_KEY,
            };
            if secret.len() < least {
                return Err(InvalidSettings::TooShort { setting, least });
            }
            if WELL_KNOWN.contains(&secret) || is_demo_token(secret) {
                return Err(InvalidSettings::WellKnown { setting });
            }
        }
        let is_url = |text: &String| {
            reqwest::Url::parse(text).is_ok_and(|url| {
                ["http", "https"].contains(&url.scheme())
                    && url.has_host()
                    && url.username().is_empty()
                    && url.password().is_none()
            })
        };
        if !self.supabase_jwks_url.iter().all(is_url) {
            return Err(InvalidSettings::JwksUrl);
        }
        Ok(())
    }
}

/// `"iss": "supabase-demo"`: the service_role key that `supabase start` prints for everybody.
fn is_demo_token(key: &str) -> bool {
    let parsed = jsonwebtoken::dangerous::insecure_decode_claims::<serde_json::Value>(key);
    parsed.is_ok_and(|claims| claims["iss"] == "supabase-demo")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(bind: &str, auth: &AuthSettings) -> Result<(), InvalidSettings> {
        auth.check(bind.parse().unwrap())
    }

    fn key(key: &str) -> AuthSettings {
        let key = Some(Secret::new(key.to_owned()));
        AuthSettings { supabase_secret_key: key, ..AuthSettings::default() }
    }

    #[test]
    fn it_does_not_start_without_a_way_to_authenticate_anybody() {
        for bind in ["0.0.0.0", "127.0.0.1"] {
            let refused = bound(bind, &AuthSettings::default());
            assert!(matches!(refused, Err(InvalidSettings::NoAuthentication)));
        }
    }

    #[test]
    fn a_key_that_anybody_could_guess_is_for_loopback_only() {
        let demo = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJzdXBhYmFzZS1kZW1vIiwicm9sZSI6\
            InNlcnZpY2Vfcm9sZSIsImV4cCI6MTk4MzgxMjk5Nn0.EGIM96RAZx35lJzdJsyH-qQwv8Hdp7fsn3W0YpN81IU";
        for known in ["short", WELL_KNOWN[0], demo] {
            assert!(bound("0.0.0.0", &key(known)).is_err(), "{known}");
            assert!(bound("::1", &key(known)).is_ok(), "{known}");
        }
        assert!(bound("0.0.0.0", &key("sb_secret_0123456789abcdef")).is_ok());
        assert!(bound("127.0.0.1", &key(" ")).is_err());
        let short = Some(Secret::new("only twenty characters".to_owned()));
        let short = AuthSettings { supabase_jwt_secret: short, ..AuthSettings::default() };
        assert!(bound("0.0.0.0", &short).is_err());
    }

    #[test]
    fn keys_are_fetched_from_a_url_without_a_login() {
        let at = |url: &str| AuthSettings {
            supabase_jwks_url: Some(url.to_owned()),
            ..AuthSettings::default()
        };
        assert!(
            bound("0.0.0.0", &at("https://a.supabase.co/auth/v1/.well-known/jwks.json")).is_ok()
        );
        for url in ["", "a.supabase.co", "file:///etc/keys", "https://me:secret@a.supabase.co/"] {
            assert!(bound("0.0.0.0", &at(url)).is_err(), "{url}");
        }
    }
}
