use std::fmt;

use model::Secret;
use url::{Host, Url};

use super::frame::Protocol;

/// Where Realtime is. The URL has the key in it, so it is never shown; `server` is.
#[derive(Clone)]
pub(crate) struct Endpoint {
    url: Url,
    pub(crate) server: String,
}

/// Why no connection can be made with these settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum InvalidRealtime {
    #[error("SUPABASE_URL cannot be used: {0}")]
    #[diagnostic(help("write the project's address alone, as in https://abc.supabase.co"))]
    Url(&'static str),
    #[error("the Supabase key cannot be used: {0}")]
    #[diagnostic(help(
        "set SUPABASE_SECRET_KEY to the project's secret key, without quotes or line breaks"
    ))]
    Key(&'static str),
}

impl Endpoint {
    /// `supabase` is the project's address; Realtime is below it.
    pub(crate) fn new(
        supabase: &str,
        key: &Secret,
        protocol: Protocol,
    ) -> Result<Self, InvalidRealtime> {
        // Neither is quoted in errors: people paste the one where the other belongs.
        let mut url = Url::parse(supabase.trim())
            .map_err(|_| InvalidRealtime::Url("it is not a URL with http:// or https://"))?;
        let scheme = match url.scheme() {
            "http" | "ws" => "ws",
            "https" | "wss" => "wss",
            _ => return Err(InvalidRealtime::Url("it does not begin with http:// or https://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidRealtime::Url("it has a login in it"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidRealtime::Url("it has something after the path"));
        }
        match key.expose() {
            "" => return Err(InvalidRealtime::Key("it is empty")),
            text if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(InvalidRealtime::Key(
                    "it has spaces, line breaks or odd letters in it",
                ));
            }
            _ => {}
        }
        // All four schemes are ones that browsers know, between which a URL may change.
        let changed = url.set_scheme(scheme);
        changed.map_err(|()| InvalidRealtime::Url("it does not begin with http:// or https://"))?;
        let server = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let path = format!("{}/realtime/v1/websocket", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.query_pairs_mut()
            .append_pair("apikey", key.expose())
            .append_pair("vsn", protocol.version());
        Ok(Self { url, server })
    }

    /// With the key in it.
    pub(crate) fn expose(&self) -> &str {
        self.url.as_str()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.scheme() == "wss"
    }

    pub(crate) fn address(&self) -> (String, u16) {
        let host = match self.url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            // Without the brackets it has in a URL.
            Some(Host::Ipv6(address)) => address.to_string(),
            None => String::new(),
        };
        (host, self.url.port_or_known_default().unwrap_or_default())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Endpoint({})", self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, key: &str) -> Result<Endpoint, InvalidRealtime> {
        Endpoint::new(url, &Secret::new(key.to_owned()), Protocol::V2)
    }

    #[test]
    fn realtime_is_below_the_projects_address() {
        for (url, full, server, address) in [
            (
                "https://abc.supabase.co",
                "wss://abc.supabase.co/realtime/v1/websocket",
                "abc.supabase.co",
                ("abc.supabase.co", 443),
            ),
            (
                "http://127.0.0.1:54321/",
                "ws://127.0.0.1:54321/realtime/v1/websocket",
                "127.0.0.1:54321",
                ("127.0.0.1", 54321),
            ),
            (
                "https://[::1]:8443/base/",
                "wss://[::1]:8443/base/realtime/v1/websocket",
                "[::1]:8443",
                ("::1", 8443),
            ),
            (" http://h ", "ws://h/realtime/v1/websocket", "h", ("h", 80)),
        ] {
            let endpoint = endpoint(url, "k+/=").unwrap();
            assert_eq!(endpoint.expose(), format!("{full}?apikey=k%2B%2F%3D&vsn=2.0.0"));
            assert_eq!(endpoint.server, server);
            assert_eq!(endpoint.address(), (address.0.to_owned(), address.1));
            assert_eq!(endpoint.is_encrypted(), full.starts_with("wss"));
            assert_eq!(format!("{endpoint:?}"), format!("Endpoint({server})"));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_being_quoted() {
        for (url, key) in [
            ("", "k"),
            ("canary", "k"),
            ("canary://h", "k"),
            ("https://", "k"),
            ("https://u:canary@h", "k"),
            ("https://h?apikey=canary", "k"),
            ("https://h", ""),
            ("https://h", "canary\n"),
            ("https://h", "can\u{e4}ry"),
        ] {
            let error = endpoint(url, key).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("canary"), "{error}");
        }
    }
}
