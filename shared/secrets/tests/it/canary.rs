//! Values are planted in everything that is secret, everything goes wrong that can, and then they
//! are searched for in all that was said.

use std::error::Error;
use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use miette::Diagnostic;
use model::Secret;
use secrets::{Clock, ResolveError, Secrets, SecretsSettings};
use serde_json::json;

use crate::logs;
use crate::server::{Server, parse};

const VALUE: &str = "value/canary+7f3a==0123456789";
const OLD_VALUE: &str = "older/canary+91bb==9876543210";
const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.canary-jwt-5d41.c2lnbmF0dXJl";
const TOKEN: &str = "s.canaryTokenThatNobodyKnows4b2c";
const SECRET_ID: &str = "canary-secret-id-8a9e-1234567890";
const ROLE_ID: &str = "canary-role-id-77c2-1234567890";
const KUBE: &str = "kube/canary+e5d0==0123456789";
const ALL: [&str; 7] = [VALUE, OLD_VALUE, JWT, TOKEN, SECRET_ID, ROLE_ID, KUBE];

/// Whatever can be said of an error, by anybody.
fn told(error: &ResolveError) -> String {
    let mut told = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(source) = cause {
        told += &format!(" {source} {source:?}");
        cause = source.source();
    }
    told + &error.help().map(|help| help.to_string()).unwrap_or_default()
}

struct Listener(Vec<String>);

impl Listener {
    fn hears(&mut self, what: &dyn Debug) {
        self.0.push(format!("{what:?} {what:#?}"));
    }

    async fn resolves(&mut self, secrets: &Secrets, place: &str) -> bool {
        match secrets.resolve(&parse(place)).await {
            Ok(resolved) => {
                self.0.push(resolved.through.to_string());
                self.hears(&resolved);
                true
            }
            Err(error) => {
                self.0.push(told(&error));
                false
            }
        }
    }
}

