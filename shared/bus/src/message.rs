use std::sync::Arc;

use model::{MessageId, Route, Tenant, TraceId, Traceparent};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

/// A message as a worker gets it.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: MessageId,
    /// Where it was published, its tenant included.
    pub route: Arc<Route>,
    pub project_id: Option<Uuid>,
    pub trace: TraceId,
    pub traceparent: Option<Traceparent>,
    pub parent: Option<MessageId>,
    pub ordering_key: Option<String>,
    /// 1 for the first.
    pub attempt: i32,
    pub max_attempts: i32,
    pub created_at: OffsetDateTime,
    pub payload: Box<RawValue>,
}

impl Message {
    pub fn tenant(&self) -> &Tenant {
        self.route.tenant().expect("a claimed message's route names its tenant")
    }

    pub fn is_last_attempt(&self) -> bool {
        self.attempt >= self.max_attempts
    }

    pub fn parse<P: DeserializeOwned>(&self) -> Result<P, serde_json::Error> {
        serde_json::from_str(self.payload.get())
    }
}
