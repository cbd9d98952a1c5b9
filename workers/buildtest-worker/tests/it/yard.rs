use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use artifacts::{About, ArtifactSettings, Bounds, Store};
use buildtest_worker::Settings;
use bus::{Bus, BusSettings, NewMessage};
use clap::Parser;
use messages::{BuildReport, BuildTest, Source};
use serde_json::Value;
use tempfile::TempDir;
use testkit::TestDb;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes; a test that waits this long has failed.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(120);

/// A database, a store, and a worker that builds. Stopped with the value.
pub(crate) struct Yard {
    pub(crate) bus: Bus,
    pub(crate) sql: Client,
    pub(crate) store: Store,
    pub(crate) folder: TempDir,
    _test: TestDb,
    _worker: JoinSet<()>,
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    settings: Settings,
}

impl Yard {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(more: &[&str]) -> Self {
        let test = testkit::database().await;
        let folder = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in("/var/tmp")
            .unwrap();
        let url = test.url();
        let base = folder.path().join("store").display().to_string();
        let workspaces = folder.path().display().to_string();
        let mut arguments = vec!["buildtest-worker", "--database-url", &url];
        arguments.extend(["--artifacts-base", &base, "--sandbox-workspaces", &workspaces]);
        arguments.extend(["--buildtest-progress-every", "50ms", "--child-grace", "300ms"]);
        arguments.extend(more);
        let settings = Program::try_parse_from(arguments).unwrap().settings;
        let mut worker = JoinSet::new();
        worker.spawn(async move {
            let stop = CancellationToken::new();
            Box::pin(buildtest_worker::run(settings, stop)).await.unwrap();
        });
        Self {
            bus: Bus::connect(&test.settings(), &BusSettings::default()).unwrap(),
            sql: test.client().await,
            store: Store::connect(&ArtifactSettings::at(base)).unwrap(),
            folder,
            _test: test,
            _worker: worker,
        }
    }

    /// Stores these files.
    pub(crate) async fn artifact(&self, files: &[(&str, &str)]) -> Source {
        let tree = tempfile::tempdir().unwrap();
        write(tree.path(), files);
        let stored = self.store.put_tree(tree.path(), About::default(), &Bounds::default()).await;
        Source::Artifact(stored.unwrap().digest.to_string())
    }

    pub(crate) async fn publish(&self, asked: &BuildTest) -> i64 {
        let message = NewMessage::of(asked).unwrap();
        self.bus.publish(message).await.unwrap().id.get()
    }

    /// Builds these files, and tells what came of it.
    pub(crate) async fn build(&self, files: &[(&str, &str)]) -> Built {
        let asked = asking(self.artifact(files).await);
        self.ask(&asked).await
    }

    pub(crate) async fn ask(&self, asked: &BuildTest) -> Built {
        let id = self.publish(asked).await;
        let ended = format!(
            "select status not in ('queued', 'claimed') from public.agent_messages where id = {id}"
        );
        self.until(&ended).await;
        self.built(id).await
    }

    pub(crate) async fn built(&self, id: i64) -> Built {
        let row = "select status, coalesce(result_snippet, ''), coalesce(error, ''), coalesce(result_url, '')
                   from public.agent_messages where id = $1";
        let row = self.sql.query_one(row, &[&id]).await.unwrap();
        let (status, result, error): (String, String, String) =
            (row.get(0), row.get(1), row.get(2));
        let url: String = row.get(3);
        let report: Option<BuildReport> = serde_json::from_str(&result).ok();
        let events = "select event_type, coalesce(reason, ''), coalesce(payload, '{}')
                      from public.bus_events where message_id = $1 order by id";
        let events = self.sql.query(events, &[&id]).await.unwrap();
        let events = events.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        let whole = match url.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&self.store.report(&url).await.unwrap()).unwrap(),
        };
        Built { id, status, report, error, events, whole }
    }

    pub(crate) async fn until(&self, condition: &str) {
        let waiting = async {
            let condition = format!("select coalesce(({condition}), false)");
            loop {
                let row = self.sql.query_one(&condition, &[]).await.unwrap();
                if row.get::<_, bool>(0) {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = timeout(TOO_LONG, waiting).await;
        assert!(waited.is_ok(), "it never came to: {condition}");
    }

    /// Workspaces that are there now.
    pub(crate) fn workspaces(&self) -> usize {
        let base = self.folder.path().join(format!("cogo-{}", nix::unistd::geteuid()));
        fs::read_dir(base).unwrap().count()
    }
}

pub(crate) struct Built {
    pub(crate) id: i64,
    pub(crate) status: String,
    pub(crate) report: Option<BuildReport>,
    pub(crate) error: String,
    /// Type, reason and payload.
    pub(crate) events: Vec<(String, String, Value)>,
    /// The stored report.
    pub(crate) whole: Value,
}

impl Built {
    /// Whether it passed, its tests and its failures.
    pub(crate) fn figures(&self) -> (bool, u64, u64) {
        let report = self.report.as_ref().unwrap_or_else(|| panic!("no report: {}", self.error));
        (report.passed, report.tests, report.failures)
    }

    pub(crate) fn event(&self, event_type: &str) -> &(String, String, Value) {
        let found = self.events.iter().find(|(of_type, ..)| of_type == event_type);
        found.unwrap_or_else(|| panic!("no {event_type} in {:?}", self.events))
    }

    /// The reason of a message that failed for good.
    pub(crate) fn reason(&self) -> &str {
        assert_eq!(self.status, "failed", "{:?}", self.whole);
        &self.event("buildtest_failed").1
    }
}

pub(crate) fn asking(source: Source) -> BuildTest {
    let mut asked: BuildTest = serde_json::from_str(r#"{"source": {"artifact": ""}}"#).unwrap();
    asked.source = source;
    asked.assignment.ttl_ms = 600_000;
    asked
}

pub(crate) fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// How many processes have this in their command line.
pub(crate) fn running(text: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let wanted = text.replace(' ', "\0") + "\0";
    lines.filter(|line| *line == wanted.as_bytes()).count()
}
