use std::process::Command;

use serde_json::{Value, json};
use testkit::{Kubernetes, Vault};

use crate::running::{Cogo, Said};

const VALUE: &str = "hunter2-hunter2-hunter2";

fn check(arguments: &[&str], set: &[(&str, &str)]) -> Said {
    let mut command: Command =
        Cogo::nowhere().command(&[&["secrets", "check"], arguments].concat());
    let said: Said = command.envs(set.iter().copied()).output().expect("cogo can be run").into();
    assert!(!said.out.contains(VALUE) && !said.err.contains(VALUE), "{}{}", said.out, said.err);
    said
}

/// Writes a secret as root does.
async fn vault() -> Vault {
    let vault = Vault::start().await;
    vault.put("kv", "codegen/llm", &json!({ "key": "older" }));
    vault.put("kv", "codegen/llm", &json!({ "key": VALUE }));
    vault
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_to_vault_is_checked_and_its_value_never_shown() {
    let vault = vault().await;
    let addr = vault.addr().to_owned();
    let set = [
        ("VAULT_ADDR", addr.as_str()),
        ("VAULT_TOKEN", Vault::ROOT),
        ("SECRETS_ALLOW", "vault:kv/codegen"),
    ];
    let said = check(&["vault:kv/codegen/llm#key"], &set);
    let at = addr.trim_start_matches("http://");
    let told = format!(
        "vault:kv/codegen/llm#key resolves: version 2, through Vault at {at}, login by token\n"
    );
    assert_eq!((said.code, said.out, said.err.as_str()), (Some(0), told, ""));

    let said = check(&["vault:kv/codegen/llm?version=1#key", "-o", "json"], &set);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    let expected = json!({
        "reference": "vault:kv/codegen/llm?version=1#key",
        "resolves": true,
        "keeper": "Vault",
        "server": at,
        "namespace": null,
        "login": "token",
        "version": "1",
    });
    assert_eq!((said.code, told), (Some(0), expected));

    let said = check(&["vault:kv/codegen/llm#kez"], &set);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    insta::assert_snapshot!(said.err, @r"
      × could not resolve `vault:kv/codegen/llm#kez`
      ╰─▶ it has no such entry, but: `key`
      help: name one of them after the `#`
    ");
    let said = check(&["vault:kv/other/llm#key", "-o", "json"], &set);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (said.code, &told["resolves"], &told["passes"]),
        (Some(1), &json!(false), &json!(false))
    );
    assert!(told["help"].as_str().unwrap().contains("SECRETS_ALLOW"), "{told}");

    vault.seal(true);
    let said = check(&["vault:kv/codegen/llm#key", "-o", "json"], &set);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &told["passes"]), (Some(1), &json!(true)));
    assert!(told["error"].as_str().unwrap().ends_with("Vault is sealed"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_to_kubernetes_is_checked_too() {
    let kubernetes = Kubernetes::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    kubernetes.write_kubeconfig(&file, Kubernetes::TOKEN);
    kubernetes.put("cogo-dev", "llm", &json!({ "key": "aHVudGVyMi1odW50ZXIyLWh1bnRlcjI=" }));
    let set = [("KUBECONFIG", file.to_str().unwrap()), ("SECRETS_ALLOW", "k8s:cogo-dev")];
    let said = check(&["k8s:cogo-dev/llm"], &set);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.starts_with("k8s:cogo-dev/llm resolves: version 4711, through Kubernetes at"));
    let said = check(&["k8s:cogo-dev/none"], &set);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("there is no such secret"), "{}", said.err);
}

#[test]
fn what_is_no_reference_or_no_setting_is_told_without_quoting_it() {
    let said = check(&[VALUE], &[]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("this is no reference to a secret"), "{}", said.err);
    let said = check(&["env:LLM_KEY"], &[("SECRETS_ALLOW", VALUE)]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("entry 1 of SECRETS_ALLOW"), "{}", said.err);
    let allow = [("SECRETS_ALLOW", "env:LLM_KEY"), ("SECRETS_ENV", "true"), ("LLM_KEY", VALUE)];
    let said = check(&["env:LLM_KEY"], &allow);
    assert_eq!(said.out, "env:LLM_KEY resolves: no version kept, through the environment\n");
}
