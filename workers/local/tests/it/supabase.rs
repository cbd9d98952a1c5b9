//! `cogo dev` as clients of Supabase see it, and as workers do that know nothing but its URL and key.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use testkit::Program;

use crate::place::Place;
use crate::running::{Said, eventually};

/// A client in another process, which prints a line of JSON for whatever comes about.
struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Node {
    fn run(place: &Place) -> Self {
        let env = place.env();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
        let mut node = Command::new("node");
        node.arg(folder.join("watch.mjs")).env("NODE_MODULES", testkit::node_modules(&folder));
        for name in ["SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY"] {
            node.env(name, &env[name]);
        }
        for tenant in ["acme", "globex"] {
            let name = format!("{}_TOKEN", tenant.to_uppercase());
            node.env(name, signed_in(tenant, &env["SUPABASE_JWT_SECRET"]));
        }
        let mut child = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads on to the next line of this kind and, if somebody is named, by them.
    fn tells(&mut self, what: &str, who: Option<&str>) -> Value {
        let mut before = Vec::new();
        for line in self.lines.by_ref() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if line["what"] == what && who.is_none_or(|who| line["who"] == who) {
                return line;
            }
            before.push(line);
        }
        panic!("it never told {what} of {who:?}, but {before:#?}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The token of a user whom an operator has put into a tenant, as Supabase Auth writes it.
fn signed_in(tenant: &str, secret: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let claims = json!({ "role": "authenticated", "aud": "authenticated", "sub": "somebody",
        "exp": now.as_secs() + 600, "app_metadata": { "tenant": tenant } });
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

#[test]
fn supabase_js_inserts_a_message_and_hears_its_trace_to_the_end_and_nobody_elses() {
    let place = Place::new();
    let _dev = place.dev(&["--only", "rest,realtime,bus-keeper,probe"]);
    place.sql(
        "insert into bus_routes (service, role, open_to) values ('cogo', 'probe', '{authenticated}')",
    );
    // Until everybody listens, so that nothing is over before.
    place.sql("select bus_pause('cogo', 'probe')");
    let mut node = Node::run(&place);
    let inserted = node.tells("inserted", None);
    let message = &inserted["data"];
    assert_eq!((&message["tenant"], &message["status"]), (&json!("acme"), &json!("queued")));
    let trace = message["trace_id"].as_str().unwrap().to_owned();

    // Another tenant gets neither the topic nor the events nor the row.
    let refused = node.tells("joined", Some("globex"));
    assert_eq!(refused["status"], "CHANNEL_ERROR");
    assert!(refused["error"].as_str().unwrap().contains("do not have permissions"), "{refused}");
    let refused = node.tells("watched", Some("globex"));
    assert_eq!((&refused["error"]["code"], &refused["data"]), (&json!("42501"), &json!(null)));
    assert_eq!(node.tells("read", Some("globex"))["data"], json!([]));
    assert_eq!(node.tells("joined", Some("acme for servers"))["status"], "CHANNEL_ERROR");

    assert_eq!(node.tells("joined", Some("acme"))["status"], "SUBSCRIBED");
    let watched = node.tells("watched", Some("acme"));
    assert_eq!(watched["data"]["topic"], format!("trace:{trace}"));
    assert_eq!(watched["data"]["at_rest"], false);
    assert_eq!(node.tells("read", Some("acme"))["data"], json!([{ "id": message["id"] }]));
    assert_eq!(node.tells("joined", Some("server"))["status"], "SUBSCRIBED");
    let watched = node.tells("watched", Some("server"));
    assert_eq!(watched["data"]["topic"], format!("trace:{trace}:all"));

    node.tells("ready", None);
    place.sql("select bus_pause('cogo', 'probe', false)");
    let mut waiting = vec!["acme", "server"];
    while !waiting.is_empty() {
        let heard = node.tells("heard", None);
        let who = heard["who"].as_str().unwrap().to_owned();
        let events = heard["payload"]["events"].as_array().unwrap();
        assert!(events.iter().all(|event| event["trace_id"] == trace), "{heard}");
        let done = |event: &Value| {
            event["event_type"] == "probe_done"
                && event["payload"] == json!({ "text": "hello from a browser" })
        };
        assert!(events.iter().any(done), "{heard}");
        // And whoever was refused hears nothing.
        let known = waiting.iter().position(|one| *one == who);
        waiting.remove(known.unwrap_or_else(|| panic!("{who} hears {heard}")));
    }
    node.child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let watched = node.tells("watched", Some("acme"));
    assert_eq!(watched["data"]["at_rest"], true);
    assert_eq!(watched["data"]["events"].as_array().unwrap().len(), 1, "{watched}");
    assert_eq!(node.tells("ended", None)["status"], "done");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The example looks at the trace once a second, whether it hears anything or not. Here it looks
/// when it is rung, or in an hour.
#[tokio::test]
async fn the_example_is_rung_over_realtime() {
    let place = Place::new();
    let _dev = place.dev(&["--only", "rest,realtime"]);
    place.sql(&std::fs::read_to_string(root().join("supabase/seed.sql")).unwrap());
    let example = std::fs::read_to_string(root().join("supabase/examples/watch.ts")).unwrap();
    let patient = example.replace("POLL_MS = 1_000;", "POLL_MS = 3_600_000;");
    assert_ne!(patient, example, "it looks as often as it did");
    let env = place.env();
    let mut watch = Program::start(|folder| {
        std::fs::write(folder.join("watch.ts"), patient)?;
        let mut deno = Command::new(testkit::DENO.find().unwrap());
        deno.args([
            "run",
            "--cached-only",
            "--no-prompt",
            "--allow-env",
            "--allow-net",
            "--config",
        ]);
        deno.arg(root().join("edge-functions/deno.json")).arg(folder.join("watch.ts"));
        let cache = std::env::home_dir().unwrap().join(".cache/cogo/deno");
        deno.env("DENO_DIR", cache).env("DENO_NO_UPDATE_CHECK", "1").env("NO_COLOR", "1");
        deno.env("TOKEN", signed_in("acme", &env["SUPABASE_JWT_SECRET"]));
        for name in ["SUPABASE_URL", "SUPABASE_ANON_KEY"] {
            deno.env(name, &env[name]);
        }
        Ok(deno)
    })
    .unwrap();
    eventually("the example listens", || place.sql("select count(*) from cogo.watched") == "1")
        .await;
    // What it finds when it has joined; after that, only a ring makes it look.
    place.sql(
        "with claimed as materialized (
            select * from bus_claim('w', array['example/echo/0/acme'], 1))
        select bus_settle('w', jsonb_build_array(jsonb_build_object('id', id, 'lease', lease,
            'outcome', 'done', 'events', jsonb_build_array(jsonb_build_object('event_type', 'echo_done')))))
        from claimed",
    );
    let mut ended = None;
    eventually("the example ends", || {
        ended = watch.ended();
        ended.is_some()
    })
    .await;
    let told = watch.log();
    assert!(ended.unwrap().success() && told.contains("echo_done"), "{told}");
    assert!(told.contains("at rest"), "{told}");
}

const WORKERS: [&str; 5] =
    ["agent-core", "executor-dispatcher", "codegen-worker", "buildtest-worker", "bus-keeper"];

/// Long enough for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn workers_that_know_nothing_but_the_url_and_the_key_turn_an_intent_into_tested_code() {
    let place = Place::new();
    let dev = place.dev(&["--only", "rest,realtime,functions"]);
    let env = place.env();
    let artifacts = tempfile::tempdir().unwrap();
    let cogo = |arguments: &[&str]| {
        let mut cogo = Command::new(env!("CARGO_BIN_EXE_cogo"));
        cogo.args(arguments);
        for name in ["SUPABASE_URL", "SUPABASE_SECRET_KEY"] {
            cogo.env(name, &env[name]);
        }
        cogo
    };
    // Nothing of our environment but PATH and HOME.
    let workers = WORKERS.map(|name| {
        let started = Program::start(|_| {
            let mut worker = cogo(&["run", name]);
            worker.env("ARTIFACTS_BASE", artifacts.path()).env("PORT", &place.port);
            Ok(worker)
        });
        (name, started.unwrap())
    });
    let logs = || -> String {
        workers.iter().map(|(name, worker)| format!("{name}:\n{}\n", worker.log())).collect()
    };
    let ask = |arguments: &[&str]| -> Value {
        let said: Said =
            cogo(&[arguments, &["--output", "json"]].concat()).output().unwrap().into();
        assert_eq!(said.code, Some(0), "{}{}\n{}", said.out, said.err, logs());
        serde_json::from_str(&said.out).unwrap()
    };

    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail-with-body", "--noproxy", "*"]);
    curl.arg("-d")
        .arg(json!({ "intent": "hello", "payload": { "template": "hello" } }).to_string());
    curl.args(["-H", "Content-Type: application/json", "-H"]);
    curl.arg(format!("Authorization: Bearer {}", env["SUPABASE_SECRET_KEY"]));
    let said: Said =
        curl.arg(format!("{}/functions/v1/intents", env["SUPABASE_URL"])).output().unwrap().into();
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let accepted: Value = serde_json::from_str(&said.out).unwrap();
    let trace = accepted["trace_id"].as_str().unwrap();

    let since = SystemTime::now();
    let history = loop {
        let history = ask(&["trace", trace]);
        let closed = |event: &Value| event["event_type"] == "execute_done";
        if history["events"].as_array().unwrap().iter().any(closed) {
            break history;
        }
        assert!(since.elapsed().unwrap() < PATIENCE, "{history:#}\n{}", logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let stages: Vec<_> = history["messages"].as_array().unwrap().iter().collect();
    assert_eq!(stages.len(), 4, "{history:#}");
    assert!(stages.iter().all(|stage| stage["status"] == "done"), "{history:#}");
    let tested = |event: &&Value| event["event_type"] == "buildtest_done";
    let tested = history["events"].as_array().unwrap().iter().find(tested).unwrap();
    assert_eq!(tested["payload"]["passed"], true, "{tested}");
    for (name, worker) in &workers {
        if *name != "bus-keeper" {
            let log = worker.log();
            assert!(log.contains("hearing of messages over Realtime"), "{name}: {log}");
        }
        assert!(!worker.log().contains(&env["SUPABASE_SECRET_KEY"]), "{name}");
    }
    drop(workers);
    dev.signal(Signal::SIGINT);
    assert_eq!(dev.ended(), Some(0));
}
