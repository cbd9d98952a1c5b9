use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::holder::{Place, connect, eventually, lives, signal};

#[tokio::test]
async fn a_server_stops_by_itself_when_its_holder_is_killed() {
    let place = Place::new();
    let holder = place.start_elsewhere();
    let postmaster = place.postmaster();
    holder.kill();
    eventually("the server stops", || !lives(postmaster)).await;
    // It was stopped, and not left to be recovered.
    assert!(!place.postmaster_pid().exists());
}

#[tokio::test]
async fn what_was_committed_survives_when_all_are_killed_at_once() {
    let place = Place::new();
    let holder = place.start_elsewhere();
    let url = {
        let keys = localstack::Stack::keys_of(&place.data()).unwrap();
        localstack::Stack::url_of(&keys, place.settings.pg_port())
    };
    let client = connect(&url).await;
    client.batch_execute("create table kept (n int); insert into kept values (7)").await.unwrap();
    signal(place.postmaster(), Signal::SIGKILL);
    holder.kill();
    assert!(place.postmaster_pid().exists(), "a killed server leaves its file behind");

    let stack = place.start().await.unwrap();
    let row = connect(&stack.url()).await.query_one("table kept", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_whose_watcher_was_killed_too_is_stopped_by_the_next_start() {
    let place = Place::new();
    let holder = place.start_elsewhere();
    let orphan = place.postmaster();
    signal(parent(orphan), Signal::SIGKILL);
    holder.kill();
    assert!(lives(orphan));

    let stack = place.start().await.unwrap();
    assert!(!lives(orphan));
    assert_ne!(place.postmaster(), orphan);
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_file_with_the_number_of_a_stranger_is_no_obstacle() {
    let place = Place::new();
    place.start().await.unwrap().stop().await.unwrap();
    // Postgres believes a number that belongs to a living process of its own user: the watcher of
    // another stack is one.
    let other = Place::new();
    let neighbour = other.start().await.unwrap();
    let stranger = parent(other.postmaster());
    let lines = format!("{stranger}\n{}\n", place.data().join("postgres/data").display());
    fs::write(place.postmaster_pid(), lines).unwrap();

    let stack = place.start().await.unwrap();
    assert!(lives(stranger), "nobody else is touched");
    stack.stop().await.unwrap();
    neighbour.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_that_was_killed_while_it_made_the_database_is_begun_anew() {
    let place = Place::new();
    let draft = place.data().join("postgres.draft/data");
    fs::create_dir_all(&draft).unwrap();
    fs::write(draft.join("PG_VERSION"), "half").unwrap();
    let stack = place.start().await.unwrap();
    assert!(!draft.exists());
    stack.stop().await.unwrap();
}

fn parent(pid: u32) -> u32 {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let status = status.unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    line.trim().parse().unwrap()
}
