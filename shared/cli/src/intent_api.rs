use std::time::Duration;

use miette::{Context, IntoDiagnostic, miette};
use model::{Secret, TraceId};
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

/// The HTTP API of a local stack, as any client uses it.
#[derive(Clone)]
pub(crate) struct IntentApi {
    base: String,
    client: Client,
    key: Secret,
}

/// What it answers to an intent, as far as we read it.
#[derive(Deserialize)]
struct Accepted {
    trace_id: TraceId,
}

const LOOK_EVERY: Duration = Duration::from_millis(25);
/// It writes one row.
const ANSWERING: Duration = Duration::from_secs(10);

impl IntentApi {
    pub(crate) fn new(base: String, key: Secret) -> miette::Result<Self> {
        // The first of this process wins, and all of them are this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // It is on this machine, whatever proxies the environment names.
        let client = Client::builder().no_proxy().timeout(ANSWERING).build().into_diagnostic()?;
        Ok(Self { base, client, key })
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Returns when it can do its work.
    pub(crate) async fn ready(&self) {
        let url = format!("{}/readyz", self.base);
        loop {
            let answer = self.client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Sends an intent; what follows from it has the trace that is returned.
    pub(crate) async fn send(&self, intent: &Value) -> miette::Result<TraceId> {
        let url = format!("{}/v1/intents", self.base);
        let request = self.client.post(&url).bearer_auth(self.key.expose()).json(intent);
        let answer = request.send().await.into_diagnostic();
        let answer = answer.wrap_err_with(|| format!("could not reach {url}"))?;
        let status = answer.status();
        let text = answer.text().await.into_diagnostic()?;
        if !status.is_success() {
            return Err(miette!("{url} refused the intent with {status}: {text}"));
        }
        let accepted: Accepted = serde_json::from_str(&text)
            .into_diagnostic()
            .wrap_err_with(|| format!("{url} answered something else than expected: {text}"))?;
        Ok(accepted.trace_id)
    }
}
