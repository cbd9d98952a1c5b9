use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use model::Secret;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, Method, Response, StatusCode};
use url::Url;

use crate::{InvalidSettings, OciError, OciSettings};

/// The HTTP clients that all registries share. They follow nothing, keep to their limits, and
/// tell nothing of what they were told.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    tls: Client,
    /// For plain HTTP. It knows no proxy, which could read the password.
    plain: Client,
    limit: Duration,
}

pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: &'a [(HeaderName, &'a str)],
    pub(crate) authorization: Option<&'a Secret>,
    pub(crate) body: &'static str,
    /// More than this of a good answer is refused.
    pub(crate) largest: usize,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Of a bad answer only the beginning.
    pub(crate) body: Vec<u8>,
}

/// Enough for the code in it, which is all that is read.
const LARGEST_ERROR: usize = 16 << 10;

impl Wire {
    pub(crate) fn new(settings: &OciSettings) -> Result<Self, InvalidSettings> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = || {
            Client::builder()
                .user_agent(concat!("cogo/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(settings.registry_timeout)
                .timeout(settings.registry_timeout)
                // `Session` does, which knows what may go where.
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
        };
        let mut tls = client();
        if let Some(file) = &settings.registry_cacert {
            let invalid = |why| InvalidSettings::Cacert { file: file.display().to_string(), why };
            let pem = std::fs::read(file).map_err(|error| invalid(error.to_string()))?;
            let found = Certificate::from_pem_bundle(&pem);
            let found = found.map_err(|error| invalid(deepest(&error)))?;
            if found.is_empty() {
                return Err(invalid("there is no certificate in it".to_owned()));
            }
            tls = tls.tls_certs_merge(found);
        }
        let plain = client().no_proxy().tls_certs_only(Vec::<Certificate>::new());
        let built = |client: ClientBuilder| {
            client.build().map_err(|error| InvalidSettings::Tls(deepest(&error)))
        };
        Ok(Self { tls: built(tls)?, plain: built(plain)?, limit: settings.registry_timeout })
    }

    pub(crate) async fn ask(&self, registry: &str, ask: Ask<'_>) -> Result<Answer, OciError> {
        let unsendable = OciError::Unreadable {
            registry: registry.to_owned(),
            why: "it wants what no header can hold",
        };
        let http = if ask.url.scheme() == "https" { &self.tls } else { &self.plain };
        let mut request = http.request(ask.method, ask.url).body(ask.body);
        for (name, value) in ask.headers {
            let value = HeaderValue::from_str(value).map_err(|_| unsendable.clone())?;
            request = request.header(name, value);
        }
        if let Some(secret) = ask.authorization {
            let mut value =
                HeaderValue::from_str(secret.expose()).map_err(|_| unsendable.clone())?;
            value.set_sensitive(true);
            request = request.header(reqwest::header::AUTHORIZATION, value);
        }
        let mut response = request.send().await.map_err(|error| self.explain(registry, &error))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body = if status.is_success() {
            self.whole(registry, response, ask.largest).await?
        } else {
            beginning(response).await
        };
        Ok(Answer { status, headers, body })
    }

    async fn whole(
        &self,
        registry: &str,
        mut response: Response,
        limit: usize,
    ) -> Result<Vec<u8>, OciError> {
        let mut body = Vec::new();
        while let Some(piece) =
            response.chunk().await.map_err(|error| self.explain(registry, &error))?
        {
            if body.len() + piece.len() > limit {
                return Err(OciError::TooLarge { registry: registry.to_owned(), limit });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn explain(&self, registry: &str, error: &reqwest::Error) -> OciError {
        let registry = registry.to_owned();
        if let Some(why) = tls(error) {
            return OciError::Untrusted { registry, why };
        }
        if error.is_timeout() {
            return OciError::TooSlow { registry, limit: self.limit };
        }
        OciError::Unreachable { registry, why: deepest(error) }
    }
}

/// Whatever happens while it is read: the status has said enough.
async fn beginning(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() >= LARGEST_ERROR {
            body.truncate(LARGEST_ERROR);
            break;
        }
    }
    body
}

impl Answer {
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long we are asked to stay away.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after(self.header(&RETRY_AFTER)?, SystemTime::now())
    }
}

/// Longer ones are a mistake, or would stop us for ever.
const LONGEST_AWAY: Duration = Duration::from_secs(3600);

fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let seconds = || text.trim().parse().ok().map(Duration::from_secs);
    let date = || {
        let until = httpdate::parse_http_date(text.trim()).ok()?;
        Some(until.duration_since(now).unwrap_or_default())
    };
    Some(seconds().or_else(date)?.min(LONGEST_AWAY))
}

/// What is wrong with the other side's TLS, if that is what is wrong.
fn tls(error: &reqwest::Error) -> Option<String> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found.to_string());
        }
        // What an I/O error was made from is not among its sources.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The innermost reason. What lies around it repeats the address, and with it what a registry has
/// signed for whoever knows it.
pub(crate) fn deepest(error: &(dyn Error + 'static)) -> String {
    let Some(mut deepest) = error.source() else { return "the request failed".to_owned() };
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_says_in_two_ways_when_to_come_back() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 09:00:00 GMT").unwrap();
        for (text, seconds) in [
            ("30", Some(30)),
            (" 0 ", Some(0)),
            ("Sat, 21 Nov 2026 09:00:30 GMT", Some(30)),
            ("Sat, 21 Nov 2026 08:00:00 GMT", Some(0)),
            ("999999999999", Some(3600)),
            ("Sat, 21 Nov 2099 08:00:00 GMT", Some(3600)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
