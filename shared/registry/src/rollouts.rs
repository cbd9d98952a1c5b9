use std::time::Duration;

use db::{Json, Statement, Type};
use model::{AgentName, Digest, Tag, TraceId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::statement::statement;
use crate::{Canary, Phase, Registry, RegistryError};

/// A release that a controller has to do something about, with all it needs for that.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Rollout {
    pub release_id: Uuid,
    pub agent_id: Uuid,
    pub agent_name: AgentName,
    pub service: Option<String>,
    pub role: Option<String>,
    pub repo: String,
    pub tag: Tag,
    pub digest: Option<Digest>,
    pub phase: Phase,
    /// Every step names it; whoever has an older one is refused.
    pub fence: i64,
    pub forced: bool,
    pub canary: Option<Canary>,
    pub generation: Option<i64>,
    pub template_hash: Option<String>,
    /// Until the deadline of this phase; negative once it is over.
    pub deadline_ms: Option<i64>,
    /// The deadline was put off once.
    pub extended: bool,
    /// Since it was first deployed.
    pub running_ms: Option<i64>,
    pub failure_code: Option<String>,
    pub failure_detail: Option<String>,
    pub failed_in: Option<Phase>,
    pub kube_namespace: String,
    pub deployment: String,
    pub container: String,
    pub trace_id: TraceId,
    /// What runs, or ran before this was deployed, and comes back if it fails.
    pub previous_id: Option<Uuid>,
    pub previous_tag: Option<Tag>,
    pub previous_digest: Option<Digest>,
    pub provider: Option<String>,
    pub registry_url: Option<String>,
    pub credential_ref: Option<String>,
}

/// What is noted with a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_hash: Option<String>,
    /// From now. Without it the deadline stays; for the phase that a release is in already, it is
    /// put off.
    #[serde(
        rename = "deadline_ms",
        skip_serializing_if = "Option::is_none",
        with = "milliseconds"
    )]
    pub deadline: Option<Duration>,
    /// False where a failure is not the image's fault. Without it, it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<bool>,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub accepted: bool,
    /// Where the release stands now; `None`: there is no such release.
    pub phase: Option<String>,
    /// Why the step was refused, or the release rejected.
    pub why: Option<String>,
}

pub(crate) static TAKE: Statement = statement(
    "registry.rollout_take",
    "select public.rollout_take(p_holder => $1, p_hold_ms => $2)",
    &[Type::TEXT, Type::INT4],
);
pub(crate) static ADVANCE: Statement = statement(
    "registry.rollout_advance",
    "select accepted, phase, why from public.rollout_advance(p_release => $1, p_fence => $2,
        p_to => $3, p_facts => $4)",
    &[Type::UUID, Type::INT8, Type::TEXT, Type::JSONB],
);
pub(crate) static LET_GO: Statement = statement(
    "registry.rollout_let_go",
    "select public.rollout_let_go(p_holder => $1)",
    &[Type::TEXT],
);

impl Registry {
    /// Takes over what may be taken over, or keeps what is held already, for `hold` from now, and
    /// tells what there is to do about it.
    pub async fn take_rollouts(
        &self,
        holder: &str,
        hold: Duration,
    ) -> Result<Vec<Rollout>, RegistryError> {
        let hold = i32::try_from(hold.as_millis()).unwrap_or(i32::MAX);
        self.read(&TAKE, &[&holder, &hold]).await
    }

    /// Takes a release one step further; to the phase that it is in, only notes why it stays.
    pub async fn advance(
        &self,
        release: Uuid,
        fence: i64,
        to: Phase,
        facts: &Facts,
    ) -> Result<Step, RegistryError> {
        let parameters: [&dyn db::Parameter; 4] = [&release, &fence, &to.as_str(), &Json(facts)];
        let row = self.db().query_one(&ADVANCE, &parameters).await?;
        Ok(Step { accepted: row.get(0), phase: row.get(1), why: row.get(2) })
    }

    /// Lets others take over at once; how many agents were held.
    pub async fn let_go(&self, holder: &str) -> Result<i32, RegistryError> {
        Ok(self.db().query_one(&LET_GO, &[&holder]).await?.get(0))
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(|duration| duration.as_millis()).serialize(to)
    }
}
