use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use model::Provider;
use registry::{NewAccount, PullSecretLink};
use serde_json::{Value, json};

use crate::bed::{Bed, Controller};

pub(crate) const LOGIN: &str = "robot:hunter2-first";
const NEXT_LOGIN: &str = "robot:hunter2-second";

/// The name that the roles which ship let the controller read in its own namespace, and write in
/// those of the agents.
const NAME: &str = "cogo-registry";

fn secret(kind: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "type": kind, "stringData": data,
        "metadata": { "name": NAME } })
}

async fn log_in_with(bed: &Bed, token: &str) {
    let login = secret("Opaque", &json!({ "token": token }));
    bed.server.apply_in(&bed.server.control, login).await;
}

/// An account whose credential is a Secret, and a pull secret that is to be made from it.
pub(crate) async fn linked(bed: &Bed) {
    log_in_with(bed, LOGIN).await;
    let account = NewAccount {
        provider: Provider::Oci,
        registry_url: bed.images.host.clone(),
        namespace: "acme".to_owned(),
        credential_ref: Some(format!("k8s:{}/{NAME}#token", bed.server.control).parse().unwrap()),
        read_only: true,
        description: String::new(),
    };
    bed.registry.put_account(&account).await.unwrap();
    let link = PullSecretLink {
        account: format!("{}/acme", bed.images.host),
        kube_namespace: bed.server.namespace.clone(),
        secret_name: NAME.to_owned(),
        controller: true,
    };
    bed.registry.put_pull_secret(&link).await.unwrap();
}

pub(crate) fn controller(bed: &Bed) -> Controller {
    bed.controller_with(|settings| {
        settings.secrets.secrets_allow = vec![format!("k8s:{}", bed.server.control)];
        settings.secrets.secrets_cache = Duration::from_millis(1);
    })
}

async fn noted(bed: &Bed) -> (bool, Option<String>, Option<String>) {
    let client = bed.db.client().await;
    let sql = "select last_synced_at is not null, failure_code, content_hash from public.k8s_pull_secret_links";
    let row = client.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

pub(crate) async fn synced(bed: &Bed) -> bool {
    noted(bed).await.0
}

async fn look_again(bed: &Bed) {
    let client = bed.db.client().await;
    client
        .batch_execute("update public.k8s_pull_secret_links set refresh_at = null")
        .await
        .unwrap();
}

async fn pull_secret(bed: &Bed) -> Option<(String, Option<String>)> {
    let found = bed.api::<Secret>().get_opt(NAME).await.unwrap()?;
    let bytes = found.data?.remove(".dockerconfigjson")?.0;
    Some((String::from_utf8(bytes).unwrap(), found.metadata.resource_version))
}

#[tokio::test]
async fn a_pull_secret_follows_its_account_and_is_written_only_when_that_changes() {
    let bed = Bed::new().await;
    linked(&bed).await;
    let _controller = controller(&bed);
    let made = bed.until("a pull secret", async || pull_secret(&bed).await).await;
    assert!(made.0.contains(&bed.images.host) && made.0.contains("hunter2-first"));
    bed.until("it to be noted", async || noted(&bed).await.0.then_some(())).await;
    let (_, failure, hash) = noted(&bed).await;
    assert_eq!(failure, None);

    look_again(&bed).await;
    bed.until("another look", async || {
        let client = bed.db.client().await;
        let sql = "select refresh_at is not null from public.k8s_pull_secret_links";
        client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0).then_some(())
    })
    .await;
    assert_eq!(pull_secret(&bed).await.unwrap(), made, "what is right is not written");
    assert_eq!(noted(&bed).await.2, hash);

    log_in_with(&bed, NEXT_LOGIN).await;
    bed.until("the new credential", async || {
        look_again(&bed).await;
        let found = pull_secret(&bed).await?;
        found.0.contains("hunter2-second").then_some(())
    })
    .await;
    bed.until("another hash", async || (noted(&bed).await.2 != hash).then_some(())).await;
    assert_eq!(bed.events("pull_secret_synced").await.len(), 2, "one for each content");

    let client = bed.db.client().await;
    let sql = "select string_agg(link::text, ' ') || (select string_agg(event::text, ' ') from public.bus_events as event)
        from public.k8s_pull_secret_links as link";
    let told: String = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(!told.contains("hunter2"), "no value is in any row");
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_alone_and_that_is_told() {
    let bed = Bed::new().await;
    let theirs = json!({ ".dockerconfigjson": "{\"auths\":{}}" });
    bed.server.apply(secret("kubernetes.io/dockerconfigjson", &theirs)).await;
    let before = pull_secret(&bed).await;
    linked(&bed).await;
    let _controller = controller(&bed);
    let code = bed.until("a failure", async || noted(&bed).await.1).await;
    assert_eq!(code, "kubernetes");
    assert!(!noted(&bed).await.0, "it never was synced");
    assert_eq!(pull_secret(&bed).await, before);
}

#[tokio::test]
async fn a_credential_that_may_not_be_read_is_told_by_its_name() {
    let bed = Bed::new().await;
    linked(&bed).await;
    let _controller = bed.controller();
    let code = bed.until("a failure", async || noted(&bed).await.1).await;
    assert_eq!(code, "no_credential");
    assert_eq!(pull_secret(&bed).await, None);
}
