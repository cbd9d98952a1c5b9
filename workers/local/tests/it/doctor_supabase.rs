use standin::Awkward;
use testkit::{Supabase, TestDb};

use crate::running::{Cogo, Said, eventually};

// On several threads: what stands in for Supabase runs in the test's process, which waits for `cogo`.

/// The lines of a check: their mark, what was found and, behind it, what to do.
fn lines(said: &Said, check: &str) -> Vec<String> {
    let named = format!("{check}  ");
    let mut lines = said.out.lines().peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let mut line = line.to_owned();
        if !line.chars().skip(2).collect::<String>().starts_with(&named) {
            continue;
        }
        while let Some(fix) = lines.next_if(|line| line.starts_with(' ')) {
            line.push(' ');
            line.push_str(fix.trim());
        }
        found.push(line);
    }
    found
}

#[track_caller]
fn told(said: &Said, mark: char, check: &str, words: &[&str]) {
    let lines = lines(said, check);
    let fits =
        |line: &&String| line.starts_with(mark) && words.iter().all(|words| line.contains(words));
    let Said { out, err, .. } = said;
    assert!(lines.iter().any(|line| fits(&line)), "no {mark} {check} {words:?} in\n{out}{err}");
    assert_eq!(said.code == Some(1), out.contains('✗'), "{out}");
}

