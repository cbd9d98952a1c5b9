use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::quote;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use url::Url;

use crate::rest_error::{RestError, decode};
use crate::{Endpoint, Filter};

/// The project's REST API: calls of functions, inserts and selects. Clones share the connections.
#[derive(Clone)]
pub struct Rest(Arc<Inner>);

struct Inner {
    client: Client,
    base: Url,
    shown: String,
    limits: RestLimits,
    /// As many calls at once as there are connections; the others wait.
    turns: Semaphore,
}

#[derive(Clone, Copy, Debug)]
pub struct RestLimits {
    /// Connections, and so calls at once.
    pub connections: usize,
    pub connect: Duration,
    /// For a whole answer, from the moment the call has its turn.
    pub answer: Duration,
}

/// An answer larger than this is an error and not a full memory: 500 messages of the largest size.
const LARGEST_ANSWER: usize = 600 << 20;
/// Reads may be asked again, so the gateway's short absences need not be anybody's trouble.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(200);

impl Rest {
    /// Connects to nothing yet.
    pub fn new(endpoint: &Endpoint, limits: RestLimits) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = HeaderMap::new();
        let key = endpoint.key().expose();
        for (name, value) in [
            (HeaderName::from_static("apikey"), key.to_owned()),
            (AUTHORIZATION, format!("Bearer {key}")),
        ] {
            let mut value =
                HeaderValue::from_str(&value).expect("a key is of printable characters");
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("cogo/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(limits.connect)
            .timeout(limits.answer)
            .pool_max_idle_per_host(limits.connections)
            .tcp_nodelay(true)
            // A key must not follow wherever an answer points.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("nothing in here depends on the machine");
        Self(Arc::new(Inner {
            client,
            base: endpoint.service("rest/v1/"),
            shown: endpoint.shown(),
            turns: Semaphore::new(limits.connections),
            limits,
        }))
    }

    /// Where it is, for people.
    pub fn shown(&self) -> &str {
        &self.0.shown
    }

    /// Calls a function with named arguments, and gives its answer as it came: a value, an array of
    /// rows, or nothing.
    ///
    /// Never tried again by itself: whether doing it twice is the same as once, only the caller
    /// knows; [`RestError::may_have_happened`] tells whether it must care.
    pub async fn call(
        &self,
        function: &str,
        arguments: &impl Serialize,
    ) -> Result<Option<Box<RawValue>>, RestError> {
        let url = self.url("rpc/", function, &[])?;
        let body = serde_json::to_vec(arguments).map_err(|error| RestError::invalid(&error))?;
        let request = self.0.client.post(url).header(CONTENT_TYPE, JSON).body(body);
        let answer = self.send(request).await?;
        if answer.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&answer).map(Some).map_err(|error| RestError::unreadable(&error))
    }

    /// Inserts rows, all or none. With `returning` they come back, with their defaults.
    pub async fn insert<T: DeserializeOwned>(
        &self,
        table: &str,
        rows: &impl Serialize,
        returning: Option<&str>,
    ) -> Result<Vec<T>, RestError> {
        let select = returning.map(|columns| ("select", columns.to_owned()));
        let url = self.url("", table, select.as_slice())?;
        let prefer = if returning.is_some() { "return=representation" } else { "return=minimal" };
        let body = serde_json::to_vec(rows).map_err(|error| RestError::invalid(&error))?;
        let request = self.0.client.post(url).header(CONTENT_TYPE, JSON).header("prefer", prefer);
        let answer = self.send(request.body(body)).await?;
        if answer.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_slice(&answer).map_err(|error| RestError::unreadable(&error))
    }

    /// Rows of a table or view. Asked once more when the way to the database is briefly gone.
    pub async fn select<T: DeserializeOwned>(
        &self,
        table: &str,
        columns: &str,
        filters: &[Filter<'_>],
    ) -> Result<Vec<T>, RestError> {
        let mut query = vec![("select", columns.to_owned())];
        query.extend(filters.iter().map(Filter::query));
        let url = self.url("", table, &query)?;
        let ask = || self.send(self.0.client.request(Method::GET, url.clone()));
        let answer = match ask().await {
            Err(error) if error.passes() => {
                tokio::time::sleep(READ_AGAIN_AFTER).await;
                ask().await?
            }
            answer => answer?,
        };
        serde_json::from_slice(&answer).map_err(|error| RestError::unreadable(&error))
    }

    /// Whether the API serves this schema, to whomever.
    pub async fn serves(&self, schema: &str) -> Result<bool, RestError> {
        let request = self.0.client.get(self.0.base.clone()).header("accept-profile", schema);
        match self.send(request).await {
            Ok(_) => Ok(true),
            Err(RestError::Server(said)) if said.code == "PGRST106" => Ok(false),
            // It looked for something in there.
            Err(RestError::Server(_)) => Ok(true),
            Err(other) => Err(other),
        }
    }

    fn url(&self, below: &str, name: &str, query: &[(&str, String)]) -> Result<Url, RestError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(plain) {
            let told = quote(name);
            return Err(RestError::Invalid(format!("{told} is no name of a table or function")));
        }
        let mut url =
            self.0.base.join(&format!("{below}{name}")).expect("a name can follow any base");
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, RestError> {
        let turn = tokio::time::timeout(self.0.limits.connect, self.0.turns.acquire());
        let Ok(turn) = turn.await else {
            return Err(RestError::Busy { connections: self.0.limits.connections });
        };
        let _turn = turn.expect("it is never closed");
        let request = request.header(ACCEPT, JSON).build().map_err(|error| self.explain(&error))?;
        let response =
            self.0.client.execute(request).await.map_err(|error| self.explain(&error))?;
        let status = response.status();
        let body = self.body(response).await?;
        if status.is_success() { Ok(body) } else { Err(decode(&self.0.shown, status, &body)) }
    }

    async fn body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, RestError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.lost(&error))? {
            if body.len() + piece.len() > LARGEST_ANSWER {
                return Err(RestError::Unreadable("the answer is larger than any of ours".into()));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn explain(&self, error: &reqwest::Error) -> RestError {
        if error.is_connect() {
            return RestError::Unreachable { server: self.0.shown.clone(), why: cause(error) };
        }
        if error.is_builder() {
            return RestError::Invalid(cause(error));
        }
        self.lost(error)
    }

    /// The call was sent, and how it ended is not known.
    fn lost(&self, error: &reqwest::Error) -> RestError {
        if error.is_timeout() {
            return RestError::TooSlow { limit: self.0.limits.answer };
        }
        RestError::Lost { server: self.0.shown.clone(), why: cause(error) }
    }
}

const JSON: &str = "application/json";

impl fmt::Debug for Rest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Rest({})", self.0.shown)
    }
}

/// The innermost reason. What lies around it names the whole address, and the request.
fn cause(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    if error.source().is_none() { "the request failed".to_owned() } else { deepest.to_string() }
}

/// What says that the project is there, whoever asks.
pub(crate) fn is_gateway(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}
