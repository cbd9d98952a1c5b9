use db::{Statement, Type};
use model::Tag;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::statement::statement;
use crate::{Phase, Registry, RegistryError};

/// What a release's own row does not tell.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ReleaseFacts {
    #[serde(with = "time::serde::rfc3339")]
    pub read_at: OffsetDateTime,
    pub forced: bool,
    /// Its deadline was put off once.
    pub extended: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    pub deadline_at: Option<OffsetDateTime>,
    /// The controller that last was at its agent.
    pub holder: Option<String>,
    /// It still is.
    pub held: bool,
    pub quarantine: Option<Quarantine>,
    /// Other releases of the agent that are not over.
    pub others: Vec<OtherRelease>,
    /// The first that was wanted after it.
    pub newer: Option<OtherRelease>,
    pub workers: Vec<ReleaseWorker>,
    /// Pull secrets of its account, in its namespace, that could not be written.
    pub pull_secrets: Vec<PullSecretTrouble>,
}

/// Its image failed, and is not deployed again unless somebody insists.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Quarantine {
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    pub failure_code: String,
    pub by_release: Uuid,
    pub by_tag: Tag,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct OtherRelease {
    pub id: Uuid,
    pub tag: Tag,
    pub phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct ReleaseWorker {
    pub id: String,
    pub state: String,
    pub silent_s: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PullSecretTrouble {
    /// Namespace and name.
    pub secret: String,
    pub failure_code: String,
    pub failure_detail: Option<String>,
}

pub(crate) static EXPLAIN: Statement =
    statement("registry.explain", "select public.registry_explain(p_release => $1)", &[Type::UUID]);

impl Registry {
    /// `None` if there is no such release.
    pub async fn explain(&self, release: Uuid) -> Result<Option<ReleaseFacts>, RegistryError> {
        self.read_opt(&EXPLAIN, &[&release]).await
    }
}
