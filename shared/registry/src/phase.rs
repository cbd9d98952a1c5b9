use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the rollout of a release stands.
///
/// ```text
/// recorded → resolved → queued → (canary_deploying → canary_verifying →) deploying → verifying → active → retired
///     ↓          ↓         ↓                 └─────────────┴────────────────┴───────────┴→ failed → rolling_back → rolled_back
///  rejected   rejected  superseded                                                           ↓           ↓
///                                                                                     scaled_down   rollback_failed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nobody has asked the registry for its image yet.
    Recorded,
    /// Its image is known, and nobody wants it to run yet.
    Resolved,
    /// It should run, and is the next to.
    Queued,
    CanaryDeploying,
    CanaryVerifying,
    Deploying,
    Verifying,
    /// It runs as it should.
    Active,
    /// It was active until a newer one was.
    Retired,
    /// A newer one was wanted before it was active.
    Superseded,
    /// It could not be tried at all, and nothing was touched.
    Rejected,
    /// It was tried and does not run; what ran before is not back yet.
    Failed,
    RollingBack,
    /// What ran before runs again.
    RolledBack,
    RollbackFailed,
    /// Nothing had run before it, so nothing runs now.
    ScaledDown,
}

impl Phase {
    pub const ALL: [Self; 16] = [
        Self::Recorded,
        Self::Resolved,
        Self::Queued,
        Self::CanaryDeploying,
        Self::CanaryVerifying,
        Self::Deploying,
        Self::Verifying,
        Self::Active,
        Self::Retired,
        Self::Superseded,
        Self::Rejected,
        Self::Failed,
        Self::RollingBack,
        Self::RolledBack,
        Self::RollbackFailed,
        Self::ScaledDown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Resolved => "resolved",
            Self::Queued => "queued",
            Self::CanaryDeploying => "canary_deploying",
            Self::CanaryVerifying => "canary_verifying",
            Self::Deploying => "deploying",
            Self::Verifying => "verifying",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Superseded => "superseded",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::RollbackFailed => "rollback_failed",
            Self::ScaledDown => "scaled_down",
        }
    }

    /// Whether its rollout has come to an end, one way or the other.
    pub fn is_over(self) -> bool {
        match self {
            Self::Active
            | Self::Retired
            | Self::Superseded
            | Self::Rejected
            | Self::RolledBack
            | Self::RollbackFailed
            | Self::ScaledDown => true,
            Self::Recorded
            | Self::Resolved
            | Self::Queued
            | Self::CanaryDeploying
            | Self::CanaryVerifying
            | Self::Deploying
            | Self::Verifying
            | Self::Failed
            | Self::RollingBack => false,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}