async fn run(test: &TestDb, sql: &str) {
    test.client().await.batch_execute(sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_bus_is_well_without_a_connection_to_its_database() {
    let test = testkit::database().await;
    let supabase = Supabase::start(&test).await;
    let cogo = Cogo::over(&supabase);
    let _keeper = Cogo::at(&test).start(&["run", "bus-keeper"]);
    eventually("all is well", || cogo.run(&["doctor"]).code == Some(0)).await;

    let said = cogo.run(&["doctor"]);
    told(&said, '✓', "keys", &["the project knows our key"]);
    told(&said, '✓', "migrations", &["as this program needs"]);
    told(&said, '✓', "clocks", &["agree within"]);
    told(&said, '✓', "session mode", &["workers are rung over Realtime"]);
    told(&said, '✓', "row security", &["on and forced"]);
    told(&said, '✓', "schemas", &["`cogo` is not exposed"]);
    told(&said, '✓', "realtime setup", &["realtime.send", "policy on realtime.messages"]);
    told(&said, '✓', "realtime", &["a ring comes back over it in", "ms"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_connection_to_the_database_realtime_is_looked_at_as_well() {
    let test = testkit::database().await;
    let supabase = Supabase::start(&test).await;
    let said = Cogo::over(&supabase).with("DATABASE_URL", &test.url()).run(&["doctor"]);
    told(&said, '✓', "doorbell", &["a ring comes back in"]);
    told(&said, '✓', "schemas", &["is not exposed"]);
    told(&said, '✓', "realtime", &["a ring comes back over it in"]);

    let wrong = Cogo::over(&supabase).with("SUPABASE_SECRET_KEY", "sb_secret_wrong");
    let said = wrong.with("DATABASE_URL", &test.url()).run(&["doctor"]);
    told(&said, '✓', "connection", &[]);
    told(&said, '✗', "schemas", &["refused our key", "SUPABASE_SECRET_KEY"]);
    told(&said, '✗', "realtime", &["refused the connection with HTTP 401"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_work_is_the_one_thing_that_is_wrong() {
    let test = testkit::database().await;
    let supabase = Supabase::start(&test).await;
    for (key, why) in [
        ("sb_secret_wrong", "refused our key"),
        (supabase.publishable_key().expose(), "is a publishable key"),
        (supabase.anon_key().expose(), "may not do what workers do"),
        ("two words", "holds a character that no key has"),
    ] {
        let said = Cogo::over(&supabase).with("SUPABASE_SECRET_KEY", key).run(&["doctor"]);
        told(&said, '✗', "keys", &[why, "SUPABASE_SECRET_KEY", "secret key"]);
        assert!(said.out.ends_with("one thing is wrong\n"), "{}", said.out);
        assert!(!said.out.contains(key), "{}", said.out);
    }
    let said = Cogo::nowhere().with("SUPABASE_URL", &supabase.url()).run(&["doctor"]);
    told(&said, '✗', "keys", &["SUPABASE_SECRET_KEY is not"]);
}

#[test]
fn a_project_that_is_not_there_is_the_one_thing_that_is_wrong() {
    let nowhere = Cogo::nowhere().with("SUPABASE_SECRET_KEY", "sb_secret_abc");
    let said = nowhere.with("SUPABASE_URL", "http://127.0.0.1:1").run(&["doctor"]);
    told(&said, '✗', "connection", &["could not reach Supabase at 127.0.0.1:1", "SUPABASE_URL"]);
    assert!(said.out.ends_with("one thing is wrong\n"), "{}", said.out);
    let nonsense = Cogo::nowhere().with("SUPABASE_SECRET_KEY", "sb_secret_abc");
    let said = nonsense.with("SUPABASE_URL", "https://h/rest/v1").run(&["doctor"]);
    told(&said, '✗', "project", &["leave out the path", "as in https://abc.supabase.co"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_realtime_lacks_in_the_database_is_named_with_how_to_make_it() {
    let test = testkit::database().await;
    let supabase = Supabase::start(&test).await;
    run(
        &test,
        "drop policy cogo_clients_listen on realtime.messages;
         drop trigger tell_watchers on public.bus_events;
         alter publication supabase_realtime drop table cogo.agent_messages",
    )
    .await;
    let (cogo, setup) = (Cogo::over(&supabase), "realtime setup");
    let said = cogo.run(&["doctor"]);
    let attach = "→ select cogo.attach_realtime()";
    told(&said, '✗', setup, &["missing: policy on realtime.messages", attach]);
    told(&said, '✗', setup, &["missing: trigger on bus_events", attach]);
    told(&said, '!', setup, &["missing: cogo.agent_messages in publication", attach]);
    told(&said, '✓', "realtime", &["a ring comes back"]);
    let said = cogo.run(&["doctor", "--bus-doorbell", "postgres-changes"]);
    told(&said, '✗', setup, &["missing: cogo.agent_messages in publication", attach]);

    run(&test, "select cogo.attach_realtime()").await;
    told(&cogo.run(&["doctor"]), '✓', setup, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realtime_that_does_not_ring_is_found_and_why() {
    let test = testkit::database().await;
    let supabase = Supabase::start(&test).await;
    let cogo = Cogo::over(&supabase);
    // As long as the gateway and PostgREST live, only this is wrong.
    drop(supabase.realtime);
    let said = cogo.run(&["doctor"]);
    told(&said, '✓', "keys", &[]);
    told(&said, '✗', "realtime", &["HTTP 503", "may pass"]);

    let lossy = Awkward { lost_partition: true, ..Awkward::default() };
    let test = testkit::database().await;
    let supabase = Supabase::with(&test, lossy).await;
    let said = Cogo::over(&supabase).run(&["doctor"]);
    told(&said, '✗', "realtime", &["heard nothing for 5 s", "partition for today"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_compared_by_the_newest() {
    let test = testkit::database().await;
    let supabase = Supabase::start(&test).await;
    let cogo = Cogo::over(&supabase);
    let newest = db::migrate::newest();
    let recorded = "supabase_migrations.schema_migrations";
    run(&test, &format!("insert into {recorded} (version) values ('99990101000000')")).await;
    told(&cogo.run(&["doctor"]), '✓', "migrations", &["99990101000000", "does not know"]);
    run(&test, &format!("delete from {recorded} where version >= '{newest}'")).await;
    let said = cogo.run(&["doctor"]);
    told(&said, '✗', "migrations", &["applied up to 2026", newest, "run `cogo db migrate`"]);
    run(&test, &format!("drop table {recorded}")).await;
    told(&cogo.run(&["doctor"]), '!', "migrations", &["nobody recorded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rest_api_does_not_know_or_should_not_serve_is_named() {
    let test = testkit::database().await;
    let name = test.url().rsplit('/').next().unwrap().to_owned();
    // PostgREST reads its settings from its role, too.
    let expose = "set pgrst.db_schemas = 'public, cogo'";
    standin::provide(&test.settings(), None).await.unwrap();
    run(&test, &format!("alter role authenticator in database {name} {expose}")).await;
    run(&test, "drop function public.bus_keeper()").await;
    let supabase = Supabase::start(&test).await;
    let said = Cogo::over(&supabase).run(&["doctor"]);
    told(&said, '✗', "schemas", &["schema `cogo` is exposed", "exposed schemas"]);
    told(&said, '✗', "keeper", &["bus_keeper", "notify pgrst, 'reload schema'"]);
}
