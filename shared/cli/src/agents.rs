use clap::{Args, Subcommand, ValueEnum};
use model::{AgentName, Repo, Stage, nearest};
use registry::{Agent, NewAgent, Registry, Release};
use serde::Serialize;

use crate::connection::Connection;
use crate::ended::{Ended, NotFound};
use crate::images::releases_table;
use crate::table::{Sheet, or_dash};

/// The catalogue of agents: what runs, what should run, and from where.
#[derive(Args)]
pub(crate) struct Agents {
    #[command(subcommand)]
    command: Commands,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Commands {
    Add(Add),
    /// List the agents, and what runs of each.
    List,
    /// Show one agent and its latest releases.
    Show {
        agent: AgentName,
    },
    /// Stop an agent's rollouts; what runs goes on.
    Pause {
        agent: AgentName,
        /// Why, for whoever finds it paused.
        #[arg(long, default_value = "paused by an operator", value_name = "TEXT")]
        reason: String,
    },
    /// Let an agent's rollouts go on, and forget how many failed.
    Resume {
        agent: AgentName,
    },
}

/// Add an agent to the catalogue, or say anew all of one that is there.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cogo agents add cogo-codegen-worker ghcr.io/my-org/cogo-codegen-worker --route codegen/generate \\
      --account ghcr.io/my-org --autodeploy
  cogo agents add cogo-docs-writer ghcr.io/my-org/cogo-docs-writer --route docs/write --follow prod")]
struct Add {
    /// Its name: cogo-<domain>-<role>.
    agent: AgentName,

    /// Where its images are kept, with the registry.
    repo: Repo,

    /// The stage it works on, as in codegen/generate.
    #[arg(long, value_name = "STAGE")]
    route: Option<Stage>,

    /// The account that reads its images, as in ghcr.io/my-org.
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,

    /// Deploy a tag of the kind that --follow says as soon as it is recorded.
    #[arg(long)]
    autodeploy: bool,

    /// Which tags --autodeploy takes.
    #[arg(long, value_enum, default_value = "dev")]
    follow: Kind,

    /// Namespace of its Deployment.
    #[arg(long, value_name = "NAME", default_value = "cogo")]
    namespace: String,

    /// Its Deployment; without it, one of the agent's name.
    #[arg(long, value_name = "NAME")]
    deployment: Option<String>,

