use std::fmt;

use url::{Host, Url};

use super::frame::Protocol;
use crate::Endpoint;

/// Where Realtime is. The URL has the key in it, so it is never shown; `server` is.
#[derive(Clone)]
pub(crate) struct Address {
    url: Url,
    pub(crate) server: String,
}

impl Address {
    /// Realtime's, below that of its project.
    pub(crate) fn new(project: &Endpoint, protocol: Protocol) -> Self {
        let mut url = project.service("realtime/v1/websocket");
        // Both pairs are ones that browsers know, between which a URL may change.
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).expect("http and https have their own for websockets");
        url.query_pairs_mut()
            .append_pair("apikey", project.key().expose())
            .append_pair("vsn", protocol.version());
        Self { url, server: project.shown() }
    }

    /// With the key in it.
    pub(crate) fn expose(&self) -> &str {
        self.url.as_str()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.url.scheme() == "wss"
    }

    pub(crate) fn host(&self) -> (String, u16) {
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

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Address({})", self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Secret;

    #[test]
    fn realtime_is_below_the_projects_address() {
        for (url, full, server, host) in [
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
            let project = Endpoint::new(url, Secret::new("k+/=".to_owned())).unwrap();
            let address = Address::new(&project, Protocol::V2);
            assert_eq!(address.expose(), format!("{full}?apikey=k%2B%2F%3D&vsn=2.0.0"));
            assert_eq!(address.server, server);
            assert_eq!(address.host(), (host.0.to_owned(), host.1));
            assert_eq!(address.is_encrypted(), full.starts_with("wss"));
            assert_eq!(format!("{address:?}"), format!("Address({server})"));
        }
    }
}
