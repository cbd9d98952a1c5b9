use db::{Json, Statement, Type};
use model::{AgentName, Repo, Stage};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::statement::statement;
use crate::{Registry, RegistryError};

/// An entry of the catalogue: what runs, what should run, and how its latest release stands.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Agent {
    pub id: Uuid,
    pub agent_name: String,
    pub service: Option<String>,
    pub role: Option<String>,
    pub repo: String,
    /// Which tags roll out by themselves: `dev` or `prod`.
    pub default_tag: String,
    pub account: Option<String>,
    pub autodeploy_enabled: bool,
    pub kube_namespace: String,
    pub deployment: String,
    pub container: String,
    pub paused: bool,
    pub paused_reason: Option<String>,
    /// Releases that failed in a row.
    pub failures: i32,
    pub pinned_tag: Option<String>,
    pub active_tag: Option<String>,
    pub active_digest: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub active_since: Option<OffsetDateTime>,
    pub latest_tag: Option<String>,
    pub latest_phase: Option<String>,
    pub latest_failure_code: Option<String>,
    /// Workers of the active release that are ready.
    pub workers: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// An agent as somebody asks for it. What is not said has the table's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewAgent {
    pub agent_name: AgentName,
    pub service: Option<String>,
    pub role: Option<String>,
    pub repo: Repo,
    pub default_tag: Option<String>,
    /// `registry/namespace`, or an id.
    pub account: Option<String>,
    pub autodeploy_enabled: bool,
    pub kube_namespace: Option<String>,
    pub deployment: Option<String>,
    pub container: Option<String>,
}

impl NewAgent {
    pub fn new(agent_name: AgentName, repo: Repo) -> Self {
        Self {
            agent_name,
            service: None,
            role: None,
            repo,
            default_tag: None,
            account: None,
            autodeploy_enabled: false,
            kube_namespace: None,
            deployment: None,
            container: None,
        }
    }

    /// Which stage it works on.
    #[must_use]
    pub fn on(mut self, stage: &Stage) -> Self {
        self.service = Some(stage.service().to_string());
        self.role = Some(stage.role().to_string());
        self
    }
}

pub(crate) static AGENTS: Statement =
    statement("registry.agents", "select public.registry_agents(p_agent => $1)", &[Type::TEXT]);
pub(crate) static PUT_AGENT: Statement = statement(
    "registry.put_agent",
    "select id from public.registry_put_agent(p_agent => $1)",
    &[Type::JSONB],
);
pub(crate) static PAUSE: Statement = statement(
    "registry.pause",
    "select public.registry_pause(p_agent => $1, p_paused => $2, p_reason => $3)",
    &[Type::TEXT, Type::BOOL, Type::TEXT],
);

impl Registry {
    pub async fn agents(&self) -> Result<Vec<Agent>, RegistryError> {
        self.read(&AGENTS, &[&None::<&str>]).await
    }

    pub async fn agent(&self, name: &AgentName) -> Result<Option<Agent>, RegistryError> {
        let found: Vec<Agent> = self.read(&AGENTS, &[&name.as_str()]).await?;
        Ok(found.into_iter().next())
    }

    /// Adds an agent, or changes the one of that name.
    pub async fn put_agent(&self, agent: &NewAgent) -> Result<Uuid, RegistryError> {
        Ok(self.db().query_one(&PUT_AGENT, &[&Json(agent)]).await?.get(0))
    }

    /// Stops its rollouts; false if they were stopped already.
    pub async fn pause(&self, agent: &AgentName, reason: &str) -> Result<bool, RegistryError> {
        let row = self.db().query_one(&PAUSE, &[&agent.as_str(), &true, &reason]).await?;
        Ok(row.get(0))
    }

    /// Lets rollouts go on, and forgets how many failed; false if they were not stopped.
    pub async fn resume(&self, agent: &AgentName) -> Result<bool, RegistryError> {
        Ok(self.db().query_one(&PAUSE, &[&agent.as_str(), &false, &""]).await?.get(0))
    }
}