    /// The container of that Deployment whose image is meant.
    #[arg(long, value_name = "NAME", default_value = "worker")]
    container: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// dev-YYYYMMDDHHMMSS
    Dev,
    /// vX.Y.Z
    Prod,
}

#[derive(Serialize)]
struct Added {
    id: uuid::Uuid,
    agent_name: AgentName,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    agent: Agent,
    releases: Vec<Release>,
}

#[derive(Serialize)]
struct Paused {
    agent_name: AgentName,
    paused: bool,
    changed: bool,
}

/// As many releases as fit a screen.
const SHOWN: i32 = 10;

impl Agents {
    pub(crate) async fn run(self) -> miette::Result<Ended> {
        let to = &self.connection;
        let registry = to.registry()?;
        match self.command {
            Commands::Add(add) => add.run(&registry, to).await?,
            Commands::List => {
                to.out().answer(&registry.agents().await?, |agents| table(agents))?;
            }
            Commands::Show { agent } => {
                let found = named(&registry, &agent).await?;
                let releases = registry.releases(Some(&agent), SHOWN).await?;
                to.out().answer(&Shown { agent: found, releases }, show)?;
            }
            Commands::Pause { agent, reason } => {
                let changed = registry.pause(&agent, &reason).await?;
                to.out().answer(&Paused { agent_name: agent, paused: true, changed }, |told| {
                    format!("{0} is paused; `cogo agents resume {0}` ends it", told.agent_name)
                })?;
            }
            Commands::Resume { agent } => {
                let changed = registry.resume(&agent).await?;
                to.out().answer(&Paused { agent_name: agent, paused: false, changed }, |told| {
                    let was = if told.changed { "goes on" } else { "was not paused" };
                    format!("{} {was}", told.agent_name)
                })?;
            }
        }
        Ok(Ended::Well)
    }
}

impl Add {
    async fn run(self, registry: &Registry, to: &Connection) -> miette::Result<()> {
        let follow = match self.follow {
            Kind::Dev => "dev",
            Kind::Prod => "prod",
        };
        let agent = NewAgent {
            default_tag: Some(follow.to_owned()),
            account: self.account,
            autodeploy_enabled: self.autodeploy,
            kube_namespace: Some(self.namespace),
            deployment: self.deployment,
            container: Some(self.container),
            ..NewAgent::new(self.agent, self.repo)
        };
        let agent = match &self.route {
            Some(stage) => agent.on(stage),
            None => agent,
        };
        let id = registry.put_agent(&agent).await?;
        to.out().answer(&Added { id, agent_name: agent.agent_name }, |added| {
            format!(
                "{0} is in the catalogue; `cogo images record {0} <tag>` rolls out",
                added.agent_name
            )
        })
    }
}

/// The agent of this name, or who may have been meant.
pub(crate) async fn named(registry: &Registry, name: &AgentName) -> miette::Result<Agent> {
    if let Some(agent) = registry.agent(name).await? {
        return Ok(agent);
    }
    let agents = registry.agents().await?;
    let near = nearest(name.as_str(), agents.iter().map(|agent| agent.agent_name.as_str()));
    let help = match near {
        Some(near) => format!("did you mean {near}?"),
        None => "`cogo agents list` lists those there are".to_owned(),
    };
    Err(NotFound { what: format!("there is no agent {name}"), help }.into())
}

fn table(agents: &[Agent]) -> String {
    if agents.is_empty() {
        return "the catalogue is empty; `cogo agents add --help` shows how to add an agent"
            .to_owned();
    }
    let mut sheet =
        Sheet::new(&["agent", "stage", "active", "pinned", "latest", "#workers", "rollouts"]);
    for agent in agents {
        let latest = match (&agent.latest_tag, &agent.latest_phase) {
            (Some(tag), Some(phase)) => format!("{tag} {phase}"),
            _ => "–".to_owned(),
        };
        sheet.row([
            agent.agent_name.clone(),
            stage(agent),
            or_dash(agent.active_tag.as_ref()),
            or_dash(agent.pinned_tag.as_ref()),
            latest,
            agent.workers.to_string(),
            rollouts(agent),
        ]);
    }
    sheet.text()
}

fn stage(agent: &Agent) -> String {
    match (&agent.service, &agent.role) {
        (Some(service), Some(role)) => format!("{service}/{role}"),
        _ => "–".to_owned(),
    }
}

fn rollouts(agent: &Agent) -> String {
    match (&agent.paused_reason, agent.autodeploy_enabled) {
        (Some(reason), _) => format!("paused: {reason}"),
        (None, true) => format!("{} tags by themselves", agent.default_tag),
        (None, false) => "when promoted".to_owned(),
    }
}

fn show(shown: &Shown) -> String {
    let agent = &shown.agent;
    let mut lines = vec![
        format!("{}, at {}", agent.agent_name, stage(agent)),
        format!("  images       {}", agent.repo),
        format!("  account      {}", or_dash(agent.account.as_ref())),
        format!(
            "  runs in      {}/{} (container {})",
            agent.kube_namespace, agent.deployment, agent.container
        ),
        format!("  active       {}", or_dash(agent.active_tag.as_ref())),
        format!("  pinned       {}", or_dash(agent.pinned_tag.as_ref())),
        format!("  workers      {}", agent.workers),
        format!("  rollouts     {}", rollouts(agent)),
    ];
    if agent.failures > 0 {
        lines.push(format!("  failures     {} in a row; the third pauses it", agent.failures));
    }
    lines.push(String::new());
    lines.push(releases_table(&shown.releases));
    lines.join("\n")
}
