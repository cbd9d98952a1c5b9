//! However a command is ended, nothing of it is left: not a process, not a file.

use std::time::Duration;

use bus::Cancelled;
use serde_json::{Value, json};

use crate::hall::{Hall, nap, running, until_running};

/// Ignores what it can, and has children that do so too, one of them in a session of its own.
fn stubborn(nap: &str) -> Value {
    let script = format!(
        "trap '' TERM INT HUP; sleep {nap} & setsid sh -c 'trap \"\" TERM; sleep {nap} & sleep {nap}' & \
         touch made; while :; do sleep {nap}; done"
    );
    json!({ "command": ["sh", "-c", script], "timeout": "1h" })
}

const LONG: u64 = 3_600_000;

#[tokio::test]
async fn cancelling_ends_the_whole_tree_whatever_it_ignores() {
    let hall = Hall::new().await;
    let nap = nap();
    let mut working = hall.start_with(&stubborn(&nap));
    let id = hall.ask_agent(json!({ "ttl_ms": LONG })).await;
    until_running(&nap, 4).await;
    assert_eq!(hall.bus.cancel(id.try_into().unwrap(), "enough").await.unwrap(), Cancelled::Asked);
    hall.until_status(id, "cancelled").await;
    assert_eq!(running(&nap), Vec::<String>::new());
    hall.assert_swept();
    let kinds: Vec<String> = hall.events(id).await.into_iter().map(|(kind, _)| kind).collect();
    assert!(!kinds.contains(&"codegen_failed".to_owned()), "{kinds:?}");
    working.stops().await;
}

#[tokio::test]
async fn a_shutdown_ends_it_too_and_the_message_goes_back_unharmed() {
    let hall = Hall::new().await;
    let nap = nap();
    let file = json!({ "executors": { "agent": stubborn(&nap) } }).to_string();
    let mut working = hall.start(&[hall.executors(&file), "--worker-grace=10ms".to_owned()]);
    let id = hall.ask_agent(json!({ "ttl_ms": LONG })).await;
    until_running(&nap, 4).await;
    working.stops().await;
    assert_eq!(running(&nap), Vec::<String>::new());
    hall.until_status(id, "queued").await;
    let attempts = format!("select attempts from public.agent_messages where id = {id}");
    assert_eq!(hall.text(&attempts).await.unwrap(), "0", "a shutdown spends no attempt");
    hall.assert_swept();
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_and_tried_again() {
    let hall = Hall::new().await;
    let nap = nap();
    let mut agent = stubborn(&nap);
    agent["timeout"] = json!("300ms");
    let mut working = hall.start_with(&agent);
    let id = hall.ask_agent(json!({ "ttl_ms": LONG })).await;
    let said = hall.letter(id).await;
    assert_eq!(said, "attempts_exhausted, 3, command_timeout: the command took longer than 300ms");
    assert_eq!(running(&nap), Vec::<String>::new());
    working.stops().await;
    hall.assert_swept();
}

#[tokio::test]
async fn an_assignment_s_time_ends_it_for_good() {
    let hall = Hall::new().await;
    let nap = nap();
    let mut working = hall.start_with(&stubborn(&nap));
    let id = hall.ask_agent(json!({ "ttl_ms": 1500 })).await;
    let said = hall.letter(id).await;
    assert_eq!(said, "ttl_exceeded, 1, the time that the assignment gives (ttl_ms) is over");
    assert_eq!(running(&nap), Vec::<String>::new());
    working.stops().await;
    hall.assert_swept();
}

#[tokio::test]
async fn a_lease_that_was_lost_ends_it_as_well() {
    let hall = Hall::new().await;
    let nap = nap();
    hall.run("update public.bus_routes set lease = '1 s'").await;
    let mut working = hall.start_with(&stubborn(&nap));
    let id = hall.ask_agent(json!({ "ttl_ms": LONG })).await;
    until_running(&nap, 4).await;
    // Somebody else settles it, as after a long silence of ours.
    hall.run(&format!("delete from cogo.leases where id = {id}")).await;
    let waiting = async {
        while !running(&nap).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::hall::TOO_LONG, waiting).await.expect("it runs on");
    working.stops().await;
    hall.assert_swept();
}
