use std::collections::HashMap;
use std::path::Path;

use localstack::Part;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::supabase::Supabase;

/// What supabase-js itself makes of our answers.
#[tokio::test]
async fn supabase_js_works_and_gets_its_errors_as_objects() {
    let supabase = Supabase::start_with([Part::Rest, Part::Functions], None).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    let mut node = Command::new("node");
    node.arg(folder.join("client.mjs")).env("NODE_MODULES", testkit::node_modules(&folder));
    node.env("SUPABASE_URL", supabase.services.url());
    node.env("USER_TOKEN", supabase.token("authenticated", 600));
    node.envs(supabase.keys().named().map(|(name, key)| (name, key.expose().to_owned())));
    let output = node.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let results: HashMap<String, Value> = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|result| (result["name"].as_str().unwrap().to_owned(), result))
        .collect();

    for (name, status, data, count) in [
        ("insert", 201, json!({ "k": "a", "n": 1, "note": "none" }), json!(null)),
        ("bulk", 201, json!(null), json!(null)),
        ("upsert", 201, json!([{ "k": "d" }]), json!(null)),
        ("filtered", 206, json!([{ "k": "c", "n": 3 }]), json!(2)),
        ("head", 200, json!(null), json!(4)),
        ("update", 200, json!([{ "n": 20 }]), json!(null)),
        ("rpc", 200, json!(5), json!(null)),
        ("as_legacy", 200, json!([{ "k": "a" }]), json!(null)),
        (
            "as_user",
            200,
            json!({ "role": "authenticated", "sub": "user-1", "said": null }),
            json!(null),
        ),
    ] {
        let result = &results[name];
        let found = (&result["status"], &result["data"], &result["count"]);
        assert_eq!(found, (&json!(status), &data, &count), "{name}: {result}");
        assert_eq!(result["error"], json!(null), "{name}");
    }
    let rows = results["rows"]["data"].as_array().unwrap();
    let keys: Vec<&str> = rows.iter().map(|row| row["k"].as_str().unwrap()).collect();
    assert_eq!(keys, ["d", "b"], "{}", results["rows"]);
    let function: Value = results["function"]["data"].clone();
    assert_eq!(function["body"], r#"{"text":"hello"}"#, "{function}");

    for (name, status, code, message) in [
        ("as_anon", 401, json!("42501"), "permission denied for table things"),
        ("duplicate", 409, json!("23505"), "duplicate key value"),
        ("check", 400, json!("23514"), "not_negative"),
        ("unknown_table", 404, json!("42P01"), "nothings"),
        ("none", 406, json!("PGRST116"), "multiple (or no) rows"),
        ("raised", 409, json!("PT409"), "no"),
        ("wrong_key", 401, json!(null), "is none of this stack"),
    ] {
        let result = &results[name];
        assert_eq!(result["status"], json!(status), "{name}: {result}");
        let error = &result["error"];
        assert_eq!(error["code"], code, "{name}: {result}");
        let found = error["message"].as_str().unwrap();
        assert!(found.contains(message), "{name}: {found}");
    }
    assert_eq!(results["raised"]["error"]["details"], "because");
    supabase.stop().await;
}
