use clap::{Args, Subcommand};
use model::{CredentialRef, Provider};
use registry::{Account, NewAccount, PullSecretLink};
use serde::Serialize;

use crate::connection::Connection;
use crate::ended::{Ended, WrongUsage};
use crate::table::{Sheet, or_dash};

/// Accounts at image registries, and the pull secrets that follow from them.
#[derive(Args)]
pub(crate) struct Accounts {
    #[command(subcommand)]
    command: Commands,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Commands {
    Add(Add),
    /// List the accounts, and what uses them.
    List,
    Link(Link),
}

/// Add an account, or change the one of the same registry and namespace.
///
/// The credential is named and never said: it lies in Vault or in a Kubernetes Secret, and is read
/// at the moment of use.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cogo accounts add ghcr ghcr.io/my-org --credential vault:secret/ghcr#token
  cogo accounts add dockerhub docker.io/my-org --credential k8s:cogo/dockerhub#login
  cogo accounts add oci http://127.0.0.1:5000/test         a registry of this machine, without TLS")]
struct Add {
    /// ghcr, dockerhub, ecr, gcr, or oci for any other registry.
    provider: Provider,

    /// Registry and organisation, as in ghcr.io/my-org.
    #[arg(value_name = "REGISTRY/NAMESPACE")]
    place: String,

    /// Where its credential lies; without it, the account reads what anybody may.
    #[arg(long, value_name = "REFERENCE", value_parser = secrets::reference())]
    credential: Option<CredentialRef>,

    /// It may push as well.
    #[arg(long)]
    writable: bool,

    /// Notes, for people.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
}

/// Say which Kubernetes pull secret an account fills.
#[derive(Args)]
struct Link {
    /// The account, as in ghcr.io/my-org.
    account: String,

    /// Namespace and name of the secret, as in cogo-agents/ghcr-pull.
    #[arg(value_name = "NAMESPACE/SECRET")]
    secret: String,

    /// Somebody else makes and refreshes it; only note that.
    #[arg(long)]
    manual: bool,
}

#[derive(Serialize)]
struct Added {
    id: uuid::Uuid,
    account: String,
}

#[derive(Serialize)]
struct Linked {
    id: uuid::Uuid,
    account: String,
    secret: String,
    managed_by: &'static str,
}

impl Accounts {
    pub(crate) async fn run(self) -> miette::Result<Ended> {
        let to = &self.connection;
        match self.command {
            Commands::Add(add) => add.run(to).await,
            Commands::List => {
                let accounts = to.registry()?.accounts().await?;
                to.out().answer(&accounts, |accounts| table(accounts))?;
                Ok(Ended::Well)
            }
            Commands::Link(link) => link.run(to).await,
        }
    }
}

impl Add {
    async fn run(self, to: &Connection) -> miette::Result<Ended> {
        let (scheme, rest) = match self.place.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), self.place.as_str()),
        };
        let Some((host, namespace)) = rest.split_once('/') else {
            return Err(half(
                &self.place,
                "an account is at a registry, in a namespace",
                "ghcr.io/my-org",
            ));
        };
        let account = NewAccount {
            provider: self.provider,
            registry_url: format!("{scheme}{host}"),
            namespace: namespace.to_owned(),
            credential_ref: self.credential,
            read_only: !self.writable,
            description: self.description,
        };
        let id = to.registry()?.put_account(&account).await?;
        to.out().answer(&Added { id, account: self.place }, |added| {
            format!("{0} is known; `cogo agents add … --account {0}` uses it", added.account)
        })?;
        Ok(Ended::Well)
    }
}

impl Link {
    async fn run(self, to: &Connection) -> miette::Result<Ended> {
        let Some((namespace, name)) = self.secret.split_once('/') else {
            return Err(half(
                &self.secret,
                "a pull secret lies in a namespace",
                "cogo-agents/ghcr-pull",
            ));
        };
        let link = PullSecretLink {
            account: self.account.clone(),
            kube_namespace: namespace.to_owned(),
            secret_name: name.to_owned(),
            controller: !self.manual,
        };
        let id = to.registry()?.put_pull_secret(&link).await?;
        let managed_by = if self.manual { "manual" } else { "controller" };
        let linked = Linked { id, account: self.account, secret: self.secret, managed_by };
        to.out().answer(&linked, |linked| match linked.managed_by {
            "controller" => {
                format!("image-controller fills {} from {}", linked.secret, linked.account)
            }
            _ => format!("{} is noted as filled from {}", linked.secret, linked.account),
        })?;
        Ok(Ended::Well)
    }
}

fn half(said: &str, why: &str, example: &str) -> miette::Report {
    let what = format!("{} is only half of it: {why}", model::quote(said));
    WrongUsage { what, help: format!("write both, as in {example}") }.into()
}

fn table(accounts: &[Account]) -> String {
    if accounts.is_empty() {
        return "no account is known; `cogo accounts add --help` shows how to add one".to_owned();
    }
    let mut sheet = Sheet::new(&[
        "account",
        "provider",
        "credential",
        "may",
        "#agents",
        "pull secrets",
        "notes",
    ]);
    for account in accounts {
        let pull_secrets = match (account.pull_secrets, account.failing_pull_secrets) {
            (all, 0) => all.to_string(),
            (all, failing) => format!("{all}, {failing} of them failing"),
        };
        sheet.row([
            account.name(),
            account.provider.clone(),
            or_dash(account.credential_ref.as_ref()),
            if account.read_only { "pull" } else { "pull and push" }.to_owned(),
            account.agents.to_string(),
            pull_secrets,
            account.description.clone(),
        ]);
    }
    sheet.text()
}
