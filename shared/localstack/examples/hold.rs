//! Holds a local stack until it is killed, for tests that kill it:
//! `hold <folder> <port> [<gateway port> <functions folder>]`. Says `ready` on stdout when the
//! database, and what else was asked for, answers.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use db::DbSettings;
use localstack::{GatewaySettings, Part, Services, Stack, StackError, StackSettings, Wanted};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StackError> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let port = arguments.next().and_then(|port| port.parse().ok()).expect("a port");
    let settings = StackSettings { pg_port: Some(port), ..StackSettings::default() };
    let stack = Stack::start(&settings, folder, |_| {}).await?;
    let gateway = arguments.next().map(|port| port.parse().expect("a port"));
    let functions = arguments.next().map(PathBuf::from);
    let mut services = None;
    if gateway.is_some() {
        let wanted = Wanted {
            parts: Part::ALL.into_iter().collect(),
            settings: GatewaySettings { gateway_port: gateway, functions },
            here: PathBuf::from("/"),
            realtime: None,
        };
        let db = DbSettings::at(&stack.url());
        services = Some(Services::start(&stack, &db, &wanted, Arc::new(|_| {})).await?);
    }
    println!("ready");
    let held = (stack, services);
    let () = pending().await;
    drop(held);
    Ok(())
}
