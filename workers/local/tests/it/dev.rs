use std::io::BufReader;
use std::net::TcpListener;
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::place::{Dev, Place, lives};
use crate::running::{Said, eventually};

const FEW: &[&str] = &["--only", "bus-keeper,probe"];

#[tokio::test]
async fn the_stack_works_stops_without_a_trace_and_finds_its_data_again() {
    let place = Place::new();
    let mut dev = place.dev(FEW);
    let said = place.ask(&["bus", "send", "cogo/probe/0", "{\"text\": \"hello\"}", "--wait"]);
    assert_eq!((said.code, said.out.lines().last()), (Some(0), Some("hello")), "{}", said.err);
    let postmaster = place.postmaster();
    dev.signal(Signal::SIGINT);
    dev.hears("stopped; the data stays");
    assert_eq!(dev.ended(), Some(0));
    assert!(!lives(postmaster), "no Postgres is left behind");

    let again = place.dev(FEW);
    let said = place.ask(&["trace", "1"]);
    assert!(said.code == Some(0) && said.out.contains("probe_done"), "{}{}", said.out, said.err);
    again.signal(Signal::SIGTERM);
    assert_eq!(again.ended(), Some(0));
}

#[tokio::test]
async fn events_are_shown_as_they_happen() {
    let place = Place::new();
    let shown = tempfile::NamedTempFile::new().unwrap();
    let mut command = place.command(&[&["dev"], FEW].concat());
    command.stdin(Stdio::null()).stdout(shown.reopen().unwrap()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap());
    let mut dev = Dev { child, lines };
    dev.hears("Events as they happen");
    place.ask(&["bus", "send", "cogo/probe/0", "{\"text\": \"hello\"}"]);
    eventually("the event is shown", || {
        let text = std::fs::read_to_string(shown.path()).unwrap();
        text.lines()
            .any(|line| line.contains("probe_done") && line.contains("{\"text\":\"hello\"}"))
    })
    .await;
}

#[tokio::test]
async fn postgres_stops_by_itself_when_the_stack_is_killed_or_hurried() {
    let place = Place::new();
    let dev = place.dev(FEW);
    let postmaster = place.postmaster();
    dev.signal(Signal::SIGKILL);
    assert_eq!(dev.ended(), None);
    eventually("Postgres stops", || !lives(postmaster)).await;

    let dev = place.dev(FEW);
    let postmaster = place.postmaster();
    dev.signal(Signal::SIGINT);
    dev.signal(Signal::SIGINT);
    let code = dev.ended();
    assert!([Some(130), Some(0)].contains(&code), "{code:?}");
    eventually("Postgres stops", || !lives(postmaster)).await;
}

#[tokio::test]
async fn the_same_folder_twice_is_refused_with_the_way_out() {
    let place = Place::new();
    let dev = place.dev(FEW);
    let said = place.refused(&["dev"]);
    assert_eq!(said.code, Some(1));
    let pid = dev.child.id();
    // The lines are broken to the width of a terminal.
    let told = said.err.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [format!("runs already, as process {pid}"), format!("stop it with `kill {pid}`")] {
        assert!(told.contains(&part), "{told}");
    }
}

#[test]
fn a_worker_that_fails_stops_everything_and_is_named() {
    let place = Place::new();
    let mut command = place.command(&["dev", "--only", "bus-keeper,probe"]);
    // A probe is not what this says it must be.
    let said: Said = command.env("AGENT_SERVICE", "codegen").output().unwrap().into();
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("probe failed"), "{}", said.err);
    assert!(!place.data().join("postgres/data/postmaster.pid").exists());
}

#[test]
fn wrong_names_and_settings_are_refused_before_anything_starts() {
    let place = Place::new();
    let said = place.refused(&["dev", "--only", "prob"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.err.contains("there is no part or worker prob, did you mean probe?"),
        "{}",
        said.err
    );
    let said = place.refused(&["dev", "--only", "probe", "--except", "probe"]);
    assert_eq!(said.code, Some(2));
    assert!(!place.data().exists());
}

#[test]
fn a_port_of_the_api_that_is_in_use_is_named_with_the_way_out() {
    let place = Place::new();
    let taken = TcpListener::bind(("127.0.0.1", place.port.parse().unwrap())).unwrap();
    let said = place.refused(&["dev"]);
    assert_eq!(said.code, Some(1));
    let pid = std::process::id();
    assert!(said.err.contains(&format!("(process {pid})")), "{}", said.err);
    assert!(said.err.contains("--port"), "{}", said.err);
    assert!(!place.data().exists(), "nothing was begun");
    drop(taken);
}
