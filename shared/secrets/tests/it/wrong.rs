//! A Vault that is not there, or is something else.

use std::time::Duration;

use miette::Diagnostic;
use model::Secret;
use secrets::{Disposition, InvalidSettings, Secrets, SecretsSettings, Trouble, VaultAuth};
use serde_json::json;

use crate::server::{Server, parse, trouble, value};

#[tokio::test]
async fn what_is_not_allowed_is_not_even_looked_for() {
    let server = Server::ours().await;
    let kv = server.store("kv", "2").await;
    server.write_v2(&kv, "codegen/llm", json!({ "key": "a" })).await;
    server.write_v2(&kv, "codegen2/llm", json!({ "key": "b" })).await;
    let settings = server.with_token(testkit::Vault::ROOT);
    let allow = vec![format!("vault:{kv}/codegen"), "k8s:cogo-dev".to_owned()];
    let settings = SecretsSettings { secrets_allow: allow, ..settings };
    let secrets = Secrets::new(&settings).unwrap();
    assert_eq!(value(&secrets, &format!("vault:{kv}/codegen/llm")).await, "a");
    let elsewhere = format!("vault:{kv}/codegen2/llm");
    for place in [elsewhere.as_str(), "vault:sys/raw/core", "k8s:kube-system/a", "env:PATH"] {
        assert_eq!(trouble(&secrets, place).await, Trouble::NotAllowed, "{place}");
    }
    assert_eq!(server.vault().asked(&format!("GET {kv}/data/codegen2/llm")), 0);
    let none = SecretsSettings { secrets_allow: Vec::new(), ..settings };
    let secrets = Secrets::new(&none).unwrap();
    let error = trouble(&secrets, &format!("vault:{kv}/codegen/llm")).await;
    assert_eq!(error, Trouble::NotAllowed, "nothing is open");
}

