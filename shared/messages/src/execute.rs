use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Assignment, Payload};

/// Asks the dispatcher to have `payload` worked on at `target`, under the conditions of the
/// assignment. The target gets the payload with the assignment in it, as `__assignment`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Execute {
    /// A route without a tenant, as in `codegen/generate/0`: the tenant is that of the message.
    pub target: String,
    #[serde(default, rename = "__assignment")]
    pub assignment: Assignment,
    /// An object; an empty one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
}

impl Payload for Execute {
    const SERVICE: &'static str = "orchestrator";
    const ROLE: &'static str = "execute";
}
