use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use bus::{Bus, BusSettings};
use testkit::TestDb;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::{Crew, Gate, Moment};

/// A database and one worker of each kind, from an intent to tested code. Whatever goes wrong is a
/// panic: it belongs to tests.
pub struct Line {
    test: TestDb,
    sql: Client,
    pub bus: Bus,
    pub crew: Crew,
    /// These stories keep a machine busy, and one at a time is enough.
    _turn: File,
}

/// Nothing takes so long unless it never happens.
pub const TOO_LONG: Duration = Duration::from_secs(120);

const CREW: [&str; 5] =
    ["bus-keeper", "agent-core", "executor-dispatcher", "codegen-worker", "buildtest-worker"];

/// An executor that makes nothing for as many seconds as its prompt says.
const EXECUTORS: &str = "executors:
  slow:
    command: [sleep, \"{prompt}\"]
    prompt: argument
";

impl Line {
    /// Of a program that runs every worker, as `cogo` does.
    pub async fn new(program: &str) -> Self {
        let turn = tokio::task::spawn_blocking(take_turn).await.expect("it does not panic");
        let test = testkit::database().await;
        let sql = test.client().await;
        let bus = Bus::connect(&test.settings(), &BusSettings::default()).expect("they are right");
        let crew = Crew::of(program).expect("there is room for its files");
        std::fs::write(executors(crew.folder()), EXECUTORS).expect("there is room");
        let mut line = Self { test, sql, bus, crew, _turn: turn };
        // Short, because it is the time lost when a worker is killed; and longer than a busy machine
        // keeps a worker from renewing it.
        line.run(
            "insert into public.bus_routes (service, role, lease)
            values ('orchestrator', 'intent', '5 s'), ('orchestrator', 'execute', '5 s'),
                ('codegen', 'generate', '5 s'), ('code', 'build-test', '5 s')
            on conflict (service, role) do update set lease = excluded.lease;
            insert into public.intents (name, target) values ('slow', 'codegen/generate/0')",
        )
        .await;
        for worker in CREW {
            line.start(worker);
        }
        line
    }

    /// Starts a worker, in the place of the one of that name.
    pub fn start(&mut self, worker: &'static str) {
        let url = self.test.url();
        self.start_at(worker, &url);
    }

    /// The same, but this one reaches Postgres only through a gate.
    pub fn start_behind(&mut self, worker: &'static str, gate: &Gate) {
        let url = self.test.url();
        let database = url.rsplit('/').next().expect("it names one");
        let port = gate.port();
        let url = format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable");
        self.start_at(worker, &url);
    }

    fn start_at(&mut self, worker: &'static str, url: &str) {
        let executors = executors(self.crew.folder());
        let more: &[&str] = match worker {
            "bus-keeper" => &["--keeper-every", "200ms"],
            "agent-core" => &["--port", "0", "--bind", "127.0.0.1", "--supabase-secret-key", KEY],
            "executor-dispatcher" => &["--follow-every", "50ms"],
            "codegen-worker" => &["--codegen-executors", &executors],
            _ => &[],
        };
        self.crew.start(worker, url, more).expect("it starts");
    }

    pub async fn gate(&self, statements: &[&'static str], moment: Moment) -> Gate {
        let sql = "select split_part(current_setting('unix_socket_directories'), ',', 1)
            || '/.s.PGSQL.' || current_setting('port')";
        let socket = self.text(sql).await.expect("it is told");
        Gate::before(socket, statements, moment).await.expect("there is a free port")
    }

    /// How often each event happened.
    pub async fn events(&self, of: &str) -> BTreeMap<String, i64> {
        let sql = format!(
            "select event_type, count(*) from public.bus_events where {of} group by event_type"
        );
        let rows = self.sql.query(&sql, &[]).await.expect("it can be asked");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    pub async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.text(&format!("select coalesce(({sql})::bigint, 0)"))
            .await
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("{sql} is no number"))
    }

    pub async fn text(&self, sql: &str) -> Option<String> {
        let row = self.sql.query_one(&format!("select ({sql})::text"), &[]).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    pub async fn until(&self, condition: &str) {
        self.within(TOO_LONG, condition).await;
    }

    pub async fn within(&self, time: Duration, condition: &str) {
        let waiting = async {
            while self.text(condition).await.as_deref() != Some("true") {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(time, waiting).await.is_err() {
            let states = "select string_agg(service || '/' || role || ' ' || status || ' ' || count, ', ')
                from (select service, role, status, count(*) from public.agent_messages group by 1, 2, 3) as state";
            let states = self.text(states).await;
            panic!("it never came to: {condition}; {states:?}\n{}", self.crew.last_words());
        }
    }
}

/// Good for nothing but this run's own agent-core, on loopback.
const KEY: &str = "sb_secret_of_this_story_alone";

fn executors(folder: &Path) -> String {
    folder.join("executors.yaml").display().to_string()
}

/// Blocks until no other process or test has it.
fn take_turn() -> File {
    let file = std::env::temp_dir().join("cogo-stories.lock");
    let file = File::create(file).expect("it can be written");
    file.lock().expect("it can be locked");
    file
}
