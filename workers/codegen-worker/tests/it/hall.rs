use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use artifacts::{ArtifactSettings, Bounds, Digest, Store};
use bus::{Bus, BusSettings, NewMessage};
use clap::{Args, Command, FromArgMatches};
use codegen_worker::Settings;
use messages::Generate;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::TestDb;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes; a test that waits this long has failed.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(120);

/// A bus, a store, room for workspaces, and the way to them.
pub(crate) struct Hall {
    pub(crate) test: TestDb,
    pub(crate) sql: Client,
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) folder: TempDir,
}

/// A worker at work. Aborted on drop.
pub(crate) struct Working {
    stop: CancellationToken,
    task: JoinSet<miette::Result<()>>,
}

impl Hall {
    pub(crate) async fn new() -> Self {
        let test = testkit::database().await;
        let sql = test.client().await;
        let bus = Bus::connect(&test.settings(), &BusSettings::default()).unwrap();
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        // Children may be another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("workspaces")).unwrap();
        let base = folder.path().join("store");
        let store = Store::connect(&ArtifactSettings::at(base.to_str().unwrap())).unwrap();
        let hall = Self { test, sql, bus, store, folder };
        hall.run(
            "insert into public.bus_routes (service, role, backoff_base) values ('codegen', 'generate', '0 s')",
        )
        .await;
        hall
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As from the command line, with nothing of the environment.
    pub(crate) fn settings(&self, more: &[String]) -> Settings {
        let mut arguments = vec![
            "codegen-worker".to_owned(),
            format!("--database-url={}", self.test.url()),
            format!("--artifacts-base={}", self.path("store").display()),
            format!("--sandbox-workspaces={}", self.path("workspaces").display()),
            "--codegen-progress-every=20ms".to_owned(),
            "--child-grace=200ms".to_owned(),
        ];
        arguments.extend_from_slice(more);
        let command = Settings::augment_args(Command::new("codegen-worker"));
        let found = command.mut_args(|arg| arg.env(None::<&str>)).get_matches_from(arguments);
        Settings::from_arg_matches(&found).unwrap()
    }

    pub(crate) fn executors(&self, yaml: &str) -> String {
        let file = self.path("executors.yaml");
        fs::write(&file, yaml).unwrap();
        format!("--codegen-executors={}", file.display())
    }

    /// With one command called `agent`, whose keys these are.
    pub(crate) fn start_with(&self, agent: &Value) -> Working {
        // JSON is YAML.
        let file = json!({ "executors": { "agent": agent } }).to_string();
        self.start(&[self.executors(&file)])
    }

    pub(crate) fn start(&self, more: &[String]) -> Working {
        let settings = self.settings(more);
        let stop = CancellationToken::new();
        let (mut task, child) = (JoinSet::new(), stop.clone());
        task.spawn(async move { Box::pin(codegen_worker::run(settings, child)).await });
        Working { stop, task }
    }

    pub(crate) async fn ask(&self, payload: Value) -> i64 {
        let asked: Generate = serde_json::from_value(payload).unwrap();
        self.bus.publish(NewMessage::of(&asked).unwrap()).await.unwrap().id.get()
    }

    pub(crate) async fn ask_agent(&self, assignment: Value) -> i64 {
        self.ask(json!({ "executor": "agent", "prompt": "go", "__assignment": assignment })).await
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        let row = self.sql.query_one(&format!("select ({sql})::text"), &[]).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    pub(crate) async fn until_status(&self, id: i64, status: &str) {
        let sql = format!("select status from public.agent_messages where id = {id}");
        let waiting = async {
            while self.text(&sql).await.as_deref() != Some(status) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(TOO_LONG, waiting).await.is_err() {
            let row = format!("select to_jsonb(m) from public.agent_messages as m where id = {id}");
            panic!("it is not {status}: {:?}", self.text(&row).await);
        }
    }

    /// What the dead letter says: reason, attempts and error.
    pub(crate) async fn letter(&self, id: i64) -> String {
        self.until_status(id, "failed").await;
        let sql = format!(
            "select reason || ', ' || attempts || ', ' || error from public.agent_messages_dlq where orig_id = {id}"
        );
        self.text(&sql).await.unwrap()
    }

    /// The events of a message, by type and payload, in order.
    pub(crate) async fn events(&self, id: i64) -> Vec<(String, Value)> {
        let sql =
            "select event_type, payload from public.bus_events where message_id = $1 order by id";
        let rows = self.sql.query(sql, &[&id]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    pub(crate) async fn digest(&self, id: i64) -> Digest {
        self.until_status(id, "done").await;
        let events = self.events(id).await;
        let (_, done) = events.iter().find(|(kind, _)| kind == "codegen_done").unwrap();
        done["digest"].as_str().unwrap().parse().unwrap()
    }

    /// What a message's artifact has in it.
    pub(crate) async fn made(&self, id: i64) -> BTreeMap<String, String> {
        let digest = self.digest(id).await;
        let out = self.path(&format!("out-{id}"));
        self.store.unpack(&digest, &out, &Bounds::default()).await.unwrap();
        files(&out)
    }

    /// That nothing was left on the disk.
    pub(crate) fn assert_swept(&self) {
        let base = self.path("workspaces");
        let left: Vec<PathBuf> = fs::read_dir(&base)
            .unwrap()
            .flat_map(|ours| fs::read_dir(ours.unwrap().path()).unwrap())
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Working {
    /// Told to stop, as by SIGTERM, and gone.
    pub(crate) async fn stops(&mut self) {
        self.stop.cancel();
        self.ends().await.unwrap();
    }

    pub(crate) async fn ends(&mut self) -> miette::Result<()> {
        let ended = timeout(TOO_LONG, self.task.join_next()).await;
        ended.expect("the worker does not stop").unwrap().unwrap()
    }
}

pub(crate) fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// Processes anywhere whose command line has this in it.
pub(crate) fn running(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(mark) {
            found.push(line);
        }
    }
    found
}

pub(crate) async fn until_running(mark: &str, count: usize) {
    let waiting = async {
        while running(mark).len() < count {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = timeout(TOO_LONG, waiting).await;
    assert!(waited.is_ok(), "there never were {count} of {mark}: {:?}", running(mark));
}

/// What a command that is found nowhere else sleeps for.
pub(crate) fn nap() -> String {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("98765.{}", nanos.as_nanos())
}
