use db::{Json, Statement, Type};
use model::{CredentialRef, Provider};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::statement::statement;
use crate::{Registry, RegistryError};

/// An account at an image registry, and what uses it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Account {
    pub id: Uuid,
    pub provider: String,
    pub registry_url: String,
    pub namespace: String,
    /// Names the credential; `None`: what anybody may read.
    pub credential_ref: Option<String>,
    pub read_only: bool,
    pub description: String,
    pub agents: i64,
    pub pull_secrets: i64,
    pub failing_pull_secrets: i64,
}

/// An account as somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewAccount {
    pub provider: Provider,
    pub registry_url: String,
    pub namespace: String,
    pub credential_ref: Option<CredentialRef>,
    pub read_only: bool,
    pub description: String,
}

pub(crate) static ACCOUNTS: Statement =
    statement("registry.accounts", "select public.registry_list_accounts()", &[]);
pub(crate) static PUT_ACCOUNT: Statement = statement(
    "registry.put_account",
    "select id from public.registry_put_account(p_account => $1)",
    &[Type::JSONB],
);

impl Account {
    /// What it is called on command lines: `ghcr.io/my-org`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry_url, self.namespace)
    }
}

impl Registry {
    pub async fn accounts(&self) -> Result<Vec<Account>, RegistryError> {
        self.read(&ACCOUNTS, &[]).await
    }

    /// Adds an account, or changes the one of the same registry and namespace.
    pub async fn put_account(&self, account: &NewAccount) -> Result<Uuid, RegistryError> {
        Ok(self.db().query_one(&PUT_ACCOUNT, &[&Json(account)]).await?.get(0))
    }
}
