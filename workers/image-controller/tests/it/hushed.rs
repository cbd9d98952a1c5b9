//! The controller as a program of its own, as loud as it can be, with secrets in all it is given.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use registry::Phase;
use serde_json::Value;
use simcluster::Fate;

use crate::bed::Bed;
use crate::pull_secrets::{LOGIN, linked, synced};

const PASSWORD: &str = "canary-8c1f/of+the=database";

#[tokio::test]
async fn no_secret_is_in_what_it_says_writes_and_leaves() {
    let bed = Bed::new().await;
    linked(&bed).await;
    let kubeconfig = bed.settings.secrets.kubeconfig.clone().unwrap();
    let read: Value = serde_saphyr::from_str(&fs::read_to_string(&kubeconfig).unwrap()).unwrap();
    let token = read["users"][0]["user"]["token"].as_str().unwrap();
    let secrets = [PASSWORD, LOGIN, LOGIN.split_once(':').unwrap().1, token];

    // Every role is trusted here, whatever its password.
    let url = bed.db.url().replacen('@', &format!(":{}@", encoded(PASSWORD)), 1);
    let mut running = Command::new(env!("CARGO_BIN_EXE_image-controller"))
        .env("DATABASE_URL", url)
        .env("KUBECONFIG", &kubeconfig)
        .env("SECRETS_ALLOW", format!("k8s:{}", bed.server.control))
        .env("ROLLOUT_SOAK", "1s")
        .env("COGO_LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said: Vec<_> = [
        Box::new(running.stdout.take().unwrap()) as Box<dyn Read + Send>,
        Box::new(running.stderr.take().unwrap()),
    ]
    .into_iter()
    .map(|mut pipe| {
        std::thread::spawn(move || {
            let mut said = Vec::new();
            pipe.read_to_end(&mut said).unwrap();
            String::from_utf8_lossy(&said).into_owned()
        })
    })
    .collect();

    bed.until("the pull secret", async || synced(&bed).await.then_some(())).await;
    let agent = bed.agent("hushed").await;
    let good = bed.record(&agent, "v1.0.0").await;
    bed.until_phase(good, Phase::Active).await;
    bed.fate("v1.1.0", Fate::PullRefused).await;
    let bad = bed.record(&agent, "v1.1.0").await;
    bed.until_phase(bad, Phase::RolledBack).await;

    let pid = running.id();
    let command_line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(command_line.contains("image-controller"));
    testkit::assert_hushed(&command_line, &secrets);
    testkit::assert_hushed(&in_the_cluster(&bed).await, &secrets);
    testkit::assert_hushed(&in_the_database(&bed).await, &secrets);
    assert!(Command::new("kill").arg(pid.to_string()).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || running.wait().unwrap()).await.unwrap();
    assert!(ended.success());
    let said: String = said.into_iter().map(|pipe| pipe.join().unwrap()).collect();
    assert!(said.contains("cogo-test-hushed v1.1.0 is rolled_back"), "{said}");
    testkit::assert_hushed(&said, &secrets);
}

/// All that is shown to whoever may not read Secrets.
async fn in_the_cluster(bed: &Bed) -> String {
    let all = ListParams::default();
    let mut text = String::new();
    for list in [
        serde_json::to_string(&bed.api::<Deployment>().list(&all).await.unwrap()),
        serde_json::to_string(&bed.api::<Pod>().list(&all).await.unwrap()),
        serde_json::to_string(&bed.api::<Event>().list(&all).await.unwrap()),
    ] {
        writeln!(text, "{}", list.unwrap()).unwrap();
    }
    assert!(text.contains("cogo-test-hushed"));
    text
}

/// Every row of every table.
async fn in_the_database(bed: &Bed) -> String {
    let client = bed.db.client().await;
    let tables = "select quote_ident(schemaname) || '.' || quote_ident(tablename) from pg_tables
        where schemaname in ('cogo', 'public')";
    let mut text = String::new();
    for table in client.query(tables, &[]).await.unwrap() {
        let sql = format!("select r::text from {} as r", table.get::<_, String>(0));
        for row in client.query(&sql, &[]).await.unwrap() {
            writeln!(text, "{}", row.get::<_, String>(0)).unwrap();
        }
    }
    assert!(text.contains("v1.1.0"));
    text
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        write!(encoded, "%{byte:02X}").unwrap();
    }
    encoded
}
