use serde_json::json;

use crate::hall::{Hall, nap, running};

#[tokio::test]
async fn a_command_over_its_budget_is_ended_as_soon_as_it_shows() {
    let hall = Hall::new().await;
    let nap = nap();
    let script = format!(
        "touch made; for tokens in 600 600; do echo \"{{\\\"t\\\":$tokens}}\"; done; trap '' TERM; sleep {nap}; sleep {nap}"
    );
    let mut working = hall.start_with(&json!({
        "command": ["sh", "-c", script],
        "timeout": "1h",
        "output": { "format": "lines", "tokens": [{ "add": "/t" }] },
    }));
    let assignment = json!({ "budget": { "maxTokens": 1000 }, "ttl_ms": 3_600_000 });
    let id = hall.ask_agent(assignment).await;
    let said = hall.letter(id).await;
    assert_eq!(
        said,
        "budget_exceeded, 1, it took 1200 tokens and $0 where the assignment allows 1000 and $0.1"
    );
    assert_eq!(running(&nap), Vec::<String>::new());
    let events = hall.events(id).await;
    let (_, failed) = events.iter().find(|(kind, _)| kind == "codegen_failed").unwrap();
    assert_eq!((&failed["usage"]["tokens"], &failed["retried"]), (&json!(1200), &json!(false)));
    working.stops().await;
    hall.assert_swept();
}

#[tokio::test]
async fn what_is_only_told_at_the_end_counts_too() {
    let hall = Hall::new().await;
    // In one object over several lines, after it has made everything.
    let script = r#"touch made; printf '{\n"result": "done",\n"cost": %s}' "$0""#;
    let yaml = |cost: &str| {
        json!({ "executors": { "agent": {
            "command": ["sh", "-c", script, cost],
            "output": { "format": "json", "cost": [{ "total": "/cost" }], "text": ["/result"] },
        } } })
        .to_string()
    };
    let mut working = hall.start(&[hall.executors(&yaml("0.25"))]);
    let over = hall.ask_agent(json!({ "budget": { "maxCostUsd": 0.2 } })).await;
    let said = hall.letter(over).await;
    assert!(said.starts_with("budget_exceeded, 1, it took 0 tokens and $0.25"), "{said}");
    let within = hall.ask_agent(json!({ "budget": { "maxCostUsd": 0.25 } })).await;
    hall.until_status(within, "done").await;
    let events = hall.events(within).await;
    let (_, done) = events.iter().find(|(kind, _)| kind == "codegen_done").unwrap();
    assert_eq!(done["usage"]["cost_usd"], 0.25);
    let (_, progress) = events.iter().find(|(kind, _)| kind == "codegen_progress").unwrap();
    assert_eq!(progress["text"], "done");
    working.stops().await;
}
