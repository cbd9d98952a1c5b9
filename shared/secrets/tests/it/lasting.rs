//! How long a login and a value last, on a Vault whose clock we hold.

use std::sync::Arc;
use std::time::Duration;

use model::Secret;
use secrets::{Clock, Secrets, SecretsSettings, Trouble, VaultAuth};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::server::{Server, parse, resolve, trouble, value};

const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.service.account";
const LOGIN: &str = "POST auth/kubernetes/login";

/// A worker that logs in by its service account.
struct World {
    server: Server,
    clock: Clock,
    secrets: Secrets,
    settings: SecretsSettings,
    kv: String,
    folder: tempfile::TempDir,
}

async fn world(ttl: u64) -> World {
    let server = Server::ours().await;
    let kv = server.store("kv", "2").await;
    server.write_v2(&kv, "llm", json!({ "key": "first", "user": "cogo" })).await;
    server.write_v2(&kv, "db", json!({ "password": "p" })).await;
    let policy = server.policy("read", &[&format!("{kv}/data/*")]).await;
    server.vault().trust("codegen", JWT, &[&policy], Duration::from_secs(ttl));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, JWT).unwrap();
    let settings = SecretsSettings {
        vault_role: Some("codegen".to_owned()),
        vault_kubernetes_token_file: file,
        ..server.settings()
    };
    let clock = Clock::default();
    let secrets = Secrets::with_clock(&settings, clock.clone()).unwrap();
    World { server, clock, secrets, settings, kv, folder }
}

impl World {
    fn llm(&self) -> String {
        format!("vault:{}/llm#key", self.kv)
    }

    fn db(&self) -> String {
        format!("vault:{}/db", self.kv)
    }

    fn asked(&self, request: &str) -> usize {
        self.server.vault().asked(request)
    }

    fn pass(&self, seconds: u64) {
        self.server.pass(&self.clock, seconds);
    }
}

#[tokio::test]
async fn a_hundred_readers_cost_one_login_and_one_read() {
    let world = world(3600).await;
    let (secrets, llm) = (Arc::new(world.secrets.clone()), parse(&world.llm()));
    let mut readers = JoinSet::new();
    for _ in 0..100 {
        let (secrets, llm) = (secrets.clone(), llm.clone());
        readers.spawn(async move { secrets.resolve(&llm).await.unwrap().value });
    }
    for read in readers.join_all().await {
        assert_eq!(read.expose(), "first");
    }
    let read = format!("GET {}/data/llm", world.kv);
    assert_eq!((world.asked(LOGIN), world.asked(&read)), (1, 1));
    // Another field of the same secret is already there.
    value(&world.secrets, &format!("vault://{}/llm#user", world.kv)).await;
    assert_eq!(world.asked(&read), 1);
    assert_eq!(value(&world.secrets, &world.db()).await, "p");
    assert_eq!(world.asked(LOGIN), 1);
    let through = resolve(&world.secrets, &world.llm()).await.unwrap().through.to_string();
    let port = world.server.vault().addr().trim_start_matches("http://");
    assert_eq!(through, format!("Vault at {port}, login by kubernetes, role codegen"));
}

#[tokio::test]
async fn a_login_is_renewed_at_two_thirds_and_repeated_when_it_is_over() {
    let world = world(600).await;
    value(&world.secrets, &world.llm()).await;
    world.pass(350);
    value(&world.secrets, &world.llm()).await;
    assert_eq!(world.asked("POST auth/token/renew-self"), 0);
    world.pass(80);
    value(&world.secrets, &world.db()).await;
    assert_eq!((world.asked("POST auth/token/renew-self"), world.asked(LOGIN)), (1, 1));
    world.pass(590);
    value(&world.secrets, &world.db()).await;
    assert_eq!((world.asked("POST auth/token/renew-self"), world.asked(LOGIN)), (2, 1));
    world.pass(601);
    value(&world.secrets, &world.db()).await;
    assert_eq!(world.asked(LOGIN), 2);
}

