use std::error::Error as _;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::address::Address;
use super::down::{Trouble, Way};
use super::hush::Hush;
use super::options::{RealtimeOptions, Timings};
use super::token::TokenSource;
use crate::Endpoint;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What rarely grows beyond a doorbell's few bytes needs no 128 KiB.
const READ_BUFFER: usize = 16 << 10;

/// Opens connections, and tells what went wrong with them.
#[derive(Debug)]
pub(crate) struct Opener {
    pub(crate) address: Address,
    pub(crate) hush: Hush,
    pub(crate) max_frame: usize,
    timings: Timings,
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Opener {
    pub(crate) fn new(project: &Endpoint, options: &RealtimeOptions) -> Self {
        let hush = Hush::new(project.key());
        if let TokenSource::Fixed(token) = &options.token {
            hush.also(token);
        }
        Self {
            address: Address::new(project, options.protocol),
            hush,
            max_frame: options.max_frame,
            timings: options.timings,
            tls: OnceLock::new(),
        }
    }

    pub(crate) async fn open(&self) -> Result<Socket, Trouble> {
        let limit = self.timings.connect;
        match timeout(limit, self.connect()).await {
            Ok(result) => result,
            Err(_) => Err(Trouble::SlowToOpen { server: self.server(), limit }),
        }
    }

    async fn connect(&self) -> Result<Socket, Trouble> {
        let host = self.address.host();
        let unreachable = |source| Trouble::Unreachable { server: self.server(), source };
        let stream = TcpStream::connect(host).await.map_err(unreachable)?;
        // A doorbell is one small packet, which must not wait for the next.
        stream.set_nodelay(true).map_err(unreachable)?;
        let connector = if self.address.is_encrypted() {
            Connector::Rustls(self.tls()?)
        } else {
            Connector::Plain
        };
        let request =
            self.address.expose().into_client_request().map_err(|error| self.opening(&error))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(READ_BUFFER)
            .max_message_size(Some(self.max_frame))
            .max_frame_size(Some(self.max_frame));
        let opening = client_async_tls_with_config(request, stream, Some(config), Some(connector));
        let (socket, _) = opening.await.map_err(|error| self.opening(&error))?;
        Ok(socket)
    }

    fn opening(&self, error: &Error) -> Trouble {
        let server = self.server();
        match error {
            Error::Http(response) => {
                let body = response.body().as_deref().unwrap_or_default();
                let said = self.hush.said(&refusal(body));
                Trouble::Refused { server, status: response.status().as_u16(), said }
            }
            Error::Tls(_) => Trouble::Tls { server, source: self.way(error) },
            Error::Io(cause) if is_tls(cause) => Trouble::Tls { server, source: self.way(error) },
            Error::Io(_) => Trouble::Broken { server, source: self.way(error) },
            _ => Trouble::NotRealtime { server, source: self.way(error) },
        }
    }

    /// An open connection failed.
    pub(crate) fn broken(&self, error: &Error) -> Trouble {
        let server = self.server();
        match error {
            Error::Capacity(_) => Trouble::TooLarge { server, limit: self.max_frame },
            _ => Trouble::Broken { server, source: self.way(error) },
        }
    }

    pub(crate) fn server(&self) -> String {
        self.address.server.clone()
    }

    fn way(&self, error: &Error) -> Way {
        // Its own words are of a library ("IO error: …"); the cause counts.
        let text = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Way(self.hush.said(&text))
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, Trouble> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Trouble::Tls {
                server: self.server(),
                source: Way(error.to_string()),
            })?
            .with_root_certificates(roots())
            .with_no_client_auth();
        Ok(self.tls.get_or_init(|| Arc::new(config)).clone())
    }
}

/// Read once per connection's owner: they take megabytes.
fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        // A container without ca-certificates.
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// The server answers `{"error": "…"}`; what stands in between may say anything.
fn refusal(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body).into_owned();
    let said = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|json| {
        ["error", "message", "msg"].iter().find_map(|name| json[name].as_str().map(str::to_owned))
    });
    said.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_from_json_if_it_is_some() {
        for (body, said) in [
            (r#"{"error":"token expired"}"#, "token expired"),
            (r#"{"message":"no key"}"#, "no key"),
            (r#"{"other":1}"#, r#"{"other":1}"#),
            ("<html>", "<html>"),
            ("", ""),
        ] {
            assert_eq!(refusal(body.as_bytes()), said);
        }
    }
}
