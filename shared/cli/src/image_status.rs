use std::time::Duration;

use clap::Args;
use model::AgentName;
use registry::{Phase, Registry, Release};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::agents::named;
use crate::connection::Connection;
use crate::ended::{Ended, NotFound};
use crate::images::{human_ms, releases_table};

/// Show how an agent's latest release stands; with --watch, until its rollout is over.
///
/// Exit code 1 if it does not run as it should in the end.
#[derive(Args)]
pub(crate) struct Status {
    agent: AgentName,

    /// Stay, and tell each step, until its rollout is over.
    #[arg(long)]
    watch: bool,
}

const LOOK_EVERY: Duration = Duration::from_millis(250);

impl Status {
    pub(crate) async fn run(
        self,
        registry: &Registry,
        to: &Connection,
        stop: CancellationToken,
    ) -> miette::Result<Ended> {
        named(registry, &self.agent).await?;
        let mut latest = registry.releases(Some(&self.agent), 1).await?;
        let Some(release) = latest.pop() else {
            let what = format!("no tag of {} is recorded", self.agent);
            let help = format!("`cogo images record {} <tag>` records one", self.agent);
            return Err(NotFound { what, help }.into());
        };
        if self.watch {
            return follow(registry, release.id, to, stop).await;
        }
        let ended = verdict(&release);
        to.out().answer(&[release], |releases| {
            let mut text = releases_table(releases);
            if let Some(detail) = &releases[0].failure_detail {
                text.push_str(&format!("\n\n{detail}"));
            }
            text
        })?;
        Ok(ended)
    }
}

/// Tells each step of a release, and how long after it was asked for, until its rollout is over.
pub(crate) async fn follow(
    registry: &Registry,
    id: Uuid,
    to: &Connection,
    stop: CancellationToken,
) -> miette::Result<Ended> {
    let mut before = None;
    loop {
        let release = registry.release(id).await?.expect("a release is never deleted");
        let now = (release.phase, release.failure_code.clone());
        if before.as_ref() != Some(&now) {
            to.out().line(&release, line)?;
            before = Some(now);
        }
        // Nobody is at what nobody has asked for.
        if release.phase.is_over() || (release.phase == Phase::Resolved && !release.wanted) {
            return Ok(verdict(&release));
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(Ended::Badly),
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

fn verdict(release: &Release) -> Ended {
    match release.phase {
        Phase::Rejected
        | Phase::Failed
        | Phase::RollingBack
        | Phase::RolledBack
        | Phase::RollbackFailed
        | Phase::ScaledDown => Ended::Badly,
        Phase::Recorded
        | Phase::Resolved
        | Phase::Queued
        | Phase::CanaryDeploying
        | Phase::CanaryVerifying
        | Phase::Deploying
        | Phase::Verifying
        | Phase::Active
        | Phase::Retired
        | Phase::Superseded => Ended::Well,
    }
}

fn line(release: &Release) -> String {
    let Release { agent_name, tag, phase, .. } = release;
    let what = match phase {
        Phase::Recorded => "is recorded; its image is looked up".to_owned(),
        Phase::Resolved if release.wanted => "is resolved".to_owned(),
        Phase::Resolved => {
            format!("is staged; `cogo images promote {agent_name} {tag}` makes it run")
        }
        Phase::Queued => "is the next to be deployed".to_owned(),
        Phase::CanaryDeploying => "is deployed for a first few".to_owned(),
        Phase::CanaryVerifying => "is watched where it serves a first few".to_owned(),
        Phase::Deploying => "is deployed".to_owned(),
        Phase::Verifying => "is watched".to_owned(),
        Phase::Active => format!("is active after {}", human_ms(release.took_ms)),
        Phase::Retired => "was active, and a newer release is now".to_owned(),
        Phase::Superseded => "made room for a newer release".to_owned(),
        Phase::Rejected => "is rejected; nothing was touched".to_owned(),
        Phase::Failed => "failed".to_owned(),
        Phase::RollingBack => match &release.previous_tag {
            Some(previous) => format!("failed; {previous} comes back"),
            None => "failed; what ran before comes back".to_owned(),
        },
        Phase::RolledBack => match &release.previous_tag {
            Some(previous) => {
                format!("is rolled back after {}: {previous} runs again", human_ms(release.took_ms))
            }
            None => format!("is rolled back after {}", human_ms(release.took_ms)),
        },
        Phase::RollbackFailed => "could not be rolled back: somebody must look".to_owned(),
        Phase::ScaledDown => "failed, and nothing ran before it: nothing runs now".to_owned(),
    };
    let why = match (&release.failure_code, &release.failure_detail) {
        (Some(code), Some(detail)) => format!(" ({code}: {detail})"),
        (Some(code), None) => format!(" ({code})"),
        (None, _) => String::new(),
    };
    format!("{:>8}  {agent_name} {tag} {what}{why}", human_ms(release.took_ms))
}
