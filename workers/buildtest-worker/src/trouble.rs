use std::error::Error;

use artifacts::ArtifactError;
use child::ChildError;
use telemetry::Chain;

/// Why nothing was built.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// A code, as in `artifact_refused`.
    pub(crate) reason: &'static str,
    pub(crate) what: String,
    pub(crate) next: Next,
}

/// What becomes of the message then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another attempt may end differently.
    Retry,
    /// No attempt would.
    Fail,
    /// It is not wanted any more.
    Stopped,
}

impl Trouble {
    pub(crate) fn fail(reason: &'static str, what: impl Into<String>) -> Self {
        Self { reason, what: what.into(), next: Next::Fail }
    }

    pub(crate) fn retry(reason: &'static str, what: impl Into<String>) -> Self {
        Self { reason, what: what.into(), next: Next::Retry }
    }

    pub(crate) fn retry_after(reason: &'static str, error: &(dyn Error + 'static)) -> Self {
        Self::retry(reason, Chain(error).to_string())
    }

    pub(crate) fn ttl_exceeded() -> Self {
        Self::fail("ttl_exceeded", "the time that the assignment gives (ttl_ms) is over")
    }

    pub(crate) fn stopped() -> Self {
        Self { reason: "stopped", what: "it was told to stop".to_owned(), next: Next::Stopped }
    }
}

/// As it is for whoever gets an artifact out of the store.
impl From<ArtifactError> for Trouble {
    fn from(error: ArtifactError) -> Self {
        let what = Chain(&error).to_string();
        match &error {
            ArtifactError::Refused(_) | ArtifactError::BadManifest { .. } => {
                Self::fail("artifact_refused", what)
            }
            ArtifactError::InvalidDigest(_) => Self::fail("payload_invalid", what),
            _ if error.is_worth_retrying() => Self::retry("artifact_unavailable", what),
            _ => Self::fail("artifact_unavailable", what),
        }
    }
}

impl From<ChildError> for Trouble {
    fn from(error: ChildError) -> Self {
        let what = Chain(&error).to_string();
        match &error {
            ChildError::NotFound { .. } | ChildError::Unreadable { .. } => {
                let help = miette::Diagnostic::help(&error);
                let help = help.map(|help| format!("; {help}")).unwrap_or_default();
                Self::fail("tool_missing", what + &help)
            }
            ChildError::Spawn(_) | ChildError::Sandbox { .. } | ChildError::Workspace { .. } => {
                Self::retry("sandbox_unavailable", what)
            }
        }
    }
}
