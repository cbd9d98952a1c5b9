use std::net::TcpListener as StdListener;
use std::process::Command;
use std::sync::Arc;

use realtime::{JoinOptions, Realtime};
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, accept};

use crate::world::{down, options, project, ready};

/// Set for the process that is to trust our certificate.
const TRUSTING: &str = "REALTIME_TEST_URL";

#[test]
fn a_server_is_trusted_by_the_certificates_of_this_machine() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), certified.cert.pem()).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || serve(&listener, &Arc::new(config)));

    // What a process trusts is read from its environment, so these are processes of their own.
    let ask = |test: &str, roots: Option<&std::path::Path>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored"]).env(TRUSTING, &url);
        if let Some(roots) = roots {
            command.env("SSL_CERT_FILE", roots);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{test}: {said}");
    };
    ask("tls::joins", Some(roots.path()));
    ask("tls::is_refused", None);
}

fn serve(listener: &StdListener, config: &Arc<ServerConfig>) {
    for stream in listener.incoming() {
        let (config, stream) = (config.clone(), stream.unwrap());
        std::thread::spawn(move || {
            let tls = ServerConnection::new(config).unwrap();
            let Ok(mut socket) = accept(StreamOwned::new(tls, stream)) else { return };
            while let Ok(Message::Text(text)) = socket.read() {
                let push: Value = serde_json::from_str(text.as_str()).unwrap();
                let reply = json!([push[0], push[1], push[2], "phx_reply",
                    { "status": "ok", "response": {} }]);
                if socket.send(Message::text(reply.to_string())).is_err() {
                    return;
                }
            }
        });
    }
}

fn channel() -> realtime::Channel {
    #[expect(clippy::disallowed_methods, reason = "the way from one test process to another")]
    let url = std::env::var(TRUSTING).unwrap();
    let realtime = Realtime::new(&project(&url), &options());
    realtime.join("work", JoinOptions::default()).unwrap()
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn joins() {
    ready(&mut channel()).await;
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn is_refused() {
    let why = down(&mut channel()).await;
    assert!(why.contains("could not agree on TLS with localhost:"), "{why}");
}
