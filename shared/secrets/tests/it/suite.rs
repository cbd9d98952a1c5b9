//! What holds of every Vault.

use model::Secret;
use reqwest::Method;
use secrets::{Disposition, Secrets, SecretsSettings, Trouble, VaultAuth};
use serde_json::json;

use crate::server::{Server, resolve, trouble, value};

#[tokio::test]
async fn versions_of_a_secret_are_read_the_latest_first() {
    for server in Server::each().await {
        let kv = server.store("kv", "2").await;
        server.write_v2(&kv, "codegen/llm", json!({ "key": "first", "user": "cogo" })).await;
        server.write_v2(&kv, "codegen/llm", json!({ "key": "second", "user": "cogo" })).await;
        let secrets = server.as_root();
        let latest = resolve(&secrets, &format!("vault:{kv}/codegen/llm#key")).await.unwrap();
        assert_eq!((latest.value.expose(), latest.version.as_deref()), ("second", Some("2")));
        let first = format!("vault://{kv}/codegen/llm?version=1#key");
        let first = resolve(&secrets, &first).await.unwrap();
        assert_eq!((first.value.expose(), first.version.as_deref()), ("first", Some("1")));
        assert_eq!(latest.through.keeper, "Vault");
        assert_eq!(latest.through.login.as_deref(), Some("token"));

        let which = trouble(&secrets, &format!("vault:{kv}/codegen/llm")).await;
        assert_eq!(which, Trouble::WhichField { has: "`key`, `user`".to_owned() });
        let none = trouble(&secrets, &format!("vault:{kv}/codegen/llm#kex")).await;
        assert_eq!(none, Trouble::NoField { has: "`key`, `user`".to_owned() });
    }
}

