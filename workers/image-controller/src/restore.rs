use cluster::{ApplyError, Disposition};
use registry::{Facts, Phase};
use telemetry::Chain;
use tracing::{error, info, warn};

use crate::controller::Controller;
use crate::on_trial::OnTrial;
use crate::roll::{Next, again};

impl Controller {
    /// It is bad: its canary ends, and what ran before comes back. Of what nothing ran before,
    /// nothing runs.
    pub(crate) async fn turn_back(&self, trial: &mut OnTrial) -> Next {
        let target = trial.target();
        let mut done = match trial.row.canary {
            Some(_) => self.cluster.end_canary(&target).await,
            None => Ok(()),
        };
        let first = trial.previous().is_none();
        if done.is_ok() && first && !trial.failed_as_canary() {
            done = self.cluster.scale_to_zero(&target).await;
        }
        match done {
            Err(error) if error.disposition() == Disposition::Retry => {
                warn!(agent.name = %trial.row.agent_name, error = %Chain(&error), "cannot go back yet");
                again()
            }
            // What is not there runs nowhere.
            Err(ApplyError::NoDeployment { .. }) | Ok(()) if first => {
                self.advance(trial, Phase::ScaledDown, Facts::default()).await
            }
            Err(error) if first => {
                let why = Chain(&error).to_string();
                self.could_not_restore(trial, &why).await
            }
            Err(error) => {
                warn!(agent.name = %trial.row.agent_name, error = %Chain(&error), "could not end the canary");
                self.roll_back(trial).await
            }
            Ok(()) => self.roll_back(trial).await,
        }
    }

    async fn roll_back(&self, trial: &mut OnTrial) -> Next {
        trial.generation = 0;
        trial.row.extended = false;
        let deadline = Some(self.settings.rollout_restore);
        self.advance(trial, Phase::RollingBack, Facts { deadline, ..Facts::default() }).await
    }

    /// To the image that was last seen to be good, by its digest: what a Deployment had before may
    /// have been as bad.
    pub(crate) async fn restore(&self, trial: &mut OnTrial) -> Next {
        let Some(release) = trial.previous() else {
            return self.could_not_restore(trial, "it is not known what ran before").await;
        };
        // Zero: not by us, not in this process.
        if trial.generation == 0 {
            match self.cluster.deploy(&trial.target(), &release).await {
                Ok(applied) => trial.generation = applied.generation,
                Err(ApplyError::Overtaken { .. }) => {
                    info!(agent.name = %trial.row.agent_name, "another controller has taken over");
                    return Next::Over;
                }
                Err(error) if error.disposition() == Disposition::Retry => {
                    let why = Chain(&error).to_string();
                    return self.hold(trial, &why).await;
                }
                // Where the Deployment could not be changed before, it may still be what it was.
                Err(error) if self.carries(trial, &release.id).await => {
                    warn!(agent.name = %trial.row.agent_name, error = %Chain(&error), "nothing to take back");
                }
                Err(error) => {
                    return {
                        let why = Chain(&error).to_string();
                        self.could_not_restore(trial, &why).await
                    };
                }
            }
        }
        self.restored(trial, &release).await
    }

    async fn carries(&self, trial: &OnTrial, release: &str) -> bool {
        let seen = self.cluster.inspect(&trial.target()).await;
        seen.is_ok_and(|facts| facts.deployment.template.release.as_deref() == Some(release))
    }

    /// Somebody has to look: nothing more is tried, and the agent is paused.
    pub(crate) async fn could_not_restore(&self, trial: &mut OnTrial, why: &str) -> Next {
        let (name, tag) = (&trial.row.agent_name, &trial.row.tag);
        error!(agent.name = %name, release.tag = %tag, "{name} could not be brought back from {tag}: {why}");
        let failed = trial.row.failure_detail.as_deref().unwrap_or("it failed");
        let detail = Some(format!("{failed}; what ran before could not be brought back: {why}"));
        self.advance(trial, Phase::RollbackFailed, Facts { detail, ..Facts::default() }).await
    }
}
