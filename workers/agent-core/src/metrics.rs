use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use utoipa::openapi::OpenApi;

/// What is counted. Labels have few values: an operation, a class of status; never a tenant.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    undecided: Gauge,
    streams: Gauge,
    /// By method and path as the router has it, what the API calls the operation.
    operations: HashMap<(String, String), String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: String,
    status: &'static str,
}

pub(crate) const REQUESTS: &str = "agent_core_requests";
pub(crate) const UNDECIDED: &str = "agent_core_undecided_intents";
pub(crate) const STREAMS: &str = "agent_core_event_streams";

impl Metrics {
    pub(crate) fn new(api: &OpenApi) -> Self {
        let requests = Family::default();
        let (undecided, streams) = (Gauge::default(), Gauge::default());
        let mut registry = Registry::default();
        registry.register(
            REQUESTS,
            "Requests, by operation and class of status",
            Family::clone(&requests),
        );
        registry.register(UNDECIDED, "Intents that wait to be decided", undecided.clone());
        registry.register(STREAMS, "Event streams being served", streams.clone());
        let operations = crate::openapi::operations(api);
        Self(Arc::new(Inner { registry, requests, undecided, streams, operations }))
    }

    pub(crate) fn undecided(&self, count: i32) {
        self.0.undecided.set(count.into());
    }

    pub(crate) fn streams(&self, count: usize) {
        self.0.streams.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("a string takes everything");
        text
    }

    fn count(&self, operation: String, status: &'static str) {
        self.0.requests.get_or_create(&RequestLabels { operation, status }).inc();
    }
}

/// Counts every answer, also those that no handler gave.
pub(crate) async fn count(
    State(metrics): State<Metrics>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let key = path.map(|path| (request.method().as_str().to_owned(), path.to_owned()));
    let operation = key.and_then(|key| metrics.0.operations.get(&key).cloned());
    let response = next.run(request).await;
    let class = match response.status().as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    metrics.count(operation.unwrap_or_else(|| "none".to_owned()), class);
    response
}