#[tokio::test]
async fn no_secret_is_told_whatever_goes_wrong_and_whoever_repeats_it() {
    logs::collect();
    let mut heard = Listener(Vec::new());
    let server = Server::ours().await;
    let kv = server.store("kv", "2").await;
    for value in [OLD_VALUE, VALUE] {
        server.write_v2(&kv, "llm", json!({ "key": value, "user": value })).await;
    }
    let kv1 = server.store("kv1", "1").await;
    let body = json!({ "key": VALUE });
    server.ask(reqwest::Method::POST, &format!("{kv1}/llm"), body).await;
    server.vault().trust("codegen", JWT, &["root"], std::time::Duration::from_secs(60));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let secret = |text: &str| Some(Secret::new(text.to_owned()));
    let ways = [
        SecretsSettings {
            vault_role: Some("codegen".to_owned()),
            vault_kubernetes_token_file: file("jwt", JWT),
            ..server.settings()
        },
        SecretsSettings {
            vault_role_id: secret(ROLE_ID),
            vault_secret_id_file: Some(file("secret-id", SECRET_ID)),
            vault_secret_id_wrapped: false,
            ..server.settings()
        },
        SecretsSettings {
            vault_role_id: secret(ROLE_ID),
            vault_secret_id_file: Some(file("wrapped", TOKEN)),
            ..server.settings()
        },
        SecretsSettings { vault_token: secret(TOKEN), ..server.settings() },
        SecretsSettings { vault_token_file: Some(file("token", TOKEN)), ..server.settings() },
        server.with_token(testkit::Vault::ROOT),
    ];

    let places = ["llm#key", "llm#key?version=1", "llm", "llm#none", "none#key", "data/llm#key"];
    let echo = format!("{{sent}} {VALUE}");
    let echo_json = json!(echo).to_string();
    for settings in &ways {
        heard.hears(settings);
        let clock = Clock::default();
        let secrets = Secrets::with_clock(settings, clock.clone()).unwrap();
        heard.hears(&secrets);
        let mut resolved = 0;
        for place in places {
            for mount in [&kv, &kv1] {
                resolved +=
                    usize::from(heard.resolves(&secrets, &format!("vault:{mount}/{place}")).await);
            }
        }
        let may = settings.vault_role.is_some()
            || settings
                .vault_token
                .as_ref()
                .is_some_and(|token| token.expose() == testkit::Vault::ROOT);
        assert_eq!(resolved > 0, may, "{settings:?}");
        // Everything a server, or whatever lies before it, can say back to us, with our own secrets
        // and its own in it.
        for (status, body) in [
            (400, format!("{{\"errors\":[{echo_json}]}}")),
            (403, format!("{{\"errors\":[{echo_json},\"permission denied\"]}}")),
            (404, format!("{{\"warnings\":[{echo_json}]}}")),
            (500, format!("{{\"errors\":[{echo_json}]}}")),
            (503, echo.clone()),
            (302, echo.clone()),
            (200, echo.clone()),
            (200, format!("{{\"data\":{{\"data\":{echo_json},\"metadata\":{echo_json}}}}}")),
            (
                200,
                format!(
                    "{{\"auth\":{{\"client_token\":{echo_json},\"lease_duration\":{echo_json}}}}}"
                ),
            ),
            (
                200,
                format!("{{\"warnings\":[{echo_json}],\"data\":{echo_json},\"lease_duration\":0}}"),
            ),
        ] {
            clock.advance(std::time::Duration::from_secs(400));
            server.vault().answer_all_with(status, &body);
            heard.resolves(&secrets, &format!("vault:{kv}/llm#key")).await;
            // And with a login that goes well before.
            server.vault().behave();
            clock.advance(std::time::Duration::from_secs(400));
            heard.resolves(&secrets, &format!("vault:{kv}/llm#key")).await;
            server.vault().answer_all_with(status, &body);
            heard.resolves(&secrets, &format!("vault:{kv}/other#key")).await;
            server.vault().behave();
        }
    }

    for text in &heard.0 {
        testkit::assert_hushed(text, &ALL);
    }
    let written = testkit::kept_logs();
    // It is no proof that nothing is found where nothing is written.
    for line in ["logged in to Vault by kubernetes, role codegen", "is used up: somebody else"] {
        assert!(written.contains(line), "`{line}` is not in the log");
    }
    testkit::assert_hushed(&written, &ALL);
    testkit::assert_hushed(&command_line(), &ALL);
}

#[tokio::test]
async fn kubernetes_is_as_silent() {
    logs::collect();
    let mut heard = Listener(Vec::new());
    let kubernetes = testkit::Kubernetes::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    kubernetes.write_kubeconfig(&file, testkit::Kubernetes::TOKEN);
    let settings = SecretsSettings {
        secrets_allow: vec!["k8s:*".to_owned()],
        kubeconfig: Some(file),
        ..SecretsSettings::default()
    };
    let secrets = Secrets::new(&settings).unwrap();
    heard.hears(&settings);
    let encoded = STANDARD.encode(KUBE);
    kubernetes.put("a", "good", &json!({ "key": encoded }));
    kubernetes.put("a", "bad", &json!({ "key": encoded, "other": format!("%{KUBE}") }));
    kubernetes.answer_with("a", "page", 200, KUBE);
    kubernetes.answer_with("a", "gone", 502, KUBE);
    kubernetes.refuse("a", KUBE.split('/').next().unwrap(), 403, KUBE);
    for (place, good) in [
        ("k8s:a/good#key", true),
        ("k8s:a/good#none", false),
        ("k8s:a/bad#key", false),
        ("k8s:a/page", false),
        ("k8s:a/gone", false),
        ("k8s:a/kube", false),
    ] {
        assert_eq!(heard.resolves(&secrets, place).await, good, "{place}");
    }
    for text in &heard.0 {
        testkit::assert_hushed(text, &[KUBE, testkit::Kubernetes::TOKEN]);
    }
    testkit::assert_hushed(&testkit::kept_logs(), &[KUBE, testkit::Kubernetes::TOKEN]);
}

fn command_line() -> String {
    let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    String::from_utf8_lossy(&line).into_owned()
}
