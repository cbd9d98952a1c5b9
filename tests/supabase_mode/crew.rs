use std::num::NonZeroUsize;
use std::time::Duration;

use bus::{Bus, BusSettings, NewEvent};
use db::DbSettings;
use messages::{EventType, Probe};
use stories::Proxy;
use testkit::{Awkward, Supabase, TestDb};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use worker::{Handlers, Received, Settle, Shards, WorkerSettings, serve};

/// Longer than anything here takes.
const TOO_LONG: Duration = Duration::from_secs(120);

pub(crate) const POOL: usize = 3;

/// A database, what stands in for Supabase over it, and a proxy that all workers go through.
pub(crate) struct Crew {
    pub(crate) sql: Client,
    pub(crate) proxy: Proxy,
    pub(crate) supabase: Supabase,
    stop: CancellationToken,
    working: JoinSet<()>,
    pub(crate) test: TestDb,
}

impl Crew {
    pub(crate) async fn new(awkward: Awkward) -> Self {
        let test = testkit::database().await;
        let sql = test.client().await;
        // Short, because it is how late a message is whose claim was made and never arrived.
        let route = "insert into public.bus_routes (service, role, lease, max_attempts)
            values ('cogo', 'probe', '2 s', 100)";
        sql.batch_execute(route).await.unwrap();
        let supabase = Supabase::with(&test, awkward).await;
        let proxy = Proxy::start(supabase.address().port()).await.unwrap();
        let (stop, working) = (CancellationToken::new(), JoinSet::new());
        Self { sql, proxy, supabase, stop, working, test }
    }

    pub(crate) fn settings(&self) -> DbSettings {
        let url = format!("http://127.0.0.1:{}", self.proxy.port());
        let pool = NonZeroUsize::new(POOL).unwrap();
        DbSettings { db_pool: pool, ..DbSettings::at_supabase(&url, self.supabase.secret_key()) }
    }

    /// A worker whose messages each leave one event behind, in the transaction of their settle.
    pub(crate) fn start(&mut self, holder: &str, slots: usize, bus: &BusSettings) {
        let bus = Bus::connect(&self.settings(), bus).unwrap();
        let handlers = Handlers::new().on(async |_: Received<Probe>, _| {
            Ok(Settle::done().result("heard").note(NewEvent::new(EventType::PROBE_DONE)))
        });
        let settings = settings(holder, slots);
        let stop = self.stop.clone();
        self.working.spawn(async move {
            serve(bus, "prober", handlers, &settings, stop).await.unwrap();
        });
    }

    /// A keeper, over a connection: what was claimed and forgotten comes back.
    pub(crate) fn keep(&mut self) {
        let bus = Bus::connect(&self.test.settings(), &BusSettings::default()).unwrap();
        let stop = self.stop.clone();
        self.working.spawn(async move {
            while !stop.is_cancelled() {
                bus.sweep("keeper", 1000).await.unwrap();
                sleep(Duration::from_millis(200)).await;
            }
        });
    }

    pub(crate) async fn stops(&mut self) {
        self.stop.cancel();
        while let Some(ended) = timeout(TOO_LONG, self.working.join_next()).await.unwrap() {
            ended.unwrap();
        }
    }

    pub(crate) async fn insert(&self) {
        let sql = "insert into public.agent_messages (service, role, payload)
            values ('cogo', 'probe', '{\"text\": \"x\"}')";
        self.sql.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn text(&self, sql: &str) -> String {
        let row = self.sql.query_one(&format!("select ({sql})::text"), &[]).await.unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }

    pub(crate) async fn until(&self, condition: &str) {
        let waiting = async {
            while self.text(condition).await != "true" {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(TOO_LONG, waiting).await.is_ok(), "it never came to: {condition}");
    }
}

pub(crate) fn settings(holder: &str, slots: usize) -> WorkerSettings {
    WorkerSettings {
        agent_service: None,
        agent_role: None,
        agent_shard: Shards::Every,
        agent_tenant: None,
        holder_id: Some(holder.to_owned()),
        worker_slots: NonZeroUsize::new(slots).unwrap(),
        worker_grace: Duration::from_secs(20),
        worker_beat: Duration::from_secs(3600),
        pod_uid: None,
        cogo_image: None,
        cogo_image_digest: None,
        cogo_release_id: None,
    }
}
