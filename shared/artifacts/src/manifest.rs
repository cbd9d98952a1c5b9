use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Where an artifact came from: a few short words such as `trace`, `message`, `executor`.
pub type About = BTreeMap<String, String>;

/// What is in an artifact, kept beside it as JSON, so that nobody needs to unpack it to know.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Manifest {
    pub digest: Digest,
    /// Of the archive.
    pub size: u64,
    /// In the order of their paths.
    pub files: Vec<ManifestFile>,
    /// Of whoever stored it first: the same content made again keeps its first manifest.
    #[serde(default)]
    pub about: About,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ManifestFile {
    pub path: String,
    pub size: u64,
    pub sha256: String,
    /// It may be run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}
