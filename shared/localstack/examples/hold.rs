//! Holds a local stack until it is killed, for tests that kill it: `hold <folder> <port>`. Says
//! `ready` on stdout when the database answers.

use std::future::pending;
use std::path::PathBuf;

use localstack::{Stack, StackError, StackSettings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), StackError> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let port = arguments.next().and_then(|port| port.parse().ok()).expect("a port");
    let settings = StackSettings { pg_port: Some(port), ..StackSettings::default() };
    let _stack = Stack::start(&settings, folder, |_| {}).await?;
    println!("ready");
    pending().await
}
