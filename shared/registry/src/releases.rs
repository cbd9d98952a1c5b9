use db::{Json, Row, Statement, Type};
use model::{AgentName, Digest, Shard, Tag, Tenant, TraceId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::statement::statement;
use crate::{Phase, Registry, RegistryError};

/// A tag of an agent, and what became of it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Release {
    pub id: Uuid,
    pub agent_name: AgentName,
    pub tag: Tag,
    pub digest: Option<Digest>,
    pub rollout_status: String,
    pub phase: Phase,
    /// To be deployed, by autodeploy or because somebody promoted it.
    pub wanted: bool,
    /// It is the one that should run.
    pub pinned: bool,
    pub canary: Option<Canary>,
    pub built_by: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub built_at: Option<OffsetDateTime>,
    pub changelog_url: Option<String>,
    pub trace_id: TraceId,
    /// What ran before it.
    pub previous_tag: Option<Tag>,
    /// The release that somebody left by going back to this one.
    pub rollback_of_tag: Option<Tag>,
    pub failure_code: Option<String>,
    pub failure_detail: Option<String>,
    pub failed_in: Option<Phase>,
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    pub verdict_ms: Option<i64>,
    pub restored_ms: Option<i64>,
    /// From when it was asked for to its end, or to now.
    pub took_ms: i64,
}

/// Whom a release serves first: one shard, one tenant, or one tenant in one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Canary {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
}

/// What a build says after it pushed an image.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTag {
    pub agent: AgentName,
    pub tag: Tag,
    /// Looked up in the registry where it is not said.
    pub digest: Option<Digest>,
    pub built_by: Option<String>,
    pub built_at: Option<OffsetDateTime>,
    pub changelog_url: Option<String>,
    pub trace_id: Option<TraceId>,
    pub canary: Option<Canary>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Recorded {
    pub release_id: Uuid,
    /// The same tag was recorded before, and this is that release.
    pub attached: bool,
}

/// The release that should run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    pub release_id: Uuid,
}

pub(crate) static RECORD: Statement = statement(
    "registry.record",
    "select release_id, attached from public.registry_record_tag(p_agent => $1, p_tag => $2,
        p_digest => $3, p_built_by => $4, p_built_at => $5, p_changelog_url => $6,
        p_trace_id => $7, p_canary => $8)",
    &[
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::JSONB,
    ],
);
pub(crate) static PROMOTE: Statement = statement(
    "registry.promote",
    "select release_id from public.registry_promote(p_agent => $1, p_tag => $2, p_force => $3,
        p_canary => $4)",
    &[Type::TEXT, Type::TEXT, Type::BOOL, Type::JSONB],
);
pub(crate) static ROLLBACK: Statement = statement(
    "registry.rollback",
    "select release_id from public.registry_rollback(p_agent => $1, p_to_tag => $2)",
    &[Type::TEXT, Type::TEXT],
);
pub(crate) static RELEASES: Statement = statement(
    "registry.releases",
    "select public.registry_releases(p_agent => $1, p_limit => $2, p_release => $3)",
    &[Type::TEXT, Type::INT4, Type::UUID],
);

impl NewTag {
    pub fn new(agent: AgentName, tag: Tag) -> Self {
        Self {
            agent,
            tag,
            digest: None,
            built_by: None,
            built_at: None,
            changelog_url: None,
            trace_id: None,
            canary: None,
        }
    }
}

impl Registry {
    /// Records a tag that was pushed. To say it twice is to say it once.
    pub async fn record(&self, new: &NewTag) -> Result<Recorded, RegistryError> {
        let digest = new.digest.as_ref().map(ToString::to_string);
        let built_at = new.built_at.and_then(|at| at.format(&Rfc3339).ok());
        let trace = new.trace_id.map(|trace| trace.to_string());
        let parameters: [&dyn db::Parameter; 8] = [
            &new.agent.as_str(),
            &new.tag.as_str(),
            &digest,
            &new.built_by,
            &built_at,
            &new.changelog_url,
            &trace,
            &new.canary.as_ref().map(Json),
        ];
        let row = self.db().query_one(&RECORD, &parameters).await?;
        Ok(Recorded { release_id: row.get(0), attached: row.get(1) })
    }

    /// Makes a recorded tag the one that should run; with `force` also one whose image has failed.
    pub async fn promote(
        &self,
        agent: &AgentName,
        tag: &Tag,
        force: bool,
        canary: Option<&Canary>,
    ) -> Result<Wanted, RegistryError> {
        let parameters: [&dyn db::Parameter; 4] =
            [&agent.as_str(), &tag.as_str(), &force, &canary.map(Json)];
        Ok(wanted(&self.db().query_one(&PROMOTE, &parameters).await?))
    }

    /// Goes back to an earlier release, the last that ran unless a tag is named.
    pub async fn rollback(
        &self,
        agent: &AgentName,
        to: Option<&Tag>,
    ) -> Result<Wanted, RegistryError> {
        let to = to.map(Tag::as_str);
        Ok(wanted(&self.db().query_one(&ROLLBACK, &[&agent.as_str(), &to]).await?))
    }

    /// The newest releases, of one agent or of all.
    pub async fn releases(
        &self,
        agent: Option<&AgentName>,
        limit: i32,
    ) -> Result<Vec<Release>, RegistryError> {
        let agent = agent.map(AgentName::as_str);
        self.read(&RELEASES, &[&agent, &limit, &None::<Uuid>]).await
    }

    pub async fn release(&self, id: Uuid) -> Result<Option<Release>, RegistryError> {
        let found: Vec<Release> = self.read(&RELEASES, &[&None::<&str>, &1, &Some(id)]).await?;
        Ok(found.into_iter().next())
    }
}

fn wanted(row: &Row) -> Wanted {
    Wanted { release_id: row.get(0) }
}
