use std::fs;
use std::os::unix::fs::PermissionsExt;

use localstack::Stack;

use crate::holder::{Place, connect, lives};

#[tokio::test]
async fn what_was_kept_is_found_again_by_the_next_start() {
    let place = Place::new();
    let stack = place.start().await.unwrap();
    let client = connect(&stack.url()).await;
    client.batch_execute("create table kept (n int); insert into kept values (7)").await.unwrap();
    let url = stack.url();
    let postmaster = place.postmaster();
    stack.stop().await.unwrap();
    assert!(!lives(postmaster), "the server is gone when `stop` returns");
    assert!(client.batch_execute("select 1").await.is_err());

    let again = place.start().await.unwrap();
    assert_eq!(again.url(), url, "the password is made once");
    let row = connect(&url).await.query_one("table kept", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    again.stop().await.unwrap();
}

#[tokio::test]
async fn another_port_the_next_time_is_no_trouble() {
    let mut place = Place::new();
    place.start().await.unwrap().stop().await.unwrap();
    place.settings.pg_port = Some(localstack::free_port().unwrap());
    let stack = place.start().await.unwrap();
    connect(&stack.url()).await.batch_execute("select 1").await.unwrap();
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_secret_is_readable_by_its_owner_alone() {
    let place = Place::new();
    let stack = place.start().await.unwrap();
    let keys = stack.keys();
    let mode = fs::metadata(&keys.file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let home = fs::metadata(place.data().join("postgres")).unwrap().permissions().mode();
    assert_eq!(home & 0o777, 0o700, "its socket believes whoever gets there");
    let shown = format!("{stack:?}");
    for (name, secret) in keys.named() {
        assert!(!shown.contains(secret.expose()), "{name}");
    }
    assert!(!shown.contains(keys.authenticator_password.expose()));
    assert!(keys.secret_key.expose().starts_with("sb_secret_"));
    let wrong = stack.url().replacen("postgres:", "postgres:x", 2).replacen(
        "postgres:x//",
        "postgres://",
        1,
    );
    assert!(
        tokio_postgres::connect(&wrong, tokio_postgres::NoTls).await.is_err(),
        "it asks for it"
    );
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_of_an_earlier_version_gets_the_keys_it_lacks_and_keeps_the_others() {
    let place = Place::new();
    let stack = place.start().await.unwrap();
    let (url, file) = (stack.url(), stack.keys().file.clone());
    stack.stop().await.unwrap();
    let whole = fs::read_to_string(&file).unwrap();
    let old: Vec<&str> = whole.lines().take(4).collect();
    fs::write(&file, old.join("\n")).unwrap();

    let stack = place.start().await.unwrap();
    assert_eq!(stack.url(), url, "the database knows its password");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(&old.join("\n")), "nothing of it is touched");
    let names = |text: &str| {
        let names = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&text), names(&whole));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        connect(&url).await.query_one("show wal_level", &[]).await.unwrap().get::<_, &str>(0),
        "logical"
    );
    stack.stop().await.unwrap();
    let stack = place.start().await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), text, "made once");
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn others_are_told_what_runs_for_as_long_as_it_does() {
    let place = Place::new();
    assert_eq!(Stack::running(&place.data()), None);
    let mut stack = place.start().await.unwrap();
    stack.announce("http://127.0.0.1:3000").unwrap();
    stack.announce_gateway("http://127.0.0.1:54321").unwrap();
    let running = Stack::running(&place.data()).unwrap();
    assert_eq!((running.pid, running.pg_port), (std::process::id(), place.settings.pg_port()));
    assert_eq!(running.api.as_deref(), Some("http://127.0.0.1:3000"));
    assert_eq!(running.gateway.as_deref(), Some("http://127.0.0.1:54321"));
    let keys = Stack::keys_of(&place.data()).unwrap();
    assert_eq!(Stack::url_of(&keys, running.pg_port), stack.url());
    stack.stop().await.unwrap();
    assert_eq!(Stack::running(&place.data()), None);
}

#[tokio::test]
async fn a_server_that_dies_by_itself_is_noticed() {
    let place = Place::new();
    let mut stack = place.start().await.unwrap();
    crate::holder::signal(place.postmaster(), nix::sys::signal::Signal::SIGINT);
    let told = stack.died().await.to_string();
    assert!(told.contains("database system is shut down"), "{told}");
    stack.stop().await.unwrap();
}
