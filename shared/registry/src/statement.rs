use db::{Json, Parameter, Statement, Type};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Registry, RegistryError, accounts, agents, explain, pull_secrets, releases, rollouts, workers,
};

/// Every statement of this crate is a static made here; a test prepares them all.
pub(crate) const fn statement(
    name: &'static str,
    sql: &'static str,
    types: &'static [Type],
) -> Statement {
    Statement { name, sql, types }
}

impl Registry {
    /// What a function answers as one document.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        statement: &'static Statement,
        parameters: &[&dyn Parameter],
    ) -> Result<T, RegistryError> {
        let row = self.db.query_one(statement, parameters).await?;
        let Json(answer) = row.get::<Json<Value>>(0);
        serde_json::from_value(answer).map_err(RegistryError::Unreadable)
    }

    /// The same of a function that answers null where there is nothing.
    pub(crate) async fn read_opt<T: DeserializeOwned>(
        &self,
        statement: &'static Statement,
        parameters: &[&dyn Parameter],
    ) -> Result<Option<T>, RegistryError> {
        let row = self.db.query_one(statement, parameters).await?;
        let answer = row.get::<Option<Json<Value>>>(0);
        let answer = answer.map(|Json(answer)| serde_json::from_value(answer));
        answer.transpose().map_err(RegistryError::Unreadable)
    }

    pub(crate) fn db(&self) -> &db::Db {
        &self.db
    }
}

/// All of them, for the test that prepares each.
#[doc(hidden)]
pub fn statements() -> Vec<&'static Statement> {
    vec![
        &accounts::ACCOUNTS,
        &accounts::PUT_ACCOUNT,
        &agents::AGENTS,
        &agents::PAUSE,
        &agents::PUT_AGENT,
        &explain::EXPLAIN,
        &pull_secrets::DUE,
        &pull_secrets::FAILED,
        &pull_secrets::LINKS,
        &pull_secrets::PUT,
        &pull_secrets::SYNCED,
        &releases::PROMOTE,
        &releases::RECORD,
        &releases::RELEASES,
        &releases::ROLLBACK,
        &rollouts::ADVANCE,
        &rollouts::LET_GO,
        &rollouts::TAKE,
        &workers::HEARTBEATS,
        &workers::OUTCOMES,
        &workers::PULSE,
    ]
}
