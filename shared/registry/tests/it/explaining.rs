use registry::{Facts, Phase};
use uuid::Uuid;

use crate::fixture::{Fixture, deadline, name, tag};

#[tokio::test]
async fn a_release_is_told_with_its_quarantine_and_what_else_is_under_way() {
    let on = Fixture::new().await;
    assert!(on.registry.explain(Uuid::from_u128(7)).await.unwrap().is_none());
    let good = on.activate("v1.0.0", "good").await;
    let bad = on.fail("v1.1.0", "bad").await;
    on.take("controller").await;
    let facts = on.registry.explain(bad).await.unwrap().unwrap();
    assert!(facts.held && facts.holder.as_deref() == Some("controller"), "{facts:?}");
    let quarantine = facts.quarantine.unwrap();
    assert_eq!((quarantine.failure_code.as_str(), quarantine.by_release), ("crash", bad));
    assert!(facts.deadline_at.is_some() && !facts.extended && facts.others.is_empty());

    let facts = on.registry.explain(good).await.unwrap().unwrap();
    assert_eq!(facts.quarantine, None);
    assert_eq!((facts.others[0].id, facts.others[0].phase), (bad, Phase::Failed));
    assert_eq!(facts.newer.unwrap().id, bad);

    // The same image under another tag is known for what it was.
    on.step(bad, Phase::RollingBack, &deadline()).await;
    on.step(bad, Phase::RolledBack, &Facts::default()).await;
    let again = on.record("v1.2.0").await;
    on.resolve(again, "bad").await;
    let facts = on.registry.explain(again).await.unwrap().unwrap();
    assert_eq!(facts.quarantine.unwrap().by_tag, tag("v1.1.0"));
}

#[tokio::test]
async fn a_release_is_told_with_its_workers_and_the_pull_secrets_it_lacks() {
    let on = Fixture::new().await;
    let id = on.activate("v1.0.0", "good").await;
    on.run(&format!(
        "insert into public.workers (id, agent_name, state, release_id) values
            ('alive', 'a', 'ready', '{id}'), ('gone', 'a', 'gone', '{id}'), ('other', 'a', 'ready', null);
         insert into public.registry_accounts (provider, registry_url, namespace) values ('ghcr', 'ghcr.io', 'acme');
         update public.agent_catalog set registry_account_id = (select id from public.registry_accounts)
            where agent_name = '{}';
         insert into public.k8s_pull_secret_links (registry_account_id, kube_namespace, secret_name, failure_code)
            select id, 'cogo', 'pull', 'no_credential' from public.registry_accounts
            union all select id, 'cogo', 'well', null from public.registry_accounts
            union all select id, 'elsewhere', 'pull', 'no_credential' from public.registry_accounts",
        name()
    ))
    .await;
    let facts = on.registry.explain(id).await.unwrap().unwrap();
    let workers: Vec<&str> = facts.workers.iter().map(|worker| worker.id.as_str()).collect();
    assert_eq!(workers, ["alive"]);
    assert_eq!(facts.pull_secrets.len(), 1, "of its namespace, and only what failed");
    assert_eq!(facts.pull_secrets[0].secret, "cogo/pull");
    assert!(!facts.held, "nobody has looked at it");
    let links = on.registry.pull_secret_links().await.unwrap();
    let told: Vec<_> = links
        .iter()
        .map(|link| {
            (link.kube_namespace.as_str(), link.secret_name.as_str(), link.failure_code.is_some())
        })
        .collect();
    assert_eq!(
        told,
        [("cogo", "pull", true), ("cogo", "well", false), ("elsewhere", "pull", true)]
    );
    assert!(links.iter().all(|link| link.account == "ghcr.io/acme" && !link.controller));
}
