use clap::{Args, Subcommand};
use miette::Diagnostic;
use model::CredentialRef;
use secrets::{ResolveError, Resolved, Secrets, SecretsSettings};
use serde::Serialize;
use telemetry::Chain;

use crate::ended::Ended;
use crate::out::{Format, Out};

/// Check whether references to secrets resolve.
#[derive(Args)]
pub(crate) struct SecretCommands {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Subcommand)]
enum Commands {
    Check(Box<Check>),
}

/// Tell whether a reference resolves, through which login and to which version; never its value.
///
/// Uses the same settings as workers, SECRETS_ALLOW among them: what resolves here with a worker's
/// settings resolves there.
#[derive(Args)]
struct Check {
    /// As in k8s:<namespace>/<secret>#<key>, vault:<mount>/<path>#<field> or env:<NAME>.
    #[arg(value_parser = secrets::reference())]
    reference: CredentialRef,

    /// How the answer is written: a line for people, or one JSON document for programs.
    #[arg(short, long, value_enum, default_value = "table", display_order = 900)]
    output: Format,

    #[command(flatten)]
    settings: SecretsSettings,
}

#[derive(Serialize)]
struct Verdict {
    reference: CredentialRef,
    resolves: bool,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Found {
        keeper: &'static str,
        server: Option<String>,
        namespace: Option<String>,
        login: Option<String>,
        version: Option<String>,
        #[serde(skip)]
        through: String,
    },
    Failed {
        error: String,
        help: Option<String>,
        /// Whether it may be otherwise soon without anybody's doing.
        passes: bool,
    },
}

impl SecretCommands {
    pub(crate) async fn run(self) -> miette::Result<Ended> {
        let Commands::Check(check) = self.command;
        check.run().await
    }
}

impl Check {
    async fn run(self) -> miette::Result<Ended> {
        let secrets = Secrets::new(&self.settings)?;
        let outcome = match secrets.resolve(&self.reference).await {
            Ok(resolved) => found(&resolved),
            // People get it as every other error.
            Err(error) if self.output == Format::Table => return Err(error.into()),
            Err(error) => failed(&error),
        };
        let resolves = matches!(outcome, Outcome::Found { .. });
        let verdict = Verdict { reference: self.reference, resolves, outcome };
        Out::new(self.output).answer(&verdict, text)?;
        Ok(if resolves { Ended::Well } else { Ended::Badly })
    }
}

fn found(resolved: &Resolved) -> Outcome {
    let through = &resolved.through;
    Outcome::Found {
        keeper: through.keeper,
        server: through.server.clone(),
        namespace: through.namespace.clone(),
        login: through.login.clone(),
        version: resolved.version.as_deref().map(str::to_owned),
        through: through.to_string(),
    }
}

fn failed(error: &ResolveError) -> Outcome {
    Outcome::Failed {
        error: Chain(error).to_string(),
        help: error.help().map(|help| help.to_string()),
        passes: error.disposition() == secrets::Disposition::Retry,
    }
}

fn text(verdict: &Verdict) -> String {
    match &verdict.outcome {
        Outcome::Found { through, version, .. } => {
            let version = match version {
                Some(version) => format!("version {version}"),
                None => "no version kept".to_owned(),
            };
            format!("{} resolves: {version}, through {through}", verdict.reference)
        }
        Outcome::Failed { error, .. } => error.clone(),
    }
}
