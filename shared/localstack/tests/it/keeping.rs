use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use localstack::Part;
use nix::sys::signal::Signal;
use reqwest::Method;

use crate::holder::{Place, eventually, lives, signal};
use crate::supabase::{Supabase, client, parsed};

/// Processes that work in this folder: the program and its watcher.
fn inside(folder: &Path) -> Vec<u32> {
    let folder = folder.canonicalize().unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| lives(*pid))
        .collect()
}

fn command_line(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// Whoever is the program itself, and not the shell that watches it.
fn program(folder: &Path) -> Option<u32> {
    let mut pids = inside(folder).into_iter();
    pids.find(|pid| !command_line(*pid).starts_with("/bin/sh"))
}

#[tokio::test]
async fn a_dead_postgrest_is_said_and_started_again() {
    let supabase = Supabase::start_with([Part::Rest], None).await;
    let ask = || async {
        let answer =
            supabase.request(Method::GET, "/rest/v1/things?select=k").send().await.unwrap();
        (answer.status().as_u16(), parsed(&answer.text().await.unwrap()))
    };
    assert_eq!(ask().await.0, 200);
    let folder = supabase.place.data().join("rest");
    // Stopped, it cannot answer and cannot be started twice; its socket is still there.
    let first = program(&folder).unwrap();
    signal(first, Signal::SIGKILL);
    let began = Instant::now();
    let mut seen_down = false;
    loop {
        let (status, body) = ask().await;
        if status == 200 && seen_down {
            break;
        }
        if status != 200 {
            seen_down = true;
            // 503 of ours, or PostgREST's own while it reads the schema.
            assert!([502, 503].contains(&status), "{status}: {body}");
        }
        assert!(began.elapsed() < Duration::from_secs(30), "it never came back");
    }
    assert_ne!(program(&folder).unwrap(), first);
    let log = folder.join("log").display().to_string();
    let told = supabase.told.lock().unwrap().clone();
    assert!(told[0].contains("PostgREST ended by itself") && told[0].contains(&log), "{told:?}");
    eventually("it is told that it runs", || supabase.was_told("PostgREST runs again")).await;
    supabase.stop().await;
}

#[tokio::test]
async fn a_dead_part_is_named_with_its_log_while_it_is_down() {
    let supabase = Supabase::start_with([Part::Rest], None).await;
    let config = supabase.place.data().join("rest/postgrest.conf");
    fs::write(&config, "db-pool = \"oh\n").unwrap();
    signal(program(&supabase.place.data().join("rest")).unwrap(), Signal::SIGKILL);
    let began = Instant::now();
    loop {
        let answer = supabase.request(Method::GET, "/rest/v1/things").send().await.unwrap();
        let (status, body) = (answer.status(), parsed(&answer.text().await.unwrap()));
        if status == 503 && body["message"].as_str().unwrap().contains("PostgREST ended") {
            assert!(body["hint"].as_str().unwrap().contains("rest/log"), "{body}");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{status}: {body}");
    }
    let health = supabase.bare(Method::GET, "/health").send().await.unwrap();
    assert_eq!(health.status(), 503);
    supabase.stop().await;
}

#[tokio::test]
async fn a_killed_holder_leaves_nothing_behind_and_a_stopped_one_neither() {
    let place = Place::new();
    let (holder, port) = place.start_all_elsewhere().await;
    let answer = client().get(format!("http://127.0.0.1:{port}/health")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let folders = ["rest", "functions"].map(|name| place.data().join(name));
    let pids: Vec<u32> = folders.iter().map(|folder| program(folder).unwrap()).collect();
    let postmaster = place.postmaster();
    holder.kill();
    eventually("all of it ends", || {
        !lives(postmaster)
            && pids.iter().all(|pid| !lives(*pid))
            && folders.iter().all(|folder| inside(folder).is_empty())
    })
    .await;

    let supabase = Supabase::start_with([Part::Rest, Part::Functions], None).await;
    let folders = ["rest", "functions"].map(|name| supabase.place.data().join(name));
    assert!(folders.iter().all(|folder| program(folder).is_some()));
    supabase.stop().await;
    assert!(folders.iter().all(|folder| !folder.exists() || inside(folder).is_empty()));
}

#[tokio::test]
async fn orphans_whose_watchers_were_killed_too_are_ended_by_the_next_start() {
    let place = Place::new();
    let (holder, _) = place.start_all_elsewhere().await;
    let folder = place.data().join("rest");
    let orphan = program(&folder).unwrap();
    for pid in inside(&folder).into_iter().filter(|pid| *pid != orphan) {
        signal(pid, Signal::SIGKILL);
    }
    holder.kill();
    assert!(lives(orphan));
    let functions = crate::supabase::echo_function(&place).display().to_string();
    let port = localstack::free_port().unwrap().to_string();
    let again = place.start_elsewhere_with(&[port, functions]);
    assert!(!lives(orphan));
    again.kill();
}

#[tokio::test]
async fn no_secret_is_on_a_command_line_in_a_log_or_readable_by_others() {
    let supabase = Supabase::start_with([Part::Rest, Part::Functions], None).await;
    for path in ["/rest/v1/things?select=k", "/rest/v1/nothing", "/functions/v1/echo"] {
        supabase.request(Method::GET, path).send().await.unwrap();
    }
    let keys = supabase.keys().clone();
    let mut secrets: Vec<&str> = keys.named().iter().map(|(_, key)| key.expose()).collect();
    secrets.push(keys.authenticator_password.expose());
    let data = supabase.place.data();
    for name in ["rest", "functions"] {
        let folder = data.join(name);
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{name}");
        let log = fs::read_to_string(folder.join("log")).unwrap();
        let lines: String = inside(&folder).into_iter().map(command_line).collect();
        assert!(!lines.is_empty());
        for secret in &secrets {
            assert!(!log.contains(secret) && !lines.contains(secret), "{name}");
        }
    }
    let config = fs::metadata(data.join("rest/postgrest.conf")).unwrap().permissions().mode();
    assert_eq!(config & 0o777, 0o600);
    let shown = format!("{:?}{:?}", supabase.stack, supabase.services);
    let told = supabase.told.lock().unwrap().join("\n");
    for secret in &secrets {
        assert!(!shown.contains(secret) && !told.contains(secret));
    }
    supabase.stop().await;
}

#[tokio::test]
async fn a_function_that_ends_the_process_costs_a_moment() {
    let supabase = Supabase::start_with([Part::Functions], None).await;
    let ask = |name: &str| {
        let request = supabase.bare(Method::GET, &format!("/functions/v1/{name}"));
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(ask("crash").await, 502);
    let began = Instant::now();
    while ask("echo").await != 200 {
        assert!(began.elapsed() < Duration::from_secs(30), "it never came back");
    }
    supabase.stop().await;
}
