use std::time::Duration;

use db::{Statement, Type};
use serde::Deserialize;
use uuid::Uuid;

use crate::statement::statement;
use crate::{Registry, RegistryError};

/// A pull secret that the controller keeps, and should look at now.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PullSecret {
    pub link_id: Uuid,
    pub kube_namespace: String,
    pub secret_name: String,
    /// Of what it held when it was last written.
    pub content_hash: Option<String>,
    pub provider: String,
    pub registry_url: String,
    pub account_namespace: String,
    pub credential_ref: Option<String>,
}

/// Which pull secret belongs to which account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSecretLink {
    /// `registry/namespace`, or an id.
    pub account: String,
    pub kube_namespace: String,
    pub secret_name: String,
    /// Made and refreshed by the controller; otherwise only noted.
    pub controller: bool,
}

/// A link as it is known, and why its secret could not be written, if so.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LinkedPullSecret {
    /// `registry/namespace`.
    pub account: String,
    pub kube_namespace: String,
    pub secret_name: String,
    pub controller: bool,
    pub failure_code: Option<String>,
    pub failure_detail: Option<String>,
}

pub(crate) static LINKS: Statement =
    statement("registry.pull_secret_links", "select public.registry_list_pull_secrets()", &[]);
pub(crate) static DUE: Statement =
    statement("registry.pull_secrets_due", "select public.pull_secrets_due()", &[]);
pub(crate) static SYNCED: Statement = statement(
    "registry.pull_secret_synced",
    "select public.pull_secret_synced(p_link => $1, p_content_hash => $2, p_next_ms => $3)",
    &[Type::UUID, Type::TEXT, Type::INT8],
);
pub(crate) static FAILED: Statement = statement(
    "registry.pull_secret_failed",
    "select public.pull_secret_failed(p_link => $1, p_code => $2, p_detail => $3, p_next_ms => $4)",
    &[Type::UUID, Type::TEXT, Type::TEXT, Type::INT8],
);
pub(crate) static PUT: Statement = statement(
    "registry.put_pull_secret",
    "select public.registry_put_pull_secret(p_account => $1, p_kube_namespace => $2,
        p_secret_name => $3, p_managed_by => $4)",
    &[Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT],
);

impl Registry {
    /// Every link that is known.
    pub async fn pull_secret_links(&self) -> Result<Vec<LinkedPullSecret>, RegistryError> {
        self.read(&LINKS, &[]).await
    }

    pub async fn pull_secrets_due(&self) -> Result<Vec<PullSecret>, RegistryError> {
        self.read(&DUE, &[]).await
    }

    /// It was written, or seen to be as it should be; false if the link is gone.
    pub async fn pull_secret_synced(
        &self,
        link: Uuid,
        content_hash: &str,
        next: Duration,
    ) -> Result<bool, RegistryError> {
        let next = i64::try_from(next.as_millis()).unwrap_or(i64::MAX);
        Ok(self.db().query_one(&SYNCED, &[&link, &content_hash, &next]).await?.get(0))
    }

    /// It could not be made as it should be; false if the link is gone.
    pub async fn pull_secret_failed(
        &self,
        link: Uuid,
        code: &str,
        detail: &str,
        next: Duration,
    ) -> Result<bool, RegistryError> {
        let next = i64::try_from(next.as_millis()).unwrap_or(i64::MAX);
        Ok(self.db().query_one(&FAILED, &[&link, &code, &detail, &next]).await?.get(0))
    }

    /// Adds a link, or changes the one of that secret.
    pub async fn put_pull_secret(&self, link: &PullSecretLink) -> Result<Uuid, RegistryError> {
        let managed_by = if link.controller { "controller" } else { "manual" };
        let parameters: [&dyn db::Parameter; 4] =
            [&link.account, &link.kube_namespace, &link.secret_name, &managed_by];
        Ok(self.db().query_one(&PUT, &parameters).await?.get(0))
    }
}
