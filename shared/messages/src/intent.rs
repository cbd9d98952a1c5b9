use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Payload;

/// What somebody wants done, by name; the table `intents` says what becomes of it. Its tenant is
/// that of the message.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    pub intent: String,
    /// As the intent's schema has it; nothing, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
}

impl Payload for Intent {
    const SERVICE: &'static str = "orchestrator";
    const ROLE: &'static str = "intent";
}