#[tokio::test]
async fn each_way_to_fail_has_a_name_and_says_whether_it_passes() {
    let server = Server::ours().await;
    let settings = server.with_token(testkit::Vault::ROOT);
    let keeper = "Vault";
    for (status, body, expected) in [
        (503, r#"{"errors":["Vault is sealed"]}"#, Trouble::Sealed),
        (503, "<html>no backend</html>", Trouble::Broken { keeper, status: 503 }),
        (500, r#"{"errors":["internal error"]}"#, Trouble::Broken { keeper, status: 500 }),
        (429, r#"{"errors":["rate limit quota exceeded"]}"#, Trouble::TooOften { keeper }),
        (307, "", Trouble::Elsewhere { keeper, status: 307 }),
        (200, "<html>a login page</html>", Trouble::Unreadable { keeper }),
        (200, "{}", Trouble::Unreadable { keeper }),
        (200, r#"{"data":{"data":null}}"#, Trouble::Unreadable { keeper }),
    ] {
        // Each login fails once, and would not be tried again so soon.
        let secrets = Secrets::new(&settings).unwrap();
        server.vault().answer_all_with(status, body);
        let error = trouble(&secrets, "vault:kv/llm").await;
        let told = match &error {
            Trouble::LoginRefused { status, .. } if *status >= 500 => {
                Trouble::Broken { keeper, status: *status }
            }
            other => other.clone(),
        };
        assert_eq!(told, expected, "{status} {body}");
        let passes =
            (status >= 500 || status == 429) == (error.disposition() == Disposition::Retry);
        assert!(passes && error.help().is_some(), "{error:?}");
        server.vault().behave();
    }
}

#[tokio::test]
async fn the_same_is_told_when_only_the_read_fails() {
    let server = Server::ours().await;
    let kv = server.store("kv", "2").await;
    server.write_v2(&kv, "llm", json!({ "key": "a" })).await;
    let settings = server.with_token(testkit::Vault::ROOT);
    let keeper = "Vault";
    for (status, body, expected) in [
        (503, "{}", Trouble::Broken { keeper, status: 503 }),
        (405, r#"{"errors":[]}"#, Trouble::Refused { keeper, status: 405 }),
        (302, "", Trouble::Elsewhere { keeper, status: 302 }),
        (200, "{\"data\":{\"data\":3,\"metadata\":{}}}", Trouble::Unreadable { keeper }),
    ] {
        let secrets = Secrets::new(&settings).unwrap();
        value(&secrets, &format!("vault:{kv}/llm")).await;
        server.vault().answer_all_with(status, body);
        assert_eq!(trouble(&secrets, &format!("vault:{kv}/other")).await, expected, "{status}");
        server.vault().behave();
    }
}

#[tokio::test]
async fn a_vault_that_is_not_there_or_does_not_answer_is_not_waited_for() {
    let server = Server::ours().await;
    let settings = SecretsSettings {
        vault_addr: Some("http://127.0.0.1:1".to_owned()),
        secrets_timeout: Duration::from_millis(300),
        ..server.with_token("s.hunter2")
    };
    let secrets = Secrets::new(&settings).unwrap();
    let error = secrets.resolve(&parse("vault:kv/llm#key")).await.unwrap_err();
    assert_eq!(error.to_string(), "could not resolve `vault:kv/llm#key`");
    assert_eq!(
        error.trouble.to_string(),
        "could not reach Vault: Connection refused (os error 111)"
    );
    assert_eq!(error.disposition(), Disposition::Retry);

    server.vault().fall_silent();
    let vault_addr = Some(server.vault().addr().to_owned());
    let settings = SecretsSettings { vault_addr, ..settings };
    let error = trouble(&Secrets::new(&settings).unwrap(), "vault:kv/llm").await;
    assert!(matches!(error, Trouble::TooSlow { .. }), "{error:?}");
    assert_eq!(error.to_string(), "Vault did not answer within 0.3 s");
}

#[tokio::test]
async fn what_is_not_set_is_asked_for() {
    let settings = SecretsSettings {
        secrets_allow: ["vault:*", "k8s:*", "env:*"].map(str::to_owned).to_vec(),
        ..SecretsSettings::default()
    };
    let secrets = Secrets::new(&settings).unwrap();
    for (place, asks_for) in
        [("vault:kv/llm", "VAULT_ADDR"), ("k8s:a/b", "KUBECONFIG"), ("env:PATH", "SECRETS_ENV")]
    {
        let error = trouble(&secrets, place).await;
        assert!(error.to_string().contains(asks_for), "{place}: {error}");
    }
    let server = Server::ours().await;
    let settings = server.settings();
    for (auth, asks_for) in [
        (VaultAuth::Kubernetes, "VAULT_ROLE"),
        (VaultAuth::AppRole, "VAULT_ROLE_ID"),
        (VaultAuth::Token, "VAULT_TOKEN_FILE or VAULT_TOKEN"),
    ] {
        let settings = SecretsSettings { vault_auth: Some(auth), ..settings.clone() };
        let error = Secrets::new(&settings).unwrap_err();
        assert!(error.to_string().contains(asks_for), "{error}");
    }
    let file = SecretsSettings { vault_role: Some("codegen".to_owned()), ..settings };
    let error = trouble(&Secrets::new(&file).unwrap(), "vault:kv/llm").await;
    assert!(matches!(&error, Trouble::NoLogin { file, .. } if file.ends_with("/token")), "{error}");
}

#[test]
fn settings_that_cannot_be_used_are_refused_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("nothing.pem");
    std::fs::write(&nothing, "hunter2").unwrap();
    let base = SecretsSettings {
        vault_addr: Some("https://vault.internal:8200".to_owned()),
        vault_token: Some(Secret::new("hunter2".to_owned())),
        ..SecretsSettings::default()
    };
    let at = |addr: &str| SecretsSettings { vault_addr: Some(addr.to_owned()), ..base.clone() };
    let with = |change: &dyn Fn(&mut SecretsSettings)| {
        let mut changed = base.clone();
        change(&mut changed);
        changed
    };
    for settings in [
        at("vault.internal"),
        at("hunter2"),
        at("ftp://hunter2"),
        at("https://user:hunter2@vault"),
        at("https://vault/hunter2"),
        at("https://vault/?token=hunter2"),
        with(&|settings| settings.vault_namespace = Some("hunter2 \n".to_owned())),
        with(&|settings| settings.vault_cacert = Some(nothing.clone())),
        with(&|settings| settings.vault_cacert = Some("/nowhere/ca.pem".into())),
        with(&|settings| settings.secrets_allow = vec!["hunter2".to_owned()]),
    ] {
        let error: InvalidSettings = Secrets::new(&settings).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(error.help().is_some(), "{error}");
    }
    assert_eq!(format!("{:?}", Secrets::new(&base).unwrap()), "Secrets()");
}
