use std::num::NonZeroUsize;
use std::time::Duration;

use bus::{Bus, BusSettings, Doorbell, NewMessage};
use db::DbSettings;
use messages::Probe;
use testkit::{Reached, TestDb, Way};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use worker::{Handlers, ServeError, Shards, WorkerSettings, serve};

/// Longer than anything here takes; a test that waits this long has failed.
const TOO_LONG: Duration = Duration::from_secs(60);

/// A database and the way that workers go to it.
pub(crate) struct Hall {
    pub(crate) way: Way,
    pub(crate) bus: Bus,
    pub(crate) sql: Client,
    _reached: Reached,
    pub(crate) test: TestDb,
}

/// A worker at work. Aborted on drop.
pub(crate) struct Working {
    pub(crate) stop: CancellationToken,
    task: JoinSet<Result<(), ServeError>>,
}

impl Hall {
    pub(crate) async fn over(way: Way) -> Self {
        let test = testkit::database().await;
        let sql = test.client().await;
        let reached = way.reach(&test.url()).await;
        let mut patient = patient();
        if way == Way::Poll {
            patient.bus_doorbell = Doorbell::Poll;
        }
        let bus = Bus::connect(&reached.settings, &patient).unwrap();
        Self { way, bus, sql, _reached: reached, test }
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) async fn probe(&self, text: &str) -> i64 {
        let probe = NewMessage::of(&Probe { text: text.to_owned() }).unwrap();
        self.bus.publish(probe).await.unwrap().id.get()
    }

    pub(crate) fn start(&self, handlers: Handlers, mut settings: WorkerSettings) -> Working {
        if !self.way.rings() {
            // Where nobody calls it, a worker hears with its heartbeat that it is to drain.
            settings.worker_beat = settings.worker_beat.min(Duration::from_millis(50));
        }
        start(self.bus.clone(), handlers, settings)
    }

    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        self.sql.query_one(&format!("select ({sql})::text"), &[]).await.unwrap().get(0)
    }

    pub(crate) async fn until(&self, condition: &str) {
        until(&self.sql, condition).await;
    }

    pub(crate) async fn until_status(&self, id: i64, status: &str) {
        let sql = format!("select status = '{status}' from public.agent_messages where id = {id}");
        self.until(&sql).await;
    }
}

impl Working {
    /// Told to stop, as by SIGTERM, and gone.
    pub(crate) async fn stops(&mut self) {
        self.stop.cancel();
        self.ends().await;
    }

    pub(crate) async fn ends(&mut self) {
        let ended = timeout(TOO_LONG, self.task.join_next()).await;
        ended.expect("the worker does not stop").unwrap().unwrap().unwrap();
    }

    pub(crate) fn is_working(&mut self) -> bool {
        self.task.try_join_next().is_none()
    }
}

pub(crate) fn start(bus: Bus, handlers: Handlers, settings: WorkerSettings) -> Working {
    let stop = CancellationToken::new();
    let (mut task, child) = (JoinSet::new(), stop.clone());
    task.spawn(async move { serve(bus, "prober", handlers, &settings, child).await });
    Working { stop, task }
}

/// Only a ring makes a worker look, so that no poll hides one that is missing.
pub(crate) fn patient() -> BusSettings {
    BusSettings { bus_poll_ms: 3_600_000, ..BusSettings::default() }
}

pub(crate) fn settings(holder: &str, slots: usize) -> WorkerSettings {
    WorkerSettings {
        agent_service: None,
        agent_role: None,
        agent_shard: Shards::Every,
        agent_tenant: None,
        holder_id: Some(holder.to_owned()),
        worker_slots: NonZeroUsize::new(slots).unwrap(),
        worker_grace: TOO_LONG,
        worker_beat: Duration::from_secs(3600),
        pod_uid: None,
        cogo_image: None,
        cogo_image_digest: None,
        cogo_release_id: None,
    }
}

pub(crate) fn generous(settings: &DbSettings) -> DbSettings {
    DbSettings { db_connect_timeout: Duration::from_secs(10), ..settings.clone() }
}

pub(crate) async fn until(client: &Client, condition: &str) {
    let waiting = async {
        while !client
            .query_one(&format!("select coalesce(({condition}), false)"), &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
        {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = timeout(TOO_LONG, waiting).await;
    assert!(waited.is_ok(), "it never came to: {condition}");
}
