use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bus::{Message, Settle};
use messages::Payload;
use model::Stage;
use telemetry::Chain;

use crate::{Cx, Failure, Received};

/// The handlers of a worker, by the stage that their payload's type names.
#[derive(Clone, Default)]
pub struct Handlers {
    by_stage: BTreeMap<Stage, Handler>,
}

type Handler = Arc<dyn Fn(Message, Cx) -> Handling + Send + Sync>;
pub(crate) type Handling = Pin<Box<dyn Future<Output = Result<Settle, Failure>> + Send>>;

impl Handlers {
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the handler of a payload type. What cannot be read as that type never reaches it:
    /// such a message fails for good, since no attempt would read it differently.
    pub fn on<P, F, Fut>(mut self, handler: F) -> Self
    where
        P: Payload,
        F: Fn(Received<P>, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Settle, Failure>> + Send + 'static,
    {
        let run: Handler = Arc::new(move |message: Message, cx| match message.parse::<P>() {
            Ok(payload) => Box::pin(handler(Received { payload, message }, cx)),
            Err(error) => {
                let why = format!("the payload is not a {}: {}", P::stage(), Chain(&error));
                Box::pin(async { Err(Failure::fatal("payload_invalid", why)) })
            }
        });
        self.by_stage.insert(P::stage(), run);
        self
    }

    /// Registers a handler that reads its payload itself.
    pub fn on_stage<F, Fut>(mut self, stage: Stage, handler: F) -> Self
    where
        F: Fn(Message, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Settle, Failure>> + Send + 'static,
    {
        let run: Handler = Arc::new(move |message, cx| Box::pin(handler(message, cx)));
        self.by_stage.insert(stage, run);
        self
    }

    pub(crate) fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.by_stage.keys()
    }

    pub(crate) fn handle(&self, message: Message, cx: Cx) -> Handling {
        match self.by_stage.get(message.route.stage()) {
            Some(handler) => handler(message, cx),
            None => {
                let why = format!("this worker has no handler for {}", message.route.stage());
                Box::pin(async { Err(Failure::retry(why)) })
            }
        }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.by_stage.keys()).finish()
    }
}
