use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusSettings};
use cluster::ClusterSettings;
use image_controller::{CanarySettings, RolloutSettings, Settings};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use model::AgentName;
use oci::OciSettings;
use registry::{Canary, NewAgent, NewTag, Phase, Registry, Release};
use secrets::SecretsSettings;
use serde_json::{Value, json};
use simcluster::Fate;
use tempfile::TempDir;
use testkit::TestDb;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::beating_workers::Workers;
use crate::real_workers::work_in;
use crate::registry_server::RegistryServer;
use crate::server::Server;

/// A cluster, a database, a registry and the workers in the pods. Controllers come and go.
pub(crate) struct Bed {
    pub(crate) db: TestDb,
    pub(crate) registry: Registry,
    pub(crate) server: Server,
    pub(crate) images: RegistryServer,
    pub(crate) workers: Arc<Workers>,
    pub(crate) settings: Settings,
    _folder: TempDir,
    _beating: JoinSet<()>,
}

/// How fast everything is, beside what ships.
#[derive(Clone, Copy)]
pub(crate) enum Speed {
    /// For tests of what happens, not of how long it takes.
    Fast,
    /// As it ships, on nodes as fast as real ones.
    Real,
}

/// What is in the pods.
enum Staff {
    /// Who says that it is there, and no more.
    Beating,
    Working,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::at(Speed::Fast).await
    }

    pub(crate) async fn at(speed: Speed) -> Self {
        Self::staffed(speed, Staff::Beating).await
    }

    /// In whose pods work is really done.
    pub(crate) async fn with_real_workers() -> Self {
        Self::staffed(Speed::Fast, Staff::Working).await
    }

    async fn staffed(speed: Speed, staff: Staff) -> Self {
        let db = testkit::database().await;
        // As many events as pods of a hundred agents have at once.
        let (on_pod, pods) = mpsc::channel(4096);
        let server = Server::start(simcluster::Settings {
            pace: match speed {
                Speed::Fast => 10.0,
                Speed::Real => 1.0,
            },
            on_pod: Some(on_pod),
            ..simcluster::Settings::default()
        });
        let server = server.await;
        let folder = TempDir::new().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        server.write_kubeconfig(&kubeconfig).await;
        let secrets =
            SecretsSettings { kubeconfig: Some(kubeconfig), ..SecretsSettings::default() };
        let settings = Settings {
            db: db.settings(),
            cluster: ClusterSettings::default(),
            secrets,
            registries: OciSettings::default(),
            rollouts: rollouts(speed),
            canaries: CanarySettings {
                canary_serves: Duration::from_millis(1500),
                canary_messages: 5,
                canary_failures: 10,
                canary_slower: 2.0,
            },
            holder_id: None,
            metrics_port: None,
            metrics_bind: [127, 0, 0, 1].into(),
        };
        let workers = Arc::<Workers>::default();
        let bus = Bus::connect(&db.settings(), &BusSettings::default()).unwrap();
        let mut beating = JoinSet::new();
        let every = match speed {
            Speed::Fast => Duration::from_secs(1),
            // As workers do.
            Speed::Real => Duration::from_secs(10),
        };
        match staff {
            Staff::Beating => beating.spawn(workers.clone().run(bus, pods, every)),
            Staff::Working => beating.spawn(work_in(bus, pods)),
        };
        let images = RegistryServer::start().await;
        let registry = Registry::new(db.db());
        let bed = Self {
            db,
            registry,
            server,
            images,
            workers,
            settings,
            _folder: folder,
            _beating: beating,
        };
        bed.clear().await;
        bed
    }

    /// Without the agents that every database has: their Deployments are not in this cluster.
    async fn clear(&self) {
        let client = self.db.client().await;
        client.batch_execute("delete from public.agent_catalog").await.unwrap();
    }

    /// An agent with a Deployment of two pods, which runs an image that nobody recorded.
    pub(crate) async fn agent(&self, name: &str) -> AgentName {
        self.agent_with(name, 2).await
    }

    pub(crate) async fn agent_with(&self, name: &str, replicas: i32) -> AgentName {
        let agent: AgentName = format!("cogo-test-{name}").parse().unwrap();
        let image = format!("{}/acme/placeholder:v0.0.1", self.images.host);
        self.server.apply(self.deployment_of(&agent, replicas, &image)).await;
        let repo = format!("{}/acme/{name}", self.images.host).parse().unwrap();
        let mut new = NewAgent::new(agent.clone(), repo);
        new.default_tag = Some("prod".to_owned());
        new.autodeploy_enabled = true;
        new.kube_namespace = Some(self.server.namespace.clone());
        self.registry.put_agent(&new).await.unwrap();
        agent
    }

    /// An agent whose v1.0.0 is active.
    pub(crate) async fn running(&self, name: &str) -> AgentName {
        let agent = self.agent(name).await;
        let first = self.record(&agent, "v1.0.0").await;
        let _controller = self.controller();
        self.until_phase(first, Phase::Active).await;
        agent
    }

    pub(crate) async fn fate(&self, tag: &str, fate: Fate) {
        self.server.fate(tag, fate).await;
    }

    pub(crate) async fn record(&self, agent: &AgentName, tag: &str) -> Uuid {
        let new = NewTag::new(agent.clone(), tag.parse().unwrap());
        self.registry.record(&new).await.unwrap().release_id
    }

    pub(crate) async fn record_canary(&self, agent: &AgentName, tag: &str, canary: Canary) -> Uuid {
        let mut new = NewTag::new(agent.clone(), tag.parse().unwrap());
        new.canary = Some(canary);
        self.registry.record(&new).await.unwrap().release_id
    }

    pub(crate) fn controller(&self) -> Controller {
        self.controller_with(|_| {})
    }

    pub(crate) fn controller_with(&self, change: impl FnOnce(&mut Settings)) -> Controller {
        let mut settings = self.settings.clone();
        change(&mut settings);
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(image_controller::run(settings, stop.clone()));
        Controller { stop, running }
    }

    pub(crate) async fn release(&self, id: Uuid) -> Release {
        self.registry.release(id).await.unwrap().expect("it was recorded")
    }

    pub(crate) async fn until_phase(&self, id: Uuid, phase: Phase) -> Release {
        self.until(&format!("a release that is {phase}"), async || {
            let release = self.release(id).await;
            (release.phase == phase).then_some(release)
        })
        .await
    }

    /// Waits for what must come; says where all releases stood if it does not.
    pub(crate) async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            if Instant::now() > give_up {
                let all = self.registry.releases(None, 20).await.unwrap();
                let stand = |one: &Release| {
                    let why = (&one.failure_code, &one.failure_detail);
                    format!("{} {} {why:?}", one.tag, one.phase)
                };
                let all: Vec<String> = all.iter().map(stand).collect();
                panic!("waited in vain for {what}: {all:#?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the cluster itself says, past everything of ours.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        self.server.api()
    }

    /// On a real server no other scheduler takes its pods.
    fn deployment_of(&self, name: &AgentName, replicas: i32, image: &str) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": name },
            "spec": {
                "replicas": replicas,
                "minReadySeconds": 1,
                "progressDeadlineSeconds": 45,
                "revisionHistoryLimit": 3,
                "selector": { "matchLabels": { "app": name } },
                "strategy": { "type": "RollingUpdate",
                    "rollingUpdate": { "maxSurge": "100%", "maxUnavailable": 0 } },
                "template": {
                    "metadata": { "labels": { "app": name } },
                    "spec": { "terminationGracePeriodSeconds": 30, "schedulerName": self.server.namespace, "containers": [{
                        "name": "worker", "image": image,
                        "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 } },
                    }] },
                },
            },
        })
    }

    pub(crate) async fn deployment(&self, name: &str) -> Value {
        let found = self.api::<Deployment>().get_opt(name).await.unwrap();
        found.map(|found| serde_json::to_value(found).unwrap()).unwrap_or_default()
    }

    /// The tag that a Deployment's pods are to run.
    pub(crate) async fn tag(&self, deployment: &str) -> String {
        let found = self.deployment(deployment).await;
        let image = &found["spec"]["template"]["spec"]["containers"][0]["image"];
        let image = image.as_str().unwrap_or_default().split('@').next().unwrap_or_default();
        image.rsplit(':').next().unwrap_or_default().to_owned()
    }

    pub(crate) async fn events(&self, like: &str) -> Vec<String> {
        let client = self.db.client().await;
        let sql = "select event_type from public.bus_events where event_type like $1 order by id";
        let rows = client.query(sql, &[&like]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// The longest any test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ten times as fast, where that can be: what is a matter of Kubernetes' own seconds cannot.
fn rollouts(speed: Speed) -> RolloutSettings {
    let ms = |real: u64| match speed {
        Speed::Fast => Duration::from_millis(real / 5),
        Speed::Real => Duration::from_millis(real),
    };
    RolloutSettings {
        rollout_every: ms(1000),
        rollout_hold: ms(3000),
        rollout_at_once: 200.try_into().unwrap(),
        rollout_deadline: ms(40_000),
        rollout_restore: ms(20_000),
        rollout_soak: ms(5000),
        rollout_silent: ms(20_000),
        rollout_beat: ms(25_000),
    }
}

/// One process that rolls out, for as long as it is kept.
pub(crate) struct Controller {
    stop: CancellationToken,
    running: JoinSet<miette::Result<()>>,
}

impl Controller {
    /// As when its machine is switched off.
    pub(crate) async fn kill(mut self) {
        self.running.abort_all();
        while self.running.join_next().await.is_some() {}
    }

    /// As when its pod is replaced.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.running.join_next().await.unwrap().unwrap().unwrap();
    }
}
