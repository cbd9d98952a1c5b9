use model::{Provider, Repo};
use registry::{NewAccount, NewAgent, PullSecretLink, RegistryError};
use std::time::Duration;

use crate::fixture::{Fixture, name};

fn account() -> NewAccount {
    NewAccount {
        provider: Provider::Ghcr,
        registry_url: "ghcr.io".to_owned(),
        namespace: "acme".to_owned(),
        credential_ref: Some("vault:secret/ghcr#token".parse().unwrap()),
        read_only: true,
        description: String::new(),
    }
}

#[tokio::test]
async fn the_catalogue_begins_with_the_four_agents_everybody_has() {
    let on = Fixture::new().await;
    let agents = on.registry.agents().await.unwrap();
    let stages: Vec<String> = agents
        .iter()
        .filter_map(|agent| {
            let (service, role) = (agent.service.as_ref()?, agent.role.as_ref()?);
            Some(format!("{} {service}/{role}", agent.agent_name))
        })
        .collect();
    assert_eq!(
        stages,
        [
            "cogo-agent-core orchestrator/intent",
            "cogo-buildtest-worker code/build-test",
            "cogo-codegen-worker codegen/generate",
            "cogo-executor-dispatcher orchestrator/execute",
        ]
    );
}

#[tokio::test]
async fn an_agent_is_changed_by_saying_it_anew_and_belongs_to_an_account() {
    let on = Fixture::new().await;
    on.registry.put_account(&account()).await.unwrap();
    let repo: Repo = "ghcr.io/acme/cogo-test-worker".parse().unwrap();
    let wanted = NewAgent {
        account: Some("ghcr.io/acme".to_owned()),
        ..NewAgent::new(name(), repo).on(&"test/work".parse().unwrap())
    };
    on.registry.put_agent(&wanted).await.unwrap();
    let agent = on.registry.agent(&name()).await.unwrap().unwrap();
    assert_eq!(agent.account.as_deref(), Some("ghcr.io/acme"));
    assert_eq!(agent.deployment, "cogo-test-worker");
    assert_eq!(on.registry.accounts().await.unwrap()[0].agents, 1);

    let lost = NewAgent { account: Some("ghcr.io/nobody".to_owned()), ..wanted };
    let said = on.registry.put_agent(&lost).await.unwrap_err();
    assert!(matches!(said, RegistryError::Refused(_)), "{said:?}");
    assert!(said.to_string().contains("there is no account `ghcr.io/nobody`"), "{said}");
}

#[tokio::test]
async fn a_value_where_a_reference_belongs_is_refused_and_not_repeated() {
    const VALUE: &str = "ghp_planted0123456789";
    let on = Fixture::new().await;
    on.registry.put_account(&account()).await.unwrap();
    let server =
        on.test.as_role("service_role", &serde_json::json!({ "role": "service_role" })).await;
    for sql in [
        format!(
            "insert into public.registry_accounts (provider, registry_url, namespace, credential_ref) values ('ghcr', 'ghcr.io', 'x', '{VALUE}')"
        ),
        format!("update public.registry_accounts set credential_ref = '{VALUE}'"),
        format!(
            "select public.registry_put_account('{{\"provider\": \"ghcr\", \"registry_url\": \"ghcr.io\", \"namespace\": \"x\", \"credential_ref\": \"{VALUE}\"}}')"
        ),
    ] {
        let error = server.query(&sql, &[]).await.unwrap_err();
        let said = error.as_db_error().unwrap();
        assert!(said.message().contains("must name a secret and never be one"), "{said}");
        let told = format!("{error:?} {:?} {:?}", said.detail(), said.hint());
        assert!(!told.contains(VALUE), "{told}");
    }
    let events = on.payloads().await;
    assert!(!format!("{events:?}").contains(VALUE));
}

#[tokio::test]
async fn an_unknown_field_is_named() {
    let on = Fixture::new().await;
    let sql = "select public.registry_put_agent('{\"agent_name\": \"cogo-a-b\", \"repo\": \"x.io/a\", \"replicas\": 3}')";
    let said = on.try_run(sql).await.unwrap_err();
    assert_eq!(said, "unknown field `replicas` of an agent");
}

#[tokio::test]
async fn a_pull_secret_is_due_at_once_when_its_time_comes_and_when_its_account_changes() {
    let on = Fixture::new().await;
    on.registry.put_account(&account()).await.unwrap();
    let link = PullSecretLink {
        account: "ghcr.io/acme".to_owned(),
        kube_namespace: "cogo".to_owned(),
        secret_name: "pull".to_owned(),
        controller: true,
    };
    let id = on.registry.put_pull_secret(&link).await.unwrap();
    let noted =
        PullSecretLink { secret_name: "other".to_owned(), controller: false, ..link.clone() };
    on.registry.put_pull_secret(&noted).await.unwrap();
    let due = on.registry.pull_secrets_due().await.unwrap();
    assert_eq!(due.len(), 1, "what somebody else keeps is none of ours");
    assert_eq!(due[0].credential_ref.as_deref(), Some("vault:secret/ghcr#token"));

    let hour = Duration::from_secs(3600);
    assert!(on.registry.pull_secret_synced(id, "hash", hour).await.unwrap());
    assert!(on.registry.pull_secrets_due().await.unwrap().is_empty());
    on.run("update public.k8s_pull_secret_links set refresh_at = now() where managed_by = 'controller'").await;
    assert_eq!(
        on.registry.pull_secrets_due().await.unwrap()[0].content_hash.as_deref(),
        Some("hash")
    );
    on.registry.pull_secret_failed(id, "unreadable", "403", hour).await.unwrap();
    assert!(on.registry.pull_secrets_due().await.unwrap().is_empty());
    assert_eq!(on.registry.accounts().await.unwrap()[0].failing_pull_secrets, 1);

    let moved = NewAccount { credential_ref: Some("env:OTHER".parse().unwrap()), ..account() };
    on.registry.put_account(&moved).await.unwrap();
    let due = on.registry.pull_secrets_due().await.unwrap();
    assert_eq!(due.len(), 1, "a new credential is not waited for");
    assert_eq!(due[0].credential_ref.as_deref(), Some("env:OTHER"));
    let gone = uuid::Uuid::from_u128(7);
    assert!(!on.registry.pull_secret_synced(gone, "hash", hour).await.unwrap());
}