#[tokio::test]
async fn a_secret_may_be_a_number_or_a_document_and_its_path_may_have_spaces() {
    for server in Server::each().await {
        let kv = server.store("kv", "2").await;
        let data = json!({ "port": 5432, "doc": { "auths": {} }, "nothing": null });
        server.write_v2(&kv, "a%20b/ü", data).await;
        let secrets = server.as_root();
        let place = format!("vault:{kv}/a%20b/%C3%BC");
        assert_eq!(value(&secrets, &format!("{place}#port")).await, "5432");
        assert_eq!(value(&secrets, &format!("{place}#doc")).await, r#"{"auths":{}}"#);
        let nothing = trouble(&secrets, &format!("{place}#nothing")).await;
        assert_eq!(nothing, Trouble::NoField { has: "`doc`, `port`".to_owned() });
    }
}

#[tokio::test]
async fn what_is_gone_or_never_was_is_told_apart() {
    for server in Server::each().await {
        let kv = server.store("kv", "2").await;
        for value in ["one", "two", "three"] {
            server.write_v2(&kv, "llm", json!({ "key": value })).await;
        }
        server.ask(Method::DELETE, &format!("{kv}/data/llm"), json!({})).await;
        let body = json!({ "versions": [1] });
        server.ask(Method::POST, &format!("{kv}/destroy/llm"), body).await;
        let secrets = server.as_root();
        let at = |rest: &str| format!("vault:{kv}/{rest}");
        assert_eq!(trouble(&secrets, &at("llm#key")).await, Trouble::Deleted { version: 3 });
        let destroyed = trouble(&secrets, &at("llm#key?version=1")).await;
        assert_eq!(destroyed, Trouble::Destroyed { version: 1 });
        assert_eq!(value(&secrets, &at("llm#key?version=2")).await, "two");
        assert_eq!(trouble(&secrets, &at("llm#key?version=9")).await, Trouble::NoSecret);
        assert_eq!(trouble(&secrets, &at("llm2#key")).await, Trouble::NoSecret);
        assert_eq!(trouble(&secrets, &at("data/llm#key?version=2")).await, Trouble::NoSecret);
        let nowhere = format!("vault:{}/llm", server.own("nowhere"));
        assert_eq!(trouble(&secrets, &nowhere).await, Trouble::NoMount);
    }
}

#[tokio::test]
async fn a_path_of_the_api_is_recognised() {
    for server in Server::each().await {
        let kv = server.store("kv", "2").await;
        server.write_v2(&kv, "llm", json!({ "key": "a" })).await;
        let secrets = server.as_root();
        let error = trouble(&secrets, &format!("vault:{kv}/data/llm#key")).await;
        assert_eq!(error, Trouble::ApiPath);
        assert_eq!(value(&secrets, &format!("vault:{kv}/llm#key")).await, "a");
    }
}

#[tokio::test]
async fn stores_of_version_1_are_found_out() {
    for server in Server::each().await {
        let kv = server.store("kv1", "1").await;
        let path = format!("{kv}/codegen/llm");
        server.ask(Method::POST, &path, json!({ "key": "a" })).await;
        let policy = server.policy("read", &[&format!("{kv}/codegen/*")]).await;
        let narrow = server.token(&[&policy], json!({})).await;
        for secrets in [server.as_root(), server.as_token(&narrow)] {
            let resolved = resolve(&secrets, &format!("vault:{path}#key")).await.unwrap();
            assert_eq!((resolved.value.expose(), resolved.version), ("a", None));
            let version = trouble(&secrets, &format!("vault:{path}#key?version=1")).await;
            assert_eq!(version, Trouble::NoVersions);
            let none = trouble(&secrets, &format!("vault:{kv}/codegen/none")).await;
            assert_eq!(none, Trouble::NoSecret);
        }
    }
}

#[tokio::test]
async fn a_policy_decides_and_a_revoked_token_is_told_apart() {
    for server in Server::each().await {
        let kv = server.store("kv", "2").await;
        for path in ["mine/llm", "theirs/llm"] {
            server.write_v2(&kv, path, json!({ "key": path })).await;
        }
        let policy = server.policy("mine", &[&format!("{kv}/data/mine/*")]).await;
        let token = server.token(&[&policy], json!({})).await;
        let secrets = server.as_token(&token);
        assert_eq!(value(&secrets, &format!("vault:{kv}/mine/llm")).await, "mine/llm");
        let denied = trouble(&secrets, &format!("vault:{kv}/theirs/llm")).await;
        assert_eq!((denied.disposition(), denied), (Disposition::GiveUp, Trouble::Denied));

        server.ask(Method::POST, "auth/token/revoke", json!({ "token": token })).await;
        let revoked = trouble(&secrets, &format!("vault:{kv}/mine/other")).await;
        assert!(
            matches!(revoked, Trouble::LoginRefused { auth: VaultAuth::Token, status: 403, .. }),
            "{revoked:?}"
        );
        let unknown = server.as_token("s.hunter2");
        let unknown = trouble(&unknown, &format!("vault:{kv}/mine/llm")).await;
        assert!(matches!(unknown, Trouble::LoginRefused { status: 403, .. }), "{unknown:?}");
        let empty = server.as_token("");
        let empty = trouble(&empty, &format!("vault:{kv}/mine/llm")).await;
        assert!(matches!(empty, Trouble::LoginRefused { .. }), "{empty:?}");
    }
}

#[tokio::test]
async fn an_app_role_logs_in_with_a_bare_secret_id_where_that_is_allowed() {
    for server in Server::each().await {
        let kv = server.store("kv", "2").await;
        server.write_v2(&kv, "llm", json!({ "key": "a" })).await;
        let policy = server.policy("read", &[&format!("{kv}/data/*")]).await;
        let role = json!({ "token_policies": [policy], "token_ttl": "60s" });
        let (mount, role_id) = server.app_role("codegen", role).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret-id");
        std::fs::write(&file, server.secret_id(&mount, "codegen").await + "\n").unwrap();
        let settings = SecretsSettings {
            vault_auth_mount: Some(mount.clone()),
            vault_role_id: Some(Secret::new(role_id)),
            vault_secret_id_file: Some(file.clone()),
            vault_secret_id_wrapped: false,
            ..server.settings()
        };
        let llm = format!("vault:{kv}/llm");
        assert_eq!(value(&Secrets::new(&settings).unwrap(), &llm).await, "a");

        std::fs::write(&file, "00000000-0000-0000-0000-000000000000").unwrap();
        let error = trouble(&Secrets::new(&settings).unwrap(), &llm).await;
        let told = error.to_string();
        assert!(told.contains("approle (400): the secret id is not valid"), "{told}");
        let role_id = Some(Secret::new("00000000-0000-0000-0000-000000000000".to_owned()));
        let stranger = SecretsSettings { vault_role_id: role_id, ..settings.clone() };
        let error = trouble(&Secrets::new(&stranger).unwrap(), &llm).await;
        assert!(matches!(error, Trouble::LoginRefused { status: 400, .. }), "{error:?}");
        let nowhere = Some(server.own("nowhere"));
        let nowhere = SecretsSettings { vault_auth_mount: nowhere, ..settings };
        let error = trouble(&Secrets::new(&nowhere).unwrap(), &llm).await;
        assert!(matches!(error, Trouble::LoginRefused { .. }), "{error:?}");
    }
}
