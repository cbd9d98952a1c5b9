use std::time::Duration;

use bus::{Bus, BusSettings, NewMessage};
use clap::Parser;
use messages::Probe;
use testkit::TestDb;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use worker::{Handlers, WorkerSettings, serve};

/// Longer than anything here takes; a test that waits this long has failed.
const TOO_LONG: Duration = Duration::from_secs(60);

/// A database with one message in it, and a worker that takes it. Aborted on drop.
pub(crate) struct Hall {
    _working: JoinSet<()>,
    sql: Client,
    /// For what holds locks while others wait.
    pub(crate) other: Client,
    _test: TestDb,
}

#[derive(Parser)]
#[command(no_binary_name = true)]
struct Flags {
    #[command(flatten)]
    worker: WorkerSettings,
}

impl Hall {
    pub(crate) async fn new(handlers: Handlers) -> Self {
        let test = testkit::database().await;
        let bus = Bus::connect(&test.settings(), &BusSettings::default()).unwrap();
        let probe = NewMessage::of(&Probe { text: "x".to_owned() }).unwrap();
        bus.publish(probe).await.unwrap();
        let Flags { worker } = Flags::parse_from(["--holder-id=w1"]);
        let mut working = JoinSet::new();
        working.spawn(async move {
            serve(bus, "prober", handlers, &worker, CancellationToken::new()).await.unwrap();
        });
        let (sql, other) = (test.client().await, test.client().await);
        Self { _working: working, sql, other, _test: test }
    }

    pub(crate) async fn until(&self, condition: &str) {
        let sql = format!("select coalesce(({condition}), false)");
        let waiting = async {
            while !self.sql.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(TOO_LONG, waiting).await;
        assert!(waited.is_ok(), "it never came to: {condition}");
    }

    /// All that was told of the message, once it is settled: type, text and agent.
    pub(crate) async fn told(&self) -> Vec<[String; 3]> {
        self.until("select status = 'done' from public.agent_messages").await;
        let sql = "select event_type, coalesce(payload ->> 'text', ''), coalesce(agent_id, '')
            from public.bus_events where message_id is not null order by id";
        let rows = self.sql.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect()
    }
}
