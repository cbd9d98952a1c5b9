use std::io;
use std::path::PathBuf;

use model::quote;

use crate::{Digest, InvalidDigest};

/// What can go wrong with artifacts.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ArtifactError {
    #[error("there is no place for artifacts")]
    #[diagnostic(help(
        "set ARTIFACTS_BASE (or --artifacts-base) to a folder, or to s3://bucket/prefix"
    ))]
    NotConfigured,

    #[error("{} is not a place for artifacts: {why}", quote(base))]
    #[diagnostic(help(
        "set ARTIFACTS_BASE (or --artifacts-base) to a folder, or to s3://bucket/prefix"
    ))]
    InvalidBase { base: String, why: String },

    #[error("s3 storage needs {missing}")]
    #[diagnostic(help(
        "set ARTIFACTS_S3_ACCESS_KEY_ID and ARTIFACTS_S3_SECRET_ACCESS_KEY to a key pair of the \
         storage; for Supabase it is made under Storage, S3 access keys"
    ))]
    NoCredentials { missing: &'static str },

    #[error("could not use the folder {} for artifacts", path.display())]
    #[diagnostic(help("ARTIFACTS_BASE must be a folder this user may make and write"))]
    Folder { path: PathBuf, source: io::Error },

    #[error("could not {what} in the artifact store")]
    #[diagnostic(help(
        "check that ARTIFACTS_BASE is reachable and that its credentials may read and write there"
    ))]
    Store { what: &'static str, source: object_store::Error },

    #[error("there is no artifact {digest}")]
    #[diagnostic(help(
        "it was never stored here, or was deleted; check that all workers have the same \
         ARTIFACTS_BASE"
    ))]
    NotFound { digest: Digest },

    #[error("there is no report at {}", quote(url))]
    NoReport { url: String },

    #[error(transparent)]
    InvalidDigest(#[from] InvalidDigest),

    #[error("the artifact stored as {expected} has the digest {actual}")]
    #[diagnostic(help("it was changed or damaged in the store; have it made again"))]
    WrongDigest { expected: Digest, actual: Digest },

    #[error("the manifest of {digest} cannot be read")]
    BadManifest { digest: Digest, source: serde_json::Error },

    /// What somebody wants stored or unpacked breaks a rule; trying again changes nothing.
    #[error("the artifact was refused")]
    Refused(#[source] Refusal),

    #[error("could not {what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },

    #[error("a thread of ours died")]
    Died(#[source] tokio::task::JoinError),
}

/// Which rule an archive or a tree breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{} is an absolute path", quote(.0))]
    Absolute(String),
    #[error("{} leads out of the tree with `..`", quote(.0))]
    Parent(String),
    #[error("{} is not a usable path: {why}", quote(path))]
    Path { path: String, why: &'static str },
    #[error("{} is a link", quote(.0))]
    Link(String),
    #[error("{} is a link to something outside the tree, or to a folder", quote(.0))]
    LinkOut(String),
    #[error("{} is neither a file nor a folder, but {what}", quote(path))]
    Special { path: String, what: &'static str },
    #[error("{} is in it twice, or is both a file and a folder", quote(.0))]
    Twice(String),
    #[error("it has more than {most} files and folders")]
    Entries { most: u64 },
    #[error("it is larger than {most} bytes when unpacked")]
    Bytes { most: u64 },
    #[error("it is larger than {most} bytes when packed")]
    Packed { most: u64 },
    #[error("{} is longer than {most} bytes", quote(path))]
    PathLength { path: String, most: usize },
    #[error("{} is deeper than {most} folders", quote(path))]
    Depth { path: String, most: usize },
    #[error("it is not a whole .tar.gz or .tar: {0}")]
    Damaged(String),
    #[error("{} changed while it was packed", quote(.0))]
    Changed(String),
}

impl From<Refusal> for ArtifactError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl ArtifactError {
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn store(what: &'static str) -> impl FnOnce(object_store::Error) -> Self {
        move |source| Self::Store { what, source }
    }

    /// Whether another try, later or on another machine, may end differently.
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Store { .. } | Self::Io { .. } | Self::Folder { .. } | Self::Died(_) => true,
            // A store that is eventually consistent, or a disk that is not mounted yet.
            Self::NotFound { .. } | Self::NoReport { .. } => true,
            // Another replica of the store may have it whole.
            Self::WrongDigest { .. } => true,
            Self::NotConfigured
            | Self::InvalidBase { .. }
            | Self::NoCredentials { .. }
            | Self::InvalidDigest(_)
            | Self::BadManifest { .. }
            | Self::Refused(_) => false,
        }
    }
}
