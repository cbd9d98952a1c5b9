use serde::{Deserialize, Serialize};

use crate::{Event, EventType, Usage};

/// An executor begins with a message, or begins again.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct CodegenStarted {
    pub executor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    pub attempt: i32,
}

/// What an executor said since the last of these, its latest words at most.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct CodegenProgress {
    pub executor: String,
    pub text: String,
    /// Lines that were said and are not in the text.
    pub left_out: u64,
    /// Of the attempt, so far.
    pub usage: Usage,
}

/// What was made is stored, and the next stage has it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct CodegenDone {
    pub executor: String,
    pub digest: String,
    pub url: String,
    pub files: u64,
    pub bytes: u64,
    pub usage: Usage,
    pub duration_ms: u64,
}

/// An attempt came to nothing; the event's reason has the code.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct CodegenFailed {
    pub executor: String,
    pub attempt: i32,
    pub error: String,
    pub usage: Usage,
    pub duration_ms: u64,
    /// Another attempt follows, if the message has any left.
    pub retried: bool,
}

impl Event for CodegenStarted {
    const TYPE: EventType = EventType::CODEGEN_STARTED;
}

impl Event for CodegenProgress {
    const TYPE: EventType = EventType::CODEGEN_PROGRESS;
}

impl Event for CodegenDone {
    const TYPE: EventType = EventType::CODEGEN_DONE;
}

impl Event for CodegenFailed {
    const TYPE: EventType = EventType::CODEGEN_FAILED;
}
