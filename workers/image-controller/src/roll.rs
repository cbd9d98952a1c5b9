use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Applied, ApplyError, Disposition};
use registry::{Facts, Phase, Rollout};
use telemetry::Chain;
use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::controller::Controller;
use crate::on_trial::{OnTrial, choose, goes_on};
use crate::trouble;

/// What there is to do for an agent, as it was last read, and when that was.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) rows: Vec<Rollout>,
    pub(crate) at: Instant,
}

/// What comes after a step.
pub(crate) enum Next {
    /// The next step, at once.
    Now,
    /// The same again when something changes, and at the latest then.
    At(Instant),
    /// Its rollout is over, or not ours any more.
    Over,
}

/// Takes one agent's release from step to step, until it has come to an end, something newer is
/// wanted, or somebody else has taken over. Every step may be repeated: whoever comes after us
/// begins with the one that we have not finished.
pub(crate) async fn roll(
    of: Arc<Controller>,
    mut read: watch::Receiver<Read>,
    stop: CancellationToken,
) {
    let first = read.borrow_and_update().clone();
    let Some(row) = choose(&first.rows) else { return };
    let agent = row.agent_id;
    of.hearing.want(agent, [Some(row.release_id), row.previous_id].into_iter().flatten().collect());
    let mut trial = OnTrial::new(row.clone(), first.at);
    let name = &trial.row.agent_name;
    debug!(agent.name = %name, release.tag = %trial.row.tag, "at it");
    let mut changes = of.cluster.changes();
    let mut heard = of.hearing.heard();
    loop {
        changes.mark_unchanged();
        heard.mark_unchanged();
        let next = tokio::select! {
            next = Box::pin(of.step(&mut trial)) => next,
            () = stop.cancelled() => break,
        };
        let until = match next {
            Next::Now => continue,
            Next::Over => break,
            Next::At(until) => until,
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep_until(until.into()) => {}
            _ = changes.changed() => {}
            _ = heard.changed() => {}
            ended = read.changed() => {
                if ended.is_err() || !is_still_due(&read.borrow_and_update(), &trial) {
                    break;
                }
            }
        }
        // What changes at once changes for many: it is looked at once for all of it.
        tokio::time::sleep(TOGETHER).await;
    }
    of.hearing.forget(agent);
    of.look_again.notify_one();
}

const TOGETHER: Duration = Duration::from_millis(50);

/// Whether the release is still the one to be at. What was read before our own last step says
/// nothing.
fn is_still_due(read: &Read, trial: &OnTrial) -> bool {
    if read.at <= trial.moved {
        return true;
    }
    choose(&read.rows).is_some_and(|row| row.release_id == trial.row.release_id)
}

impl Controller {
    async fn step(&self, trial: &mut OnTrial) -> Next {
        match trial.phase() {
            Phase::Queued => self.begin(trial).await,
            Phase::CanaryDeploying => self.deploy_canary(trial).await,
            Phase::CanaryVerifying => self.verify_canary(trial).await,
            Phase::Deploying => self.deploy(trial).await,
            Phase::Verifying => self.verify(trial).await,
            Phase::Failed => self.turn_back(trial).await,
            Phase::RollingBack => self.restore(trial).await,
            Phase::Recorded
            | Phase::Resolved
            | Phase::Active
            | Phase::Retired
            | Phase::Superseded
            | Phase::Rejected
            | Phase::RolledBack
            | Phase::RollbackFailed
            | Phase::ScaledDown => Next::Over,
        }
    }

    /// Nothing is touched before it is known that it can be.
    async fn begin(&self, trial: &mut OnTrial) -> Next {
        if let Err(error) = self.pull_secrets_of(&trial.row).await {
            warn!(agent.name = %trial.row.agent_name, error = %Chain(&error), "cannot begin yet");
            return again();
        }
        match self.cluster.can_deploy(&trial.target()).await {
            Ok(()) => {
                let canary = trial.row.canary.is_some();
                let to = if canary { Phase::CanaryDeploying } else { Phase::Deploying };
                let deadline = Some(self.settings.rollout_deadline);
                self.advance(trial, to, Facts { deadline, ..Facts::default() }).await
            }
            Err(error) if error.disposition() == Disposition::GiveUp => {
                let (code, detail) = trouble::of_apply(&error);
                let facts =
                    Facts { code: Some(code.to_owned()), detail: Some(detail), ..Facts::default() };
                self.advance(trial, Phase::Rejected, facts).await
            }
            Err(error) => {
                warn!(agent.name = %trial.row.agent_name, error = %Chain(&error), "cannot begin yet");
                again()
            }
        }
    }

    async fn deploy(&self, trial: &mut OnTrial) -> Next {
        let target = trial.target();
        let Some(release) = trial.release() else { return Next::Over };
        // One that a release before it has left behind.
        if trial.row.canary.is_none()
            && let Err(error) = self.cluster.end_canary(&target).await
        {
            return self.could_not_apply(trial, &error).await;
        }
        let applied = self.cluster.deploy(&target, &release).await;
        self.applied(trial, Phase::Verifying, applied).await
    }

