use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::heard::{Happening, Heard};
use super::realtime::Inner;

/// A joined channel. Dropping it leaves.
#[derive(Debug)]
pub struct Channel {
    pub(crate) topic: String,
    pub(crate) heard: Arc<Heard>,
    pub(crate) inner: Arc<Inner>,
}

/// A broadcast on its way to the connection.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    pub(crate) payload: Box<RawValue>,
    pub(crate) done: Done,
}

/// Told when a broadcast is written or confirmed, or will never be.
pub(crate) type Done = oneshot::Sender<Result<(), SendError>>;

/// Why a broadcast was not sent, or not confirmed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SendError {
    #[error("the payload for `{topic}` cannot be written as JSON")]
    #[diagnostic(help("map keys must be strings and numbers finite"))]
    Payload { topic: String, source: serde_json::Error },
    #[error("a broadcast of {size} bytes is too large for `{topic}`")]
    #[diagnostic(help("the limit is {limit} bytes; store it, and broadcast where it is"))]
    TooLarge { topic: String, size: usize, limit: usize },
    #[error("`{topic}` is not joined at this moment")]
    #[diagnostic(help("wait for `Ready`, then send again"))]
    NotJoined { topic: String },
    #[error("lost `{topic}` before the broadcast was confirmed")]
    #[diagnostic(help("it may have been delivered; send again only if twice does no harm"))]
    Lost { topic: String },
    #[error("the server refused a broadcast on `{topic}`: {said}")]
    #[diagnostic(help("the policies on realtime.messages must let this role write the topic"))]
    Refused { topic: String, said: String },
    #[error("a broadcast on `{topic}` was not confirmed within {limit:?}")]
    #[diagnostic(help("it may have been delivered; send again only if twice does no harm"))]
    Slow { topic: String, limit: Duration },
    #[error("the connection of `{topic}` was closed by us")]
    #[diagnostic(help("join the channel on a new connection"))]
    Closed { topic: String },
}

impl Channel {
    /// Waits for the next happening. Nothing is lost when the caller stops waiting. None once the
    /// connection was closed for good by [`Realtime::close`](super::Realtime::close).
    pub async fn next(&mut self) -> Option<Happening> {
        self.heard.next().await
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Broadcasts to everybody else on the channel. Done when it is written to the connection, or
    /// with [`ack`](super::JoinOptions::ack) when the server confirmed it.
    pub async fn send(&self, event: &str, payload: &impl Serialize) -> Result<(), SendError> {
        #[derive(Serialize)]
        struct Envelope<'a, T> {
            r#type: &'static str,
            event: &'a str,
            payload: &'a T,
        }
        let topic = || self.topic.clone();
        let payload = to_raw_value(&Envelope { r#type: "broadcast", event, payload })
            .map_err(|source| SendError::Payload { topic: topic(), source })?;
        let (size, limit) = (payload.get().len(), self.inner.max_frame);
        if size > limit {
            return Err(SendError::TooLarge { topic: topic(), size, limit });
        }
        let sending = async {
            let (done, answer) = oneshot::channel();
            let outgoing = Outgoing { topic: topic(), payload, done };
            self.inner
                .sends
                .send(outgoing)
                .await
                .map_err(|_| SendError::Closed { topic: topic() })?;
            // Dropped with the connection that it was to be written to.
            answer.await.map_err(|_| SendError::Lost { topic: topic() })?
        };
        let limit = self.inner.ack;
        match timeout(limit, sending).await {
            Ok(result) => result,
            Err(_) => Err(SendError::Slow { topic: topic(), limit }),
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.inner.roster.leave(&self.topic);
    }
}