#[tokio::test]
async fn a_token_that_can_be_renewed_no_further_makes_way_for_a_new_login() {
    let server = Server::ours().await;
    let kv = server.store("kv", "2").await;
    server.write_v2(&kv, "llm", json!({ "key": "a" })).await;
    let policy = server.policy("read", &[&format!("{kv}/data/*")]).await;
    let role = json!({ "token_policies": [policy], "token_ttl": "60s", "token_max_ttl": "70s" });
    let (mount, role_id) = server.app_role("codegen", role).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret-id");
    std::fs::write(&file, server.secret_id(&mount, "codegen").await).unwrap();
    let settings = SecretsSettings {
        secrets_cache: Duration::from_secs(1),
        vault_auth_mount: Some(mount.clone()),
        vault_role_id: Some(Secret::new(role_id)),
        vault_secret_id_file: Some(file),
        vault_secret_id_wrapped: false,
        ..server.settings()
    };
    let clock = Clock::default();
    let secrets = Secrets::with_clock(&settings, clock.clone()).unwrap();
    value(&secrets, &format!("vault:{kv}/llm")).await;
    server.pass(&clock, 50);
    value(&secrets, &format!("vault:{kv}/llm")).await;
    assert_eq!(server.vault().asked("POST auth/token/renew-self"), 1);
    assert_eq!(server.vault().asked(&format!("POST auth/{mount}/login")), 2);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_a_refused_read_stays_refused() {
    let world = world(3600).await;
    value(&world.secrets, &world.llm()).await;
    let token = world.server.as_root();
    value(&token, &world.llm()).await;
    // Whoever revokes all tokens of a role makes every reader log in again.
    world.server.vault().revoke_all();
    assert_eq!(value(&world.secrets, &world.db()).await, "p");
    assert_eq!(world.asked(LOGIN), 2);

    world.server.policy("read", &["nothing/*"]).await;
    world.pass(301);
    assert_eq!(trouble(&world.secrets, &world.db()).await, Trouble::Denied);
    assert_eq!(world.asked(LOGIN), 3);
    let again = world.secrets.resolve(&parse(&world.db())).await.unwrap_err();
    assert!(again.again_in.is_some() && again.to_string().contains("tried again in"), "{again}");
    assert_eq!(world.asked(LOGIN), 3, "a broken reference is left alone");
}

#[tokio::test]
async fn while_vault_is_sealed_the_last_value_is_used_until_its_lease_ends() {
    let world = world(36_000).await;
    value(&world.secrets, &world.llm()).await;
    world.server.vault().seal(true);
    world.pass(250);
    assert_eq!(value(&world.secrets, &world.llm()).await, "first");
    world.pass(51);
    assert_eq!(trouble(&world.secrets, &world.llm()).await, Trouble::Sealed);
    world.server.vault().seal(false);
    world.server.write_v2(&world.kv, "llm", json!({ "key": "second" })).await;
    world.pass(61);
    assert_eq!(value(&world.secrets, &world.llm()).await, "second");
    assert_eq!(resolve(&world.secrets, &world.llm()).await.unwrap().version.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_shorter_lease_ends_earlier() {
    let server = Server::ours().await;
    let kv = server.store("kv1", "1").await;
    let write = async |key: &str| {
        let body = json!({ "key": key, "ttl": "30s" });
        server.ask(reqwest::Method::POST, &format!("{kv}/llm"), body).await;
    };
    write("first").await;
    let clock = Clock::default();
    let settings = server.with_token(testkit::Vault::ROOT);
    let secrets = Secrets::with_clock(&settings, clock.clone()).unwrap();
    let llm = format!("vault:{kv}/llm#key");
    assert_eq!(value(&secrets, &llm).await, "first");
    write("second").await;
    server.pass(&clock, 15);
    assert_eq!(value(&secrets, &llm).await, "first");
    server.pass(&clock, 7);
    assert_eq!(value(&secrets, &llm).await, "second");
    server.vault().seal(true);
    server.pass(&clock, 31);
    assert_eq!(trouble(&secrets, &llm).await, Trouble::Sealed);
}

#[tokio::test]
async fn a_refused_service_account_backs_off_whatever_status_it_is_refused_with() {
    for status in [403, 500] {
        let world = world(3600).await;
        world.server.vault().refuse_service_accounts_with(status);
        let file = world.folder.path().join("token");
        std::fs::write(&file, "eyJhbGciOiJSUzI1NiJ9.somebody.else").unwrap();
        for place in [world.llm(), world.db(), world.llm()] {
            let error = trouble(&world.secrets, &place).await;
            let refused = matches!(error, Trouble::LoginRefused {
                auth: VaultAuth::Kubernetes, status: told, ..
            } if told == status);
            assert!(refused, "{error:?}");
        }
        assert_eq!(world.asked(LOGIN), 1, "one failure is everybody's");
        // The kubelet has put a good one there.
        std::fs::write(&file, JWT).unwrap();
        world.pass(2);
        assert_eq!(value(&world.secrets, &world.llm()).await, "first");
    }
}

#[tokio::test]
async fn a_token_in_a_file_is_read_again_when_the_one_before_is_refused() {
    let world = world(3600).await;
    let policy = world.server.own("read");
    let file = world.folder.path().join("vault-token");
    std::fs::write(&file, world.server.token(&[&policy], json!({})).await).unwrap();
    let settings =
        SecretsSettings { vault_token_file: Some(file.clone()), ..world.settings.clone() };
    let secrets = Secrets::new(&settings).unwrap();
    assert_eq!(value(&secrets, &world.llm()).await, "first");
    world.server.vault().revoke_all();
    std::fs::write(&file, world.server.token(&[&policy], json!({})).await).unwrap();
    assert_eq!(value(&secrets, &world.db()).await, "p");
}

#[tokio::test]
async fn a_login_is_kept_alive_while_nothing_is_read_until_told_to_stop() {
    let world = world(2).await;
    value(&world.secrets, &world.llm()).await;
    let stop = CancellationToken::new();
    let mut keeping = JoinSet::new();
    let (secrets, told) = (world.secrets.clone(), stop.clone());
    keeping.spawn(async move { secrets.keep_alive(told).await });
    let renewed = async {
        while world.asked("POST auth/token/renew-self") < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), renewed).await.expect("it is renewed twice");
    assert_eq!(world.asked(LOGIN), 1);
    stop.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(10), keeping.join_next()).await;
    assert!(matches!(stopped, Ok(Some(Ok(())))));
}

#[tokio::test]
async fn a_namespace_is_asked_for_in_every_request() {
    let server = Server::ours().await;
    let kv = server.store("kv", "2").await;
    server.write_v2(&kv, "llm", json!({ "key": "a" })).await;
    server.vault().live_in("team-a/dev");
    let settings = server.with_token(testkit::Vault::ROOT);
    let here =
        SecretsSettings { vault_namespace: Some("team-a/dev/".to_owned()), ..settings.clone() };
    let secrets = Secrets::new(&here).unwrap();
    let resolved = resolve(&secrets, &format!("vault:{kv}/llm")).await.unwrap();
    assert_eq!(resolved.through.namespace.as_deref(), Some("team-a/dev"));
    let elsewhere = Secrets::new(&settings).unwrap();
    assert!(resolve(&elsewhere, &format!("vault:{kv}/llm")).await.is_err());
}
