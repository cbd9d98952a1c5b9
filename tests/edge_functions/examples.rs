//! What people copy works.

use std::process::{Command, Output};

use serde_json::json;

use crate::fixture::{Project, deno, root};

async fn seeded() -> Project {
    let on = Project::start().await;
    let seed = std::fs::read_to_string(root().join("supabase/seed.sql")).unwrap();
    on.run(&seed).await;
    on
}

async fn ended(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[tokio::test]
async fn the_seed_may_be_loaded_again() {
    let on = seeded().await;
    let counts = "select jsonb_build_array((select count(*) from public.agent_messages),
        (select count(*) from public.bus_routes), (select count(*) from public.intents))";
    let first = on.value(counts).await;
    let seed = std::fs::read_to_string(root().join("supabase/seed.sql")).unwrap();
    on.run(&seed).await;
    assert_eq!(on.value(counts).await, first);
    assert_eq!(
        on.value("select count(*) from public.agent_messages where tenant = 'example'").await,
        json!(2)
    );
}

#[tokio::test]
async fn a_message_is_inserted_and_watched_to_its_end_with_supabase_js() {
    let on = seeded().await;
    let mut watch = deno(&["--allow-env", "--allow-net"]);
    watch.arg(root().join("supabase/examples/watch.ts")).arg("hello from a test");
    watch.env("SUPABASE_URL", &on.url).env("TOKEN", on.user("acme"));
    watch.env("SUPABASE_ANON_KEY", on.token(&json!({ "role": "anon" })));
    let work = async {
        let queued = "select count(*) from public.agent_messages where tenant = 'acme'";
        while on.value(queued).await == json!(0) {
            tokio::task::yield_now().await;
        }
        on.end("example/echo/0/acme", "done").await;
    };
    let (output, ()) = tokio::join!(ended(watch), work);
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    for line in ["trace ", "echo_done", "at rest"] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let payload = on.value("select payload from public.agent_messages where tenant = 'acme'").await;
    assert_eq!(payload, json!({ "text": "hello from a test" }));
}

#[tokio::test]
async fn an_intent_is_enqueued_with_curl_by_token_and_by_signature() {
    let on = seeded().await;
    for (name, value) in [
        ("TOKEN", on.user("acme")),
        ("COGO_INTENTS_SECRET", crate::fixture::WEBHOOK_SECRET.to_owned()),
    ] {
        let mut enqueue = Command::new(root().join("supabase/examples/enqueue.sh"));
        enqueue.arg("hello").env("FUNCTIONS_URL", &on.functions).env(name, value);
        let output = ended(enqueue).await;
        let told = text(&output);
        assert!(output.status.success() && told.contains("trace_id"), "{name}: {told}");
    }
    let tenants = "select jsonb_agg(tenant order by id) from public.agent_messages where service = 'orchestrator'";
    assert_eq!(on.value(tenants).await, json!(["acme", "default"]));
}

#[tokio::test]
async fn plain_sql_is_enough() {
    let on = seeded().await;
    let insert = std::fs::read_to_string(root().join("supabase/examples/insert.sql")).unwrap();
    on.run(&insert).await;
    let text = "select payload ->> 'text' from public.agent_messages order by id desc limit 1";
    assert_eq!(on.value(text).await, json!("hello from SQL"));
}
