use std::time::Duration;

use model::{CredentialRef, Secret};
use reqwest::{Client, Method, StatusCode};
use secrets::{Clock, Resolved, Secrets, SecretsSettings, Trouble, VaultAuth};
use serde_json::{Value, json};

/// A Vault to be set up and asked: ours, or a real one. All that a test makes there has names of its
/// own.
pub(crate) struct Server {
    pub(crate) ours: Option<testkit::Vault>,
    addr: String,
    root: String,
    http: Client,
    own: String,
}

impl Server {
    pub(crate) async fn ours() -> Self {
        let vault = testkit::Vault::start().await;
        let addr = vault.addr().to_owned();
        Self::new(Some(vault), addr, testkit::Vault::ROOT.to_owned())
    }

    /// Ours, and the real one if there is one.
    pub(crate) async fn each() -> Vec<Self> {
        let mut servers = vec![Self::ours().await];
        if let (Some(addr), Some(root)) = (variable("VAULT_ADDR"), variable("VAULT_TOKEN")) {
            servers.push(Self::new(None, addr.trim_end_matches('/').to_owned(), root));
        }
        servers
    }

    fn new(ours: Option<testkit::Vault>, addr: String, root: String) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().build().unwrap();
        Self { ours, addr, root, http, own: format!("cogo-test-{:08x}", rand::random::<u32>()) }
    }

    pub(crate) fn vault(&self) -> &testkit::Vault {
        self.ours.as_ref().unwrap()
    }

    /// A name that nobody else here has.
    pub(crate) fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.own)
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        self.ask_with(method, path, body, &[]).await
    }

    async fn ask_with(
        &self,
        method: Method,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Value {
        let mut request = self.http.request(method, format!("{}/v1/{path}", self.addr));
        request = request.header("x-vault-token", &self.root).json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        assert!(status.is_success(), "{path}: {status} {}", response.text().await.unwrap());
        if status == StatusCode::NO_CONTENT { Value::Null } else { response.json().await.unwrap() }
    }

    /// A store of its own, of either version.
    pub(crate) async fn store(&self, name: &str, version: &str) -> String {
        let mount = self.own(name);
        let body = json!({ "type": "kv", "options": { "version": version } });
        self.ask(Method::POST, &format!("sys/mounts/{mount}"), body).await;
        // A real one upgrades a new store for a moment before it takes anything.
        let probe = match version {
            "2" => (format!("{mount}/data/probe"), json!({ "data": { "a": "b" } })),
            _ => (format!("{mount}/probe"), json!({ "a": "b" })),
        };
        for _ in 0..100 {
            let url = format!("{}/v1/{}", self.addr, probe.0);
            let request = self.http.post(url).header("x-vault-token", &self.root).json(&probe.1);
            if request.send().await.unwrap().status().is_success() {
                return mount;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the store {mount} takes nothing");
    }

    pub(crate) async fn write_v2(&self, mount: &str, path: &str, data: Value) {
        let body = json!({ "data": data });
        self.ask(Method::POST, &format!("{mount}/data/{path}"), body).await;
    }

    /// A policy that allows reading what begins with these paths.
    pub(crate) async fn policy(&self, name: &str, paths: &[&str]) -> String {
        let name = self.own(name);
        let rules: serde_json::Map<String, Value> = paths
            .iter()
            .map(|path| ((*path).to_owned(), json!({ "capabilities": ["read"] })))
            .collect();
        let body = json!({ "policy": json!({ "path": rules }).to_string() });
        self.ask(Method::PUT, &format!("sys/policies/acl/{name}"), body).await;
        name
    }

    pub(crate) async fn token(&self, policies: &[&str], more: Value) -> String {
        let mut body = json!({ "policies": policies, "no_parent": true });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.ask(Method::POST, "auth/token/create", body).await;
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// An AppRole login of its own: its mount, and the role's id.
    pub(crate) async fn app_role(&self, role: &str, settings: Value) -> (String, String) {
        let mount = self.own("approle");
        let body = json!({ "type": "approle" });
        self.ask(Method::POST, &format!("sys/auth/{mount}"), body).await;
        let path = format!("auth/{mount}/role/{role}");
        self.ask(Method::POST, &path, settings).await;
        let answer = self.ask(Method::GET, &format!("{path}/role-id"), json!({})).await;
        (mount, answer["data"]["role_id"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn secret_id(&self, mount: &str, role: &str) -> String {
        let path = format!("auth/{mount}/role/{role}/secret-id");
        let answer = self.ask(Method::POST, &path, json!({})).await;
        answer["data"]["secret_id"].as_str().unwrap().to_owned()
    }

    /// A wrapping token with whatever this path answers in it.
    pub(crate) async fn wrapped(&self, method: Method, path: &str, body: Value) -> String {
        let answer = self.ask_with(method, path, body, &[("x-vault-wrap-ttl", "60s")]).await;
        answer["wrap_info"]["token"].as_str().unwrap().to_owned()
    }

    /// Settings that lead here, allow everything, and log in with nothing yet.
    pub(crate) fn settings(&self) -> SecretsSettings {
        SecretsSettings {
            secrets_allow: vec!["vault:*".to_owned()],
            vault_addr: Some(self.addr.clone()),
            secrets_timeout: Duration::from_secs(10),
            ..SecretsSettings::default()
        }
    }

    /// As the holder of this token.
    pub(crate) fn as_token(&self, token: &str) -> Secrets {
        Secrets::new(&self.with_token(token)).unwrap()
    }

    pub(crate) fn with_token(&self, token: &str) -> SecretsSettings {
        SecretsSettings {
            vault_auth: Some(VaultAuth::Token),
            vault_token: Some(Secret::new(token.to_owned())),
            ..self.settings()
        }
    }

    pub(crate) fn as_root(&self) -> Secrets {
        self.as_token(&self.root)
    }

    /// Lets time pass, in Vault and for whoever asks it.
    pub(crate) fn pass(&self, clock: &Clock, seconds: u64) {
        self.vault().advance(Duration::from_secs(seconds));
        clock.advance(Duration::from_secs(seconds));
    }
}

pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests names a real server so")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) fn parse(text: &str) -> CredentialRef {
    text.parse().unwrap()
}

pub(crate) async fn resolve(secrets: &Secrets, text: &str) -> Result<Resolved, Trouble> {
    secrets.resolve(&parse(text)).await.map_err(|error| error.trouble)
}

pub(crate) async fn value(secrets: &Secrets, text: &str) -> String {
    resolve(secrets, text).await.unwrap_or_else(|why| panic!("{text}: {why}")).value.expose().into()
}

pub(crate) async fn trouble(secrets: &Secrets, text: &str) -> Trouble {
    resolve(secrets, text).await.unwrap_err()
}
