use clap::{Args, Subcommand};
use model::{AgentName, Digest, Shard, Tag, Tenant, TraceId};
use registry::{Canary, NewTag, Phase, Registry, Release};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::agents::named;
use crate::connection::Connection;
use crate::ended::Ended;
use crate::human::duration;
use crate::image_status::{Status, follow};
use crate::table::Sheet;

/// Releases of agents: record a tag, see it become what runs, and go back.
#[derive(Args)]
pub(crate) struct Images {
    #[command(subcommand)]
    command: Commands,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Commands {
    Record(Box<Record>),
    /// List the newest releases.
    List {
        /// Only of this agent.
        agent: Option<AgentName>,
        #[arg(long, value_name = "N", default_value = "20")]
        last: i32,
    },
    Promote(Promote),
    Rollback(Rollback),
    Status(Status),
}

/// Record a tag that was pushed: what a build calls at its end.
///
/// The same tag once more is the same release. It rolls out by itself if the agent's autodeploy is
/// on and follows tags of this kind; otherwise `cogo images promote` makes it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cogo images record cogo-codegen-worker v1.4.0
  cogo images record cogo-codegen-worker dev-20261121093000 --digest sha256:… --built-by ci --watch")]
struct Record {
    agent: AgentName,

    /// dev-YYYYMMDDHHMMSS, or vX.Y.Z with -shortsha if you like.
    tag: Tag,

    /// The image it is; looked up in the registry where it is not said.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,

    /// Who built it.
    #[arg(long, value_name = "NAME")]
    built_by: Option<String>,

    /// When it was built, as in 2026-11-21T09:30:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    built_at: Option<OffsetDateTime>,

    /// What is new in it.
    #[arg(long, value_name = "URL")]
    changelog: Option<String>,

    /// The trace its events belong to; otherwise one of its own.
    #[arg(long, value_name = "TRACE_ID")]
    trace: Option<TraceId>,

    #[command(flatten)]
    first: First,

    /// Stay until its rollout is over.
    #[arg(long)]
    watch: bool,
}

/// Whom a release serves first, before everybody else.
#[derive(Args)]
struct First {
    /// Serve this shard first, and everybody only if that goes well.
    #[arg(long, value_name = "SHARD")]
    canary_shard: Option<Shard>,

    /// Serve this tenant first, and everybody only if that goes well.
    #[arg(long, value_name = "TENANT")]
    canary_tenant: Option<Tenant>,
}

/// Make a recorded tag the one that should run.
#[derive(Args)]
struct Promote {
    agent: AgentName,
    tag: Tag,

    /// Also if its image has failed before.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    first: First,

    /// Stay until its rollout is over.
    #[arg(long)]
    watch: bool,
}

/// Go back to the release that ran before, or to any that has run.
#[derive(Args)]
struct Rollback {
    agent: AgentName,

    /// Go back to this tag.
    #[arg(long, value_name = "TAG")]
    to: Option<Tag>,

    /// Stay until its rollout is over.
    #[arg(long)]
    watch: bool,
}

#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    release: Release,
    #[serde(skip_serializing_if = "Option::is_none")]
    attached: Option<bool>,
}

impl Images {
    pub(crate) async fn run(self, stop: CancellationToken) -> miette::Result<Ended> {
        let to = &self.connection;
        let registry = to.registry()?;
        match self.command {
            Commands::Record(record) => record.run(&registry, to, stop).await,
            Commands::List { agent, last } => {
                if let Some(agent) = &agent {
                    named(&registry, agent).await?;
                }
                let releases = registry.releases(agent.as_ref(), last).await?;
                to.out().answer(&releases, |releases| releases_table(releases))?;
                Ok(Ended::Well)
            }
            Commands::Promote(Promote { agent, tag, force, first, watch }) => {
                named(&registry, &agent).await?;
                let canary = first.canary();
                let wanted = registry.promote(&agent, &tag, force, canary.as_ref()).await?;
                told(&registry, wanted.release_id, None, watch, to, stop).await
            }
            Commands::Rollback(Rollback { agent, to: back, watch }) => {
                named(&registry, &agent).await?;
                let wanted = registry.rollback(&agent, back.as_ref()).await?;
                told(&registry, wanted.release_id, None, watch, to, stop).await
            }
            Commands::Status(status) => status.run(&registry, to, stop).await,
        }
    }
}

impl Record {
    async fn run(
        self,
        registry: &Registry,
        to: &Connection,
        stop: CancellationToken,
    ) -> miette::Result<Ended> {
        named(registry, &self.agent).await?;
        let new = NewTag {
            agent: self.agent,
            tag: self.tag,
            digest: self.digest,
            built_by: self.built_by,
            built_at: self.built_at,
            changelog_url: self.changelog,
            trace_id: self.trace,
            canary: self.first.canary(),
        };
        let recorded = registry.record(&new).await?;
        let attached = Some(recorded.attached);
        told(registry, recorded.release_id, attached, self.watch, to, stop).await
    }
}

impl First {
    fn canary(self) -> Option<Canary> {
        let canary = Canary { shard: self.canary_shard, tenant: self.canary_tenant };
        (canary != Canary::default()).then_some(canary)
    }
}

async fn told(
    registry: &Registry,
    id: Uuid,
    attached: Option<bool>,
    watch: bool,
    to: &Connection,
    stop: CancellationToken,
) -> miette::Result<Ended> {
    if watch {
        return follow(registry, id, to, stop).await;
    }
    let release = registry.release(id).await?.expect("a release is never deleted");
    to.out().answer(&Told { release, attached }, |told| {
        let Release { agent_name, tag, .. } = &told.release;
        let again = if told.attached == Some(true) { ", as it was recorded before" } else { "" };
        let next = match (told.release.phase, told.release.wanted) {
            (Phase::Recorded | Phase::Resolved, false) => {
                format!("`cogo images promote {agent_name} {tag}` makes it run")
            }
            (phase, _) if phase.is_over() => "its rollout is over".to_owned(),
            _ => format!("`cogo images status {agent_name} --watch` shows how it fares"),
        };
        format!("{tag} of {agent_name} is {}{again}; {next}", told.release.phase)
    })?;
    Ok(Ended::Well)
}

pub(crate) fn releases_table(releases: &[Release]) -> String {
    if releases.is_empty() {
        return "no tag is recorded; `cogo images record <agent> <tag>` does that".to_owned();
    }
    let mut sheet =
        Sheet::new(&["agent", "tag", "status", "phase", "#verdict", "#restored", "why", "digest"]);
    for release in releases {
        let ms = |ms: Option<i64>| ms.map_or_else(|| "–".to_owned(), human_ms);
        sheet.row([
            release.agent_name.to_string(),
            release.tag.to_string(),
            release.rollout_status.clone(),
            release.phase.to_string(),
            ms(release.verdict_ms),
            ms(release.restored_ms),
            release.failure_code.clone().unwrap_or_default(),
            release
                .digest
                .as_ref()
                .map_or_else(String::new, |digest| digest.hex()[..12].to_owned()),
        ]);
    }
    sheet.text()
}

pub(crate) fn human_ms(ms: i64) -> String {
    duration(std::time::Duration::from_millis(u64::try_from(ms).unwrap_or_default()))
}

fn moment(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "write a time as in 2026-11-21T09:30:00Z".to_owned())
}
