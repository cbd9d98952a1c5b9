use serde::{Deserialize, Serialize};

use crate::{BuildReport, Event, EventType};

/// A build begins, or begins again.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct BuildtestStarted {
    /// What keeps its commands from the machine: `bubblewrap`, `namespaces` or `none`.
    pub sandbox: String,
    pub attempt: i32,
}

/// What its commands said since the last of these, their latest words at most.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct BuildtestProgress {
    pub text: String,
    /// Lines that were said and are not in the text.
    pub left_out: u64,
}

/// Everything was built, and every test passed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct BuildtestDone {
    #[serde(flatten)]
    pub report: BuildReport,
}

/// Tests failed, and then there is a report; or nothing was built, and then there is an error. The
/// event's reason has the code.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct BuildtestFailed {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub report: Option<BuildReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Another attempt follows, if the message has any left.
    #[serde(default)]
    pub retried: bool,
}

impl Event for BuildtestStarted {
    const TYPE: EventType = EventType::BUILDTEST_STARTED;
}

impl Event for BuildtestProgress {
    const TYPE: EventType = EventType::BUILDTEST_PROGRESS;
}

impl Event for BuildtestDone {
    const TYPE: EventType = EventType::BUILDTEST_DONE;
}

impl Event for BuildtestFailed {
    const TYPE: EventType = EventType::BUILDTEST_FAILED;
}
