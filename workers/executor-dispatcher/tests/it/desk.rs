use std::time::Duration;

use clap::Parser;
use executor_dispatcher::Settings;
use serde_json::{Value, json};
use testkit::TestDb;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Row};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes; a test that waits this long has failed.
const TOO_LONG: Duration = Duration::from_secs(60);

/// A database, and somebody who plays the producers and the targets.
pub(crate) struct Desk {
    pub(crate) test: TestDb,
    pub(crate) sql: Client,
}

/// A message that is ours.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) id: i64,
    pub(crate) lease: String,
}

/// What `execution_forward` said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) word: String,
    pub(crate) reason: Option<String>,
    pub(crate) target_id: Option<i64>,
}

/// A real dispatcher. Aborted on drop.
pub(crate) struct Dispatcher {
    stop: CancellationToken,
    task: JoinSet<miette::Result<()>>,
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        let test = testkit::database().await;
        let sql = test.client().await;
        Self { test, sql }
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) async fn rows(&self, sql: &str) -> Vec<Row> {
        self.sql.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.rows(&format!("select ({sql})::bigint")).await[0].get(0)
    }

    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        self.rows(&format!("select ({sql})::text")).await[0].get(0)
    }

    pub(crate) async fn until(&self, condition: &str) {
        let waiting = async {
            while self.number(&format!("select coalesce(({condition}), false)::int")).await == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(TOO_LONG, waiting).await.is_ok(), "it never came to: {condition}");
    }

    /// Publishes an execution as any producer may.
    pub(crate) async fn execute(&self, payload: &Value) -> i64 {
        let sql = "insert into public.agent_messages (service, role, payload)
            values ('orchestrator', 'execute', $1) returning id";
        self.sql.query_one(sql, &[payload]).await.unwrap().get(0)
    }

    /// An everyday execution.
    pub(crate) async fn generate(&self) -> i64 {
        self.execute(&json!({ "target": "codegen/generate/0" })).await
    }

    pub(crate) async fn claim(&self, route: &str) -> Option<Claim> {
        let sql = "select id, lease::text from public.bus_claim('w', array[$1])";
        let row = self.sql.query_opt(sql, &[&route]).await.unwrap();
        row.map(|row| Claim { id: row.get(0), lease: row.get(1) })
    }

    /// The next message of a target, settled in this way. Answers its number.
    pub(crate) async fn work(&self, route: &str, outcome: Value) -> i64 {
        let claim = self.claim(route).await.unwrap_or_else(|| panic!("nothing waits at {route}"));
        self.settle(&claim, outcome).await;
        claim.id
    }

    pub(crate) async fn settle(&self, claim: &Claim, mut outcome: Value) {
        let outcome_fields = outcome.as_object_mut().unwrap();
        outcome_fields.insert("id".to_owned(), json!(claim.id));
        outcome_fields.insert("lease".to_owned(), json!(claim.lease));
        let sql = "select accepted from public.bus_settle('w', $1)";
        let row = self.sql.query_one(sql, &[&json!([outcome])]).await.unwrap();
        assert!(row.get::<_, bool>(0), "the lease of {} was lost", claim.id);
    }

    /// Claims the next execution and has it forwarded to `codegen/generate/0`.
    pub(crate) async fn forward(&self) -> Verdict {
        let claim = self.claim("orchestrator/execute/0").await.expect("an execution is due");
        forward(&self.sql, &claim).await
    }

    pub(crate) async fn follow(&self) -> Value {
        self.rows("select public.execution_follow()").await[0].get(0)
    }

    /// What was told of an execution, in order: `execute_retry circuit_open`.
    pub(crate) async fn told(&self, id: i64) -> Vec<String> {
        let sql = format!(
            "select trim(event_type || ' ' || coalesce(reason, '')) from public.bus_events
            where message_id = {id} and event_type like 'execute\\_%' order by id"
        );
        self.rows(&sql).await.iter().map(|row| row.get(0)).collect()
    }

    pub(crate) fn start(&self, more: &[&str]) -> Dispatcher {
        let url = self.test.url();
        let mut arguments = vec!["test", "--database-url", &url, "--follow-every", "10ms"];
        arguments.extend(more);
        let settings = Cli::parse_from(arguments).settings;
        let stop = CancellationToken::new();
        let (mut task, child) = (JoinSet::new(), stop.clone());
        task.spawn(executor_dispatcher::run(settings, child));
        Dispatcher { stop, task }
    }
}

impl Dispatcher {
    /// Told to stop, as by SIGTERM, and gone.
    pub(crate) async fn stops(&mut self) {
        self.stop.cancel();
        let ended = timeout(TOO_LONG, self.task.join_next()).await;
        ended.expect("the dispatcher does not stop").unwrap().unwrap().unwrap();
    }
}

pub(crate) const ASSIGNMENT: &str =
    r#"{"budget": {"maxCostUsd": 0.1, "maxTokens": 200000}, "ttl_ms": 60000}"#;

pub(crate) async fn forward(sql: &Client, claim: &Claim) -> Verdict {
    let call = "select verdict, reason, target_id
        from public.execution_forward('w', $1, $2::text::uuid, 'codegen/generate/0', $3::text::jsonb, $3::text::jsonb -> 'budget')";
    let row = sql.query_one(call, &[&claim.id, &claim.lease, &ASSIGNMENT]).await.unwrap();
    Verdict { word: row.get(0), reason: row.get(1), target_id: row.get(2) }
}
