use std::fmt;

use clap::Args;
use model::Secret;
use url::Url;

/// A Supabase project: where it is, and the key that opens it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Supabase")]
pub struct SupabaseSettings {
    /// A Supabase project, as in <https://abc.supabase.co>; used where DATABASE_URL is not set.
    ///
    /// Everything then goes through the project's REST API and Realtime, and needs no connection to
    /// Postgres. For a local stack it is what `cogo status -o env` prints.
    // Kept as text and parsed on connecting, so that all that is wrong is reported alike.
    #[arg(long, env, value_name = "URL")]
    pub supabase_url: Option<String>,

    /// The project's secret key (`sb_secret_…`).
    ///
    /// To agent-core it is also the key by which it knows other servers: whoever sends it may act
    /// for any tenant.
    #[arg(long, env, value_name = "KEY", hide_env_values = true)]
    pub supabase_secret_key: Option<Secret>,

    /// The older name of the same; used where the other is not set.
    #[arg(long, env, value_name = "KEY", hide_env_values = true)]
    pub supabase_service_role_key: Option<Secret>,
}

/// The same, checked.
#[derive(Clone)]
pub struct Endpoint {
    base: Url,
    key: Secret,
}

/// Why there is no project to talk to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    #[error("SUPABASE_URL is not set")]
    NoUrl,
    #[error("SUPABASE_URL is set, but SUPABASE_SECRET_KEY is not")]
    NoKey,
    #[error("SUPABASE_URL is not the address of a project: {0}")]
    NotAnAddress(&'static str),
    #[error("SUPABASE_SECRET_KEY holds a character that no key has")]
    NotAKey,
    #[error("SUPABASE_SECRET_KEY is a publishable key, which may not do what workers do")]
    PublishableKey,
}

impl SupabaseSettings {
    pub fn endpoint(&self) -> Result<Endpoint, InvalidEndpoint> {
        let url = self.supabase_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        let url = url.ok_or(InvalidEndpoint::NoUrl)?;
        let key = self.supabase_secret_key.as_ref().or(self.supabase_service_role_key.as_ref());
        let key = key.cloned().ok_or(InvalidEndpoint::NoKey)?;
        Endpoint::new(url, key)
    }
}

impl Endpoint {
    /// `url` is what the project's settings show, without a path of any of its services.
    pub fn new(url: &str, key: Secret) -> Result<Self, InvalidEndpoint> {
        let wrong = InvalidEndpoint::NotAnAddress;
        let mut base =
            Url::parse(url.trim()).map_err(|_| wrong("write it as https://abc.supabase.co"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(wrong("it starts with https:// or http://"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("it holds a login, which belongs into SUPABASE_SECRET_KEY"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("nothing follows the host and port"));
        }
        if base.path().contains("/rest/v1") || base.path().contains("/realtime/v1") {
            return Err(wrong("leave out the path of the service, as in https://abc.supabase.co"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let text = key.expose();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidEndpoint::NotAKey);
        }
        if text.starts_with("sb_publishable_") {
            return Err(InvalidEndpoint::PublishableKey);
        }
        Ok(Self { base, key })
    }

    /// Of one of the project's services, as in `rest/v1/`.
    pub fn service(&self, path: &str) -> Url {
        self.base.join(path).expect("a path can follow any base")
    }

    pub fn key(&self) -> &Secret {
        &self.key
    }

    /// For people; never the key.
    pub fn shown(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        match self.base.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Endpoint({})", self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, key: &str) -> Result<Endpoint, InvalidEndpoint> {
        Endpoint::new(url, Secret::new(key.to_owned()))
    }

    #[test]
    fn services_lie_below_the_address() {
        for (url, rest, shown) in [
            ("https://abc.supabase.co", "https://abc.supabase.co/rest/v1/", "abc.supabase.co"),
            ("https://abc.supabase.co/", "https://abc.supabase.co/rest/v1/", "abc.supabase.co"),
            ("http://127.0.0.1:54321", "http://127.0.0.1:54321/rest/v1/", "127.0.0.1:54321"),
            ("https://in.house/supabase", "https://in.house/supabase/rest/v1/", "in.house"),
        ] {
            let endpoint = endpoint(url, "sb_secret_abc").unwrap();
            assert_eq!(endpoint.service("rest/v1/").as_str(), rest);
            assert_eq!(endpoint.shown(), shown);
        }
    }

    #[test]
    fn what_is_no_project_is_refused_and_no_key_is_shown() {
        for (url, key) in [
            ("abc.supabase.co", "k"),
            ("postgres://h/d", "k"),
            ("https://", "k"),
            ("https://user:hunter2@h", "k"),
            ("https://h/rest/v1", "k"),
            ("https://h/?apikey=hunter2", "k"),
            ("https://h", ""),
            ("https://h", "two\nlines"),
            ("https://h", "sb_publishable_abc"),
        ] {
            let error = endpoint(url, key).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
        }
        let fine = endpoint("https://h", "hunter2").unwrap();
        assert!(!format!("{fine:?}").contains("hunter2"));
    }
}
