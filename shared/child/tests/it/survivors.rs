//! What is left when we are killed. The one who is killed is this very test program, started again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use child::{ChildSettings, Sandbox, Wanted};

use crate::ending::we_are_root;
use crate::room::{Sleeper, TOO_LONG, shell};

const RUN: &str = "survivors::runs_what_it_is_told_until_it_is_killed";

#[tokio::test]
async fn nothing_is_left_when_we_are_killed() {
    for layer in [Wanted::Bubblewrap, Wanted::Namespaces, Wanted::None] {
        for escape in ["SLEEP", "setsid SLEEP", "trap '' TERM; SLEEP", "env -i setsid SLEEP"] {
            if escape.contains("env") && layer == Wanted::None {
                // Its user ends it if it has one of its own, but only at the next start.
                continue;
            }
            let sleeper = Sleeper::new();
            let escape = escape.replace("SLEEP", sleeper.command());
            let folder = tempfile::Builder::new()
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .tempdir_in("/var/tmp")
                .unwrap();
            let mut ours = Command::new(std::env::current_exe().unwrap())
                .args([RUN, "--exact", "--ignored", "--nocapture", "--test-threads", "1"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut told = ours.stdin.take().unwrap();
            let order =
                format!("{layer}\n{}\n{escape} & {}\n", folder.path().display(), sleeper.command());
            told.write_all(order.as_bytes()).unwrap();
            let mut said = BufReader::new(ours.stdout.take().unwrap()).lines();
            let answer = said.find_map(|line| {
                let line = line.unwrap();
                ["begun", "does not work"].into_iter().find(|answer| line.contains(answer))
            });
            if answer == Some("does not work") {
                eprintln!("not tested under {layer}");
                ours.wait().unwrap();
                continue;
            }
            assert_eq!(answer, Some("begun"));
            while sleeper.running() < 2 {
                tokio::task::yield_now().await;
            }
            // SIGKILL.
            ours.kill().unwrap();
            ours.wait().unwrap();
            let gone = async {
                while sleeper.running() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            let gone = tokio::time::timeout(TOO_LONG, gone).await;
            assert!(gone.is_ok(), "under {layer}: {escape}");
            eprintln!("under {layer}: {escape}");

            // And its folder goes when the next one starts.
            let left = || std::fs::read_dir(base(&folder)).unwrap().count();
            assert_eq!(left(), 1);
            let settings = crate::room::settings(Wanted::None, &folder);
            let _next = Sandbox::start(&settings).await.unwrap();
            assert_eq!(left(), 0);
        }
    }
}

#[tokio::test]
async fn a_process_known_only_by_its_user_is_ended_at_the_next_start() {
    if !we_are_root() {
        return;
    }
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in("/var/tmp")
        .unwrap();
    let sleeper = Sleeper::new();
    let settings = crate::room::settings(Wanted::None, &folder);
    let sandbox = Sandbox::start(&settings).await.unwrap();
    drop(sandbox);
    let dead = base(&folder).join("at-0123-abcd");
    std::fs::create_dir_all(dead.join("work")).unwrap();
    std::fs::write(dead.join("lock"), "").unwrap();
    std::os::unix::fs::chown(dead.join("work"), Some(61_999), None).unwrap();
    let mut left = Command::new("setpriv")
        .args(["--reuid", "61999", "--clear-groups"])
        .args(sleeper.command().split(' '))
        .spawn()
        .unwrap();
    while sleeper.running() == 0 {
        tokio::task::yield_now().await;
    }
    let _next = Sandbox::start(&settings).await.unwrap();
    left.wait().unwrap();
    assert_eq!(sleeper.running(), 0);
}

fn base(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join(format!("cogo-{}", nix::unistd::geteuid()))
}

/// Not a test of its own: reads a layer, a folder and a script, and runs it.
#[tokio::test]
#[ignore = "the test above starts and kills it"]
async fn runs_what_it_is_told_until_it_is_killed() {
    let mut lines = std::io::stdin().lock().lines().map(Result::unwrap);
    let mut next = || lines.next().unwrap();
    let (layer, folder, script) = (next(), next(), next());
    let settings = ChildSettings {
        sandbox: clap::ValueEnum::from_str(&layer, false).unwrap(),
        sandbox_workspaces: folder.into(),
        ..ChildSettings::default()
    };
    let Ok(sandbox) = Sandbox::start(&settings).await else {
        println!("does not work");
        return;
    };
    let workspace = sandbox.workspace().unwrap();
    println!("begun");
    let child = shell(&workspace, &script);
    workspace.run(child, |_, _| {}, std::future::pending()).await.unwrap();
}
