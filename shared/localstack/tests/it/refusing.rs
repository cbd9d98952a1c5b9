use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use localstack::{Binaries, StackError, StackSettings};
use miette::Diagnostic;

use crate::holder::Place;

fn help(error: &StackError) -> String {
    error.help().map(|help| help.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn a_second_start_on_one_folder_is_refused_with_the_first_ones_pid() {
    let place = Place::new();
    let first = place.start_elsewhere();
    let refused = place.start().await.unwrap_err();
    assert!(refused.to_string().contains(&format!("as process {}", first.pid())), "{refused}");
    assert!(help(&refused).contains(&format!("`kill {}`", first.pid())), "{}", help(&refused));
    first.kill();
    // The folder is free as soon as its holder is dead, also when its server is still stopping.
    place.start().await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_user_and_leaves_nothing_behind() {
    let place = Place::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, place.settings.pg_port())).unwrap();
    let refused = place.start().await.unwrap_err();
    assert!(matches!(refused, StackError::Port(_)), "{refused:?}");
    assert!(
        refused.to_string().contains(&format!("(process {})", std::process::id())),
        "{refused}"
    );
    assert!(help(&refused).contains("`--pg-port PORT`"));
    drop(taken);
    place.start().await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn data_of_another_version_is_refused_and_left_alone() {
    let place = Place::new();
    place.start().await.unwrap().stop().await.unwrap();
    let version = place.data().join("postgres/data/PG_VERSION");
    fs::write(&version, "9\n").unwrap();
    let refused = place.start().await.unwrap_err();
    assert!(
        refused.to_string().contains("was made by Postgres 9, and here is Postgres"),
        "{refused}"
    );
    assert!(help(&refused).contains("--pg-bin"));
    fs::write(&version, format!("{}\n", Binaries::find().unwrap().version())).unwrap();
    place.start().await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_missing_postgres_is_said_with_the_way_to_get_one() {
    let mut place = Place::new();
    place.settings.pg_bin = Some(PathBuf::from("/nowhere"));
    let refused = place.start().await.unwrap_err();
    assert!(
        refused.to_string().contains("Postgres is not installed; run `make setup`"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let place = Place::new();
    fs::write(place.data(), "a file").unwrap();
    let refused = place.start().await.unwrap_err();
    assert!(refused.to_string().contains(&place.data().display().to_string()), "{refused}");
    let long =
        StackSettings { data: Some(PathBuf::from("x".repeat(90))), ..place.settings.clone() };
    let folder = long.folder("cogo").unwrap();
    let refused = localstack::Stack::start(&long, folder, |_| {}).await.unwrap_err();
    assert!(matches!(refused, StackError::LongPath { .. }), "{refused:?}");
}

#[tokio::test]
async fn as_root_a_folder_that_postgres_cannot_reach_is_refused() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let closed = tempfile::Builder::new().prefix("cogo-stack-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let settings =
        StackSettings { data: Some(closed.path().join("data")), ..StackSettings::default() };
    let folder = settings.folder("cogo").unwrap();
    let refused = localstack::Stack::start(&settings, folder, |_| {}).await.unwrap_err();
    assert!(matches!(refused, StackError::OutOfReach { .. }), "{refused:?}");
}

#[tokio::test]
async fn keys_that_are_not_whole_are_not_used() {
    let place = Place::new();
    let stack = place.start().await.unwrap();
    let file = stack.keys().file.clone();
    stack.stop().await.unwrap();
    fs::write(&file, "SUPABASE_SECRET_KEY=\n").unwrap();
    let refused = place.start().await.unwrap_err();
    assert!(matches!(refused, StackError::Damaged { .. }), "{refused:?}");
}
