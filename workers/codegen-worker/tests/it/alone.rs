//! The worker as a program of its own, with the variables that a pod gives it.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::hall::{Hall, TOO_LONG, nap, running, until_running};

fn program(hall: &Hall) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codegen-worker"));
    command
        .env("AGENT_SERVICE", "codegen")
        .env("AGENT_ROLE", "generate")
        .env("AGENT_SHARD", "0")
        .env("DATABASE_URL", hall.test.url())
        .env("ARTIFACTS_BASE", hall.path("store"))
        .env("SANDBOX_WORKSPACES", hall.path("workspaces"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn it_runs_on_its_own_and_says_no_secret_in_its_log() {
    let hall = Hall::new().await;
    let agent = json!({ "executors": { "agent": {
        "command": ["sh", "-c", "echo \"it is $KEY\"; echo \"it is $KEY\" >&2; touch made; exit 1"],
        "env": { "secrets": { "KEY": "env:AGENT_KEY" } },
    } } });
    hall.executors(&agent.to_string());
    let mut running = program(&hall)
        .env("CODEGEN_EXECUTORS", hall.path("executors.yaml"))
        .env("AGENT_KEY", "hunter2hunter2")
        .env("COGO_LOG", "debug")
        .spawn()
        .unwrap();
    let good = hall.ask(json!({ "executor": "template", "template": "hello" })).await;
    hall.until_status(good, "done").await;
    let bad = hall.ask_agent(json!({})).await;
    assert!(hall.letter(bad).await.contains("it is ***"));
    let pid = running.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    let status = tokio::task::spawn_blocking(move || {
        let mut log = String::new();
        running.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        running.stdout.take().unwrap().read_to_string(&mut log).unwrap();
        (running.wait().unwrap(), log)
    });
    let (status, log) = status.await.unwrap();
    assert!(status.success(), "{log}");
    assert!(log.contains("could not make code") && log.contains("***"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    hall.assert_swept();
}

#[tokio::test]
async fn variables_that_contradict_it_are_refused() {
    let hall = Hall::new().await;
    for (name, value, said) in [
        ("AGENT_ROLE", "review", "this worker serves codegen/generate, and not codegen/review"),
        ("AGENT_SERVICE", "code", "this worker serves codegen/generate, and not code/generate"),
        ("AGENT_SHARD", "first", "`first` does not name shards"),
        ("ARTIFACTS_BASE", "ftp://a", "is not a place for artifacts"),
        ("CODEGEN_EXECUTORS", "/nowhere", "could not read CODEGEN_EXECUTORS"),
        ("CODEGEN_TEMPLATES", "/nowhere", "could not read CODEGEN_TEMPLATES"),
    ] {
        let ended = program(&hall).env(name, value).output().unwrap();
        let log = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && log.contains(said), "{name}: {log}");
    }
}

#[tokio::test]
async fn killed_at_once_it_leaves_no_process_and_the_next_one_clears_up_and_finishes() {
    let hall = Hall::new().await;
    let nap = nap();
    let script = format!("trap '' TERM; touch made; test -e $0 || sleep {nap}");
    let flag = hall.path("flag");
    let agent = json!({ "executors": { "agent": {
        "command": ["sh", "-c", script, flag], "timeout": "1h", "readable": [hall.folder.path()],
    } } });
    hall.executors(&agent.to_string());
    hall.run("update public.bus_routes set lease = '1 s'").await;
    let start = || {
        let mut command = program(&hall);
        command.env("CODEGEN_EXECUTORS", hall.path("executors.yaml"));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut first = start();
    let id = hall.ask_agent(json!({ "ttl_ms": 3_600_000 })).await;
    until_running(&nap, 1).await;
    first.kill().unwrap();
    first.wait().unwrap();
    let waiting = async {
        while !running(&nap).is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TOO_LONG, waiting).await.expect("it outlives its worker");
    std::fs::write(flag, "").unwrap();
    let mut second = start();
    let swept = "select public.bus_sweep('keeper') is not null";
    let done = format!("select status = 'done' from public.agent_messages where id = {id}");
    let waiting = async {
        while hall.text(&done).await.as_deref() != Some("true") {
            hall.text(swept).await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(TOO_LONG, waiting).await.expect("nobody finishes it");
    let next = format!("select count(*) from public.agent_messages where parent_id = {id}");
    assert_eq!(hall.text(&next).await.unwrap(), "1");
    assert!(Command::new("kill").arg(second.id().to_string()).status().unwrap().success());
    assert!(second.wait().unwrap().success());
    hall.assert_swept();
}
