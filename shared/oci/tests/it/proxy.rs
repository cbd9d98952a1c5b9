use std::process::Stdio;

use oci::OciSettings;
use tokio::process::Command;

use crate::scripted::{Scripted, registry, tag};

const REGISTRY: &str = "OCI_TEST_REGISTRY";

#[tokio::test]
async fn a_password_in_the_clear_goes_through_no_proxy() {
    let (server, proxy) = (Scripted::start().await, Scripted::start().await);
    server.has_image();
    // Proxies are read from the environment, so this is a process of its own.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "proxy::resolves", "--ignored"]).env(REGISTRY, server.host());
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        command.env(name, proxy.url("/"));
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy").stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!((server.asked().len(), proxy.asked().len()), (1, 0));
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn resolves() {
    #[expect(clippy::disallowed_methods, reason = "the way from one test process to another")]
    let host = std::env::var(REGISTRY).unwrap();
    let client = registry(&host, Some("user:hunter2"), &OciSettings::default());
    let repo = format!("{host}/acme/app").parse().unwrap();
    client.resolve(&repo, &tag()).await.unwrap();
}
