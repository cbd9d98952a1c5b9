use model::{AgentName, Digest, Repo, Tag};
use registry::{Facts, NewAgent, NewTag, Phase, Registry, Release, Rollout};
use serde_json::Value;
use std::time::Duration;
use testkit::TestDb;
use uuid::Uuid;

/// A database with one agent, `cogo-test-worker`.
pub(crate) struct Fixture {
    pub(crate) test: TestDb,
    pub(crate) registry: Registry,
    client: tokio_postgres::Client,
}

pub(crate) const HOLD: Duration = Duration::from_secs(3600);

pub(crate) fn name() -> AgentName {
    "cogo-test-worker".parse().unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// The digest of an image that holds this.
pub(crate) fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

pub(crate) fn deadline() -> Facts {
    Facts { deadline: Some(HOLD), ..Facts::default() }
}

pub(crate) fn because(code: &str) -> Facts {
    Facts { code: Some(code.to_owned()), detail: Some("in words".to_owned()), ..Facts::default() }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let test = testkit::database().await;
        let registry = Registry::new(test.db());
        let repo: Repo = "registry.example/acme/cogo-test-worker".parse().unwrap();
        registry.put_agent(&NewAgent::new(name(), repo)).await.unwrap();
        let client = test.client().await;
        Self { test, registry, client }
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// One value, as text.
    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    pub(crate) async fn try_run(&self, sql: &str) -> Result<(), String> {
        let done = self.client.batch_execute(sql).await;
        done.map_err(|error| error.as_db_error().unwrap().message().to_owned())
    }

    pub(crate) async fn record(&self, text: &str) -> Uuid {
        let recorded = self.registry.record(&NewTag::new(name(), tag(text))).await.unwrap();
        recorded.release_id
    }

    pub(crate) async fn release(&self, id: Uuid) -> Release {
        self.registry.release(id).await.unwrap().unwrap()
    }

    pub(crate) async fn phase(&self, id: Uuid) -> Phase {
        self.release(id).await.phase
    }

    pub(crate) async fn take(&self, holder: &str) -> Vec<Rollout> {
        self.registry.take_rollouts(holder, HOLD).await.unwrap()
    }

    /// A step that must be accepted, by whoever holds the agent now.
    pub(crate) async fn step(&self, id: Uuid, to: Phase, facts: &Facts) {
        let fence = self.fence().await;
        let step = self.registry.advance(id, fence, to, facts).await.unwrap();
        assert!(step.accepted, "{to}: {:?}", step.why);
    }

    pub(crate) async fn fence(&self) -> i64 {
        let sql =
            "select fence::text from public.agent_catalog where agent_name = 'cogo-test-worker'";
        self.text(sql).await.unwrap().parse().unwrap()
    }

    pub(crate) async fn resolve(&self, id: Uuid, image: &str) {
        let facts = Facts { digest: Some(digest(image)), ..Facts::default() };
        self.step(id, Phase::Resolved, &facts).await;
    }

    /// From recorded to active.
    pub(crate) async fn activate(&self, text: &str, image: &str) -> Uuid {
        let id = self.record(text).await;
        self.registry.promote(&name(), &tag(text), false, None).await.unwrap();
        self.resolve(id, image).await;
        self.step(id, Phase::Deploying, &deadline()).await;
        self.step(id, Phase::Verifying, &Facts::default()).await;
        self.step(id, Phase::Active, &Facts::default()).await;
        id
    }

    /// From recorded to failed, which leaves it to be rolled back.
    pub(crate) async fn fail(&self, text: &str, image: &str) -> Uuid {
        let id = self.record(text).await;
        self.registry.promote(&name(), &tag(text), false, None).await.unwrap();
        self.resolve(id, image).await;
        self.step(id, Phase::Deploying, &deadline()).await;
        self.step(id, Phase::Failed, &because("crash")).await;
        id
    }

    /// Every event since the agent was added, as `type reason`.
    pub(crate) async fn events(&self) -> Vec<String> {
        let sql =
            "select event_type || coalesce(' ' || reason, '') from public.bus_events order by id";
        self.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    pub(crate) async fn payloads(&self) -> Vec<Value> {
        let sql = "select payload from public.bus_events order by id";
        self.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}