    async fn deploy_canary(&self, trial: &mut OnTrial) -> Next {
        let (Some(release), Some(route)) = (trial.release(), trial.canary()) else {
            return Next::Over;
        };
        let applied = self.cluster.canary(&trial.target(), &release, &route).await;
        self.applied(trial, Phase::CanaryVerifying, applied).await
    }

    /// What was changed is watched from now on.
    pub(crate) async fn applied(
        &self,
        trial: &mut OnTrial,
        to: Phase,
        applied: Result<Applied, ApplyError>,
    ) -> Next {
        match applied {
            Ok(Applied { generation, .. }) => {
                trial.generation = generation;
                let facts = Facts { generation: Some(generation), ..Facts::default() };
                self.advance(trial, to, facts).await
            }
            Err(error) => self.could_not_apply(trial, &error).await,
        }
    }

    async fn could_not_apply(&self, trial: &mut OnTrial, error: &ApplyError) -> Next {
        if matches!(error, ApplyError::Overtaken { .. }) {
            info!(agent.name = %trial.row.agent_name, "another controller has taken over");
            return Next::Over;
        }
        if error.disposition() == Disposition::Retry {
            let why = Chain(error).to_string();
            return self.hold(trial, &why).await;
        }
        let (code, detail) = trouble::of_apply(error);
        self.fail(trial, code, detail, false).await
    }

    pub(crate) async fn fail(
        &self,
        trial: &mut OnTrial,
        code: &str,
        detail: String,
        blames_image: bool,
    ) -> Next {
        let (name, tag) = (&trial.row.agent_name, &trial.row.tag);
        warn!(agent.name = %name, release.tag = %tag, failure.code = code, "{name} {tag} is bad: {detail}");
        self.metrics.failed(code);
        trial.row.failed_in = Some(trial.phase());
        trial.row.failure_code = Some(code.to_owned());
        trial.row.failure_detail = Some(detail.clone());
        let quarantine = Some(blames_image);
        let facts = Facts {
            code: Some(code.to_owned()),
            detail: Some(detail),
            quarantine,
            ..Facts::default()
        };
        self.advance(trial, Phase::Failed, facts).await
    }

    /// Nothing can be known: the state is kept, and the deadline put off, once.
    pub(crate) async fn hold(&self, trial: &mut OnTrial, why: &str) -> Next {
        let now = Instant::now();
        if trial.held.is_none() {
            warn!(agent.name = %trial.row.agent_name, release.tag = %trial.row.tag, why, "holding");
        }
        trial.held = Some(now);
        let soon = trial.deadline.saturating_duration_since(now) < self.limits.after_hold;
        if soon && !trial.row.extended {
            trial.row.extended = true;
            let deadline = Some(match trial.phase() {
                Phase::RollingBack => self.settings.rollout_restore,
                _ => self.settings.rollout_deadline,
            });
            // To the phase it is in: that puts the deadline off.
            let facts = Facts { deadline, ..Facts::default() };
            if let Next::Over = self.advance(trial, trial.phase(), facts).await {
                return Next::Over;
            }
        }
        again()
    }

    /// Takes a step in the database, which knows better: refused, it is not ours to go on.
    pub(crate) async fn advance(&self, trial: &mut OnTrial, to: Phase, facts: Facts) -> Next {
        let (release, fence) = (trial.row.release_id, trial.row.fence);
        let (name, tag) = (trial.row.agent_name.clone(), trial.row.tag.clone());
        let step = match self.registry.advance(release, fence, to, &facts).await {
            Ok(step) => step,
            // It may have been taken all the same; taking it again then changes nothing.
            Err(error) => {
                warn!(agent.name = %name, error = %Chain(&error), "could not note {to}");
                return again();
            }
        };
        if !step.accepted {
            let why = step.why.unwrap_or_default();
            info!(agent.name = %name, release.tag = %tag, "{name} {tag} does not go on to {to}: {why}");
            return Next::Over;
        }
        let from = std::mem::replace(&mut trial.row.phase, to);
        let now = Instant::now();
        trial.moved = now;
        if let Some(left) = facts.deadline {
            trial.deadline = now + left;
        }
        if from == to {
            return Next::Now;
        }
        trial.held = None;
        info!(agent.name = %name, release.tag = %tag, trace.id = %trial.row.trace_id, "{name} {tag} is {to}");
        if to.is_over() {
            self.metrics.ended(to);
            return Next::Over;
        }
        if !goes_on(from) && goes_on(to) {
            self.metrics.began();
        }
        Next::Now
    }
}

/// What does not go now is tried again soon.
pub(crate) fn again() -> Next {
    Next::At(Instant::now() + Duration::from_millis(500))
}
