use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use bus::{Bus, BusSettings};
use db::DbSettings;
use model::Secret;
use serde_json::json;
use tempfile::TempDir;
use testkit::Awkward;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::crew::Crew;

const TOO_LONG: Duration = Duration::from_secs(60);

/// A worker in a process of its own that logs all it can.
struct Loud {
    child: Child,
    folder: TempDir,
    secrets: Vec<String>,
}

impl Loud {
    fn start(url: &str, key: &Secret) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(log(folder.path())).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_chaos"))
            .args(["worker", "--log", "trace", "--holder-id", "loud", "--worker-grace", "1s"])
            .env_clear()
            .env("SUPABASE_URL", url)
            .env("SUPABASE_SECRET_KEY", key.expose())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, folder, secrets: parts(key) }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(log(self.folder.path())).unwrap()
    }

    async fn until_said(&self, words: &[&str]) {
        let waiting = async {
            while !words.iter().all(|words| self.said().contains(words)) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = timeout(TOO_LONG, waiting).await;
        let last: Vec<String> = self.said().lines().rev().take(20).map(str::to_owned).collect();
        assert!(waited.is_ok(), "it never said {words:?}: {last:#?}");
    }

    fn has_told_nothing(&self) {
        let pid = self.child.id().unwrap();
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(line.contains("loud"), "{line}");
        for text in [self.said(), line] {
            check(&text, &self.secrets);
        }
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// All of a key that must not be told: of a token, its claims and its signature, too.
fn parts(key: &Secret) -> Vec<String> {
    let key = key.expose();
    let long = key.split('.').skip(1).filter(|part| part.len() > 12);
    std::iter::once(key).chain(long).map(str::to_owned).collect()
}

fn check(text: &str, secrets: &[String]) {
    for secret in secrets {
        let place = text.find(secret.as_str());
        let around = place.map(|place| text[place.saturating_sub(300)..place].to_owned());
        assert_eq!(around, None, "what came before a secret");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_no_key_or_token_is_told() {
    let crew = Crew::new(Awkward::default()).await;
    let url = crew.supabase.url();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let token = |exp: u64| {
        let claims =
            json!({ "role": "service_role", "exp": exp, "canary": "c4n4ry-in-the-claims" });
        Secret::new(crew.supabase.rest.token(&claims))
    };
    let away = format!("http://127.0.0.1:{}", unused_port());

    let works = Loud::start(&url, crew.supabase.secret_key());
    let unknown = Loud::start(&url, &Secret::new("sb_secret_c4n4ry_that_is_no_key".to_owned()));
    let nowhere = Loud::start(&away, crew.supabase.secret_key());
    // A gateway knows no tokens but its own, so these go to who judges them.
    let realtime = format!("http://{}", crew.supabase.realtime.address());
    let expired = Loud::start(&crew.supabase.rest.url(), &token(now - 3600));
    let expiring = Loud::start(&realtime, &token(now + 3));

    works.until_said(&["hearing route:chaos/act"]).await;
    unknown.until_said(&["refused our key"]).await;
    nowhere.until_said(&["could not reach Supabase"]).await;
    expired.until_said(&["refused our key: JWT expired"]).await;
    expiring.until_said(&["hearing route:chaos/act", "not hearing"]).await;
    // A row whose payload cannot be read, a lost connection, a restart: each says something.
    let garbled =
        "insert into public.agent_messages (service, role, payload) values ('chaos', 'act', '{}')";
    crew.sql.batch_execute(garbled).await.unwrap();
    crew.until("select count(*) = 1 from public.agent_messages_dlq").await;
    crew.supabase.realtime.restart(Duration::from_millis(50)).await;
    works.until_said(&["not hearing"]).await;
    for loud in [&works, &unknown, &nowhere, &expired, &expiring] {
        loud.has_told_nothing();
    }
    check(&crew.supabase.rest.log(), &works.secrets);

    let settings = DbSettings::at_supabase(&url, crew.supabase.secret_key());
    let bus = Bus::connect(&settings, &BusSettings::default()).unwrap();
    check(&format!("{settings:?} {settings:#?} {:?}", bus.db()), &works.secrets);
    let refused = DbSettings::at_supabase(&crew.supabase.rest.url(), &token(now - 3600));
    let refused = Bus::connect(&refused, &BusSettings::default()).unwrap();
    let error = refused.fleet().await.unwrap_err();
    check(&format!("{error:?} {error} {:?}", miette::Report::new(error.clone())), &expired.secrets);
}

fn unused_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
