//! Secret ids in wrapping tokens, on every Vault.

use std::path::PathBuf;

use model::Secret;
use reqwest::Method;
use secrets::{Clock, Secrets, SecretsSettings, Trouble};
use serde_json::json;
use tempfile::TempDir;

use crate::logs;
use crate::server::{Server, trouble, value};

const ROLE: &str = "codegen";

/// An AppRole that may read `llm`, and the file that its wrapping token is handed over in.
struct World {
    server: Server,
    mount: String,
    settings: SecretsSettings,
    llm: String,
    file: PathBuf,
    _folder: TempDir,
}

impl World {
    async fn each(uses: u64) -> Vec<Self> {
        let mut worlds = Vec::new();
        for server in Server::each().await {
            let kv = server.store("kv", "2").await;
            server.write_v2(&kv, "llm", json!({ "key": "a" })).await;
            server.write_v2(&kv, "other", json!({ "key": "b" })).await;
            let policy = server.policy("read", &[&format!("{kv}/data/*")]).await;
            let role = json!({
                "token_policies": [policy],
                "token_ttl": "60s",
                "secret_id_num_uses": uses,
            });
            let (mount, role_id) = server.app_role(ROLE, role).await;
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("wrapped");
            let settings = SecretsSettings {
                vault_auth_mount: Some(mount.clone()),
                vault_role_id: Some(Secret::new(role_id)),
                vault_secret_id_file: Some(file.clone()),
                ..server.settings()
            };
            let llm = format!("vault:{kv}/llm");
            worlds.push(Self { server, mount, settings, llm, file, _folder: folder });
        }
        worlds
    }

    async fn hand_over(&self) -> String {
        let path = format!("auth/{}/role/{ROLE}/secret-id", self.mount);
        let token = self.server.wrapped(Method::POST, &path, json!({})).await;
        std::fs::write(&self.file, format!("{token}\n")).unwrap();
        token
    }

    fn secrets(&self) -> Secrets {
        Secrets::new(&self.settings).unwrap()
    }
}

#[tokio::test]
async fn a_wrapped_secret_id_logs_in_and_its_wrapping_is_good_only_once() {
    logs::collect();
    for world in World::each(0).await {
        world.hand_over().await;
        assert_eq!(value(&world.secrets(), &world.llm).await, "a");
        let error = trouble(&world.secrets(), &world.llm).await;
        assert_eq!(error, Trouble::UnwrappedBefore);
        assert!(testkit::kept_logs().contains("is used up: somebody else may hold the secret id"));

        world.hand_over().await;
        assert_eq!(value(&world.secrets(), &world.llm).await, "a");
    }
}

#[tokio::test]
async fn a_token_that_wraps_something_else_is_not_even_unwrapped() {
    for world in World::each(0).await {
        let kv = world.llm.trim_start_matches("vault:").trim_end_matches("/llm");
        let path = format!("{kv}/data/llm");
        let token = world.server.wrapped(Method::GET, &path, json!({})).await;
        std::fs::write(&world.file, &token).unwrap();
        let error = trouble(&world.secrets(), &world.llm).await;
        assert_eq!(error, Trouble::WrappedElsewhere);
        let body = json!({ "token": token });
        world.server.ask(Method::POST, "sys/wrapping/lookup", body).await;
    }
}

#[tokio::test]
async fn a_login_is_repeated_with_the_same_secret_id_also_when_its_file_is_gone() {
    for world in World::each(0).await.into_iter().filter(|world| world.server.ours.is_some()) {
        let clock = Clock::default();
        let secrets = Secrets::with_clock(&world.settings, clock.clone()).unwrap();
        world.hand_over().await;
        assert_eq!(value(&secrets, &world.llm).await, "a");
        std::fs::remove_file(&world.file).unwrap();
        world.server.pass(&clock, 600);
        assert_eq!(value(&secrets, &world.llm).await, "a");
        assert_eq!(world.server.vault().asked("POST sys/wrapping/unwrap"), 1);
        let login = format!("POST auth/{}/login", world.mount);
        assert_eq!(world.server.vault().asked(&login), 2);
    }
}

#[tokio::test]
async fn a_used_up_secret_id_is_replaced_by_a_new_wrapping_in_the_same_file() {
    for world in World::each(1).await.into_iter().filter(|world| world.server.ours.is_some()) {
        let clock = Clock::default();
        let secrets = Secrets::with_clock(&world.settings, clock.clone()).unwrap();
        world.hand_over().await;
        assert_eq!(value(&secrets, &world.llm).await, "a");
        world.server.pass(&clock, 600);
        let error = trouble(&secrets, &world.llm).await;
        assert!(matches!(error, Trouble::LoginRefused { status: 400, .. }), "{error:?}");
        world.hand_over().await;
        world.server.pass(&clock, 2);
        assert_eq!(value(&secrets, &world.llm).await, "a");
    }
}
