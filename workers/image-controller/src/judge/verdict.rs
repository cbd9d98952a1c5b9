use std::fmt;
use std::time::Instant;

/// What is known about a release now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet; look again when something changes, or then.
    Wait {
        until: Instant,
    },
    Good,
    Bad(Bad),
    /// Nothing can be known: it is neither good nor bad, however long it lasts.
    Hold {
        why: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    pub code: Code,
    pub detail: String,
}

impl Verdict {
    pub(crate) fn bad(code: Code, detail: impl Into<String>) -> Self {
        Self::Bad(Bad { code, detail: detail.into() })
    }
}

/// Why a release is bad, in one word that does not change: people look for it, and alarms do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    InvalidImage,
    ImageMissing,
    ImageDenied,
    ImagePull,
    BadConfig,
    CannotStart,
    Crashed,
    OutOfMemory,
    NotAdmitted,
    Quota,
    Unschedulable,
    NotStarted,
    NotReady,
    Unstable,
    WrongImage,
    Silent,
    Paused,
    Overwritten,
    ScaledToZero,
    NoDeployment,
    CanaryFailures,
    CanarySlow,
}

impl Code {
    pub const ALL: [Self; 22] = [
        Self::InvalidImage,
        Self::ImageMissing,
        Self::ImageDenied,
        Self::ImagePull,
        Self::BadConfig,
        Self::CannotStart,
        Self::Crashed,
        Self::OutOfMemory,
        Self::NotAdmitted,
        Self::Quota,
        Self::Unschedulable,
        Self::NotStarted,
        Self::NotReady,
        Self::Unstable,
        Self::WrongImage,
        Self::Silent,
        Self::Paused,
        Self::Overwritten,
        Self::ScaledToZero,
        Self::NoDeployment,
        Self::CanaryFailures,
        Self::CanarySlow,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidImage => "invalid_image",
            Self::ImageMissing => "image_missing",
            Self::ImageDenied => "image_denied",
            Self::ImagePull => "image_pull",
            Self::BadConfig => "bad_config",
            Self::CannotStart => "cannot_start",
            Self::Crashed => "crashed",
            Self::OutOfMemory => "out_of_memory",
            Self::NotAdmitted => "not_admitted",
            Self::Quota => "quota",
            Self::Unschedulable => "unschedulable",
            Self::NotStarted => "not_started",
            Self::NotReady => "not_ready",
            Self::Unstable => "unstable",
            Self::WrongImage => "wrong_image",
            Self::Silent => "silent",
            Self::Paused => "paused",
            Self::Overwritten => "overwritten",
            Self::ScaledToZero => "scaled_to_zero",
            Self::NoDeployment => "no_deployment",
            Self::CanaryFailures => "canary_failures",
            Self::CanarySlow => "canary_slow",
        }
    }

    /// Whether the image itself is to blame, so that it must not be tried again. What the cluster,
    /// its settings or a person did says nothing about the image.
    pub fn blames_image(self) -> bool {
        match self {
            Self::InvalidImage
            | Self::ImageMissing
            | Self::CannotStart
            | Self::Crashed
            | Self::OutOfMemory
            | Self::NotReady
            | Self::Unstable
            | Self::WrongImage
            | Self::Silent
            | Self::CanaryFailures
            | Self::CanarySlow => true,
            Self::ImageDenied
            | Self::ImagePull
            | Self::BadConfig
            | Self::NotAdmitted
            | Self::Quota
            | Self::Unschedulable
            | Self::NotStarted
            | Self::Paused
            | Self::Overwritten
            | Self::ScaledToZero
            | Self::NoDeployment => false,
        }
    }

    /// Whether it was concluded from something that did not happen. What was missed did not happen
    /// either, so such a verdict is only passed on what was seen just now.
    pub fn is_by_absence(self) -> bool {
        match self {
            Self::ImagePull
            | Self::Quota
            | Self::Unschedulable
            | Self::NotStarted
            | Self::NotReady
            | Self::Unstable
            | Self::Silent
            | Self::Overwritten
            | Self::ScaledToZero
            | Self::NoDeployment => true,
            Self::InvalidImage
            | Self::ImageMissing
            | Self::ImageDenied
            | Self::BadConfig
            | Self::CannotStart
            | Self::Crashed
            | Self::OutOfMemory
            | Self::NotAdmitted
            | Self::WrongImage
            | Self::Paused
            | Self::CanaryFailures
            | Self::CanarySlow => false,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
