use std::time::{Duration, Instant};

use cluster::facts;
use cluster::{Disposition, ObserveError, Release, Target};
use registry::{Facts, Outcomes, Phase};
use telemetry::Chain;
use tracing::{info, warn};

use crate::canary::compare;
use crate::controller::Controller;
use crate::judge::{self, Bad, Clock, Code, Question, Verdict, judge};
use crate::on_trial::OnTrial;
use crate::roll::{Next, again};

/// A verdict, and what it is about.
struct Judged {
    verdict: Verdict,
    template_hash: Option<String>,
    /// After our change, somebody else's template took its place.
    replaced: bool,
}

impl Controller {
    pub(crate) async fn verify(&self, trial: &mut OnTrial) -> Next {
        let Some(release) = trial.release() else { return Next::Over };
        let target = trial.target();
        let judged = self.judge(trial, &target, &release, Question::IsGood).await;
        match judged.verdict {
            Verdict::Wait { .. } if judged.replaced && insists(trial) => {
                self.deploy_again(trial, &release).await
            }
            Verdict::Wait { until } => wait(until),
            Verdict::Hold { why } => self.hold(trial, &why).await,
            Verdict::Bad(Bad { code, detail }) => {
                self.fail(trial, code.as_str(), detail, code.blames_image()).await
            }
            Verdict::Good => {
                if let Some(next) = self.leave(trial).await {
                    return next;
                }
                let generation = Some(trial.generation);
                let template_hash = judged.template_hash;
                self.advance(
                    trial,
                    Phase::Active,
                    Facts { generation, template_hash, ..Facts::default() },
                )
                .await
            }
        }
    }

    pub(crate) async fn verify_canary(&self, trial: &mut OnTrial) -> Next {
        let Some(release) = trial.release() else { return Next::Over };
        let target = trial.target().canary();
        let judged = self.judge(trial, &target, &release, Question::IsGood).await;
        match judged.verdict {
            Verdict::Wait { until } => wait(until),
            Verdict::Hold { why } => self.hold(trial, &why).await,
            Verdict::Bad(Bad { code, detail }) => {
                let detail = format!("as a canary: {detail}");
                self.fail(trial, code.as_str(), detail, code.blames_image()).await
            }
            Verdict::Good => self.watch_canary(trial).await,
        }
    }

    /// It is well; now the bus tells whether its work is too.
    async fn watch_canary(&self, trial: &mut OnTrial) -> Next {
        let now = Instant::now();
        let since = *trial.serves.get_or_insert(now);
        let releases: Vec<_> =
            [Some(trial.row.release_id), trial.row.previous_id].into_iter().flatten().collect();
        // The release before is also judged by what it did before the canary came.
        let window = self.canaries.canary_serves + now.duration_since(since);
        let told = match self.registry.outcomes(&releases, window).await {
            Ok(told) => told,
            Err(error) => {
                warn!(agent.name = %trial.row.agent_name, error = %Chain(&error), "could not hear the canary");
                return again();
            }
        };
        let of = |id: Option<uuid::Uuid>| -> Option<&Outcomes> {
            let id = id?.to_string();
            told.iter().find(|one| one.release_id == id)
        };
        let canary = of(Some(trial.row.release_id));
        if let Some(Bad { code, detail }) =
            compare(canary, of(trial.row.previous_id), &self.canaries)
        {
            return self.fail(trial, code.as_str(), detail, code.blames_image()).await;
        }
        let until = since + self.canaries.canary_serves;
        if now < until {
            return wait(until);
        }
        let name = &trial.row.agent_name;
        let done = canary.map_or(0, |one| one.done);
        info!(agent.name = %name, "the canary of {name} is well: {done} messages done");
        let deadline = Some(self.settings.rollout_deadline);
        self.advance(trial, Phase::Deploying, Facts { deadline, ..Facts::default() }).await
    }

    /// What only existed for the verdict ends before it is told: afterwards nobody would come back.
    async fn leave(&self, trial: &mut OnTrial) -> Option<Next> {
        let target = trial.target();
        let ended = match trial.row.canary {
            Some(_) => self.cluster.end_canary(&target).await,
            None => Ok(()),
        };
        let left = match ended {
            Ok(()) => self.cluster.rest(&target).await,
            error => error,
        };
        match left {
            Ok(()) => None,
            Err(error) if error.disposition() == Disposition::Retry => {
                warn!(agent.name = %trial.row.agent_name, error = %Chain(&error), "could not tidy up yet");
                Some(again())
            }
            // It does not make the release worse.
            Err(error) => {
                warn!(agent.name = %trial.row.agent_name, error = %Chain(&error), "could not tidy up");
                None
            }
        }
    }

    pub(crate) async fn restored(&self, trial: &mut OnTrial, release: &Release) -> Next {
        let target = trial.target();
        let judged = self.judge(trial, &target, release, Question::IsBack).await;
        match judged.verdict {
            Verdict::Wait { .. } if judged.replaced && insists(trial) => {
                trial.generation = 0;
                Next::Now
            }
            Verdict::Wait { until } => wait(until),
            Verdict::Hold { why } => self.hold(trial, &why).await,
            Verdict::Bad(Bad { code, detail }) => {
                self.could_not_restore(trial, &format!("{code}: {detail}")).await
            }
            Verdict::Good => {
                if let Some(next) = self.leave(trial).await {
                    return next;
                }
                self.advance(trial, Phase::RolledBack, Facts::default()).await
            }
        }
    }

    async fn judge(
        &self,
        trial: &mut OnTrial,
        target: &Target,
        release: &Release,
        question: Question,
    ) -> Judged {
        let seen = self.cluster.observe(target).await;
        let judged = self.consider(trial, release, question, seen);
        let weighs = match &judged.verdict {
            Verdict::Good => true,
            Verdict::Bad(bad) => bad.code.is_by_absence(),
            Verdict::Wait { .. } | Verdict::Hold { .. } => false,
        };
        if !weighs {
            return judged;
        }
        // What did not happen may only have been missed, and what was well may not be any more.
        let seen = self.cluster.inspect(target).await;
        self.consider(trial, release, question, seen)
    }

    fn consider(
        &self,
        trial: &OnTrial,
        release: &Release,
        question: Question,
        seen: Result<facts::Facts, ObserveError>,
    ) -> Judged {
        let of = |verdict| Judged { verdict, template_hash: None, replaced: false };
        let facts = match seen {
            Ok(facts) => facts,
            Err(ObserveError::NoDeployment { target }) => {
                return of(Verdict::Bad(Bad {
                    code: Code::NoDeployment,
                    detail: format!("somebody deleted the Deployment {target}"),
                }));
            }
            // Also one that we may not make: it may be mended, and it says nothing of the release.
            Err(error @ ObserveError::Trouble { .. }) => {
                return of(Verdict::Hold { why: Chain(&error).to_string() });
            }
        };
        let heard = self.hearing.heard().borrow().clone();
        let now = Instant::now();
        let fresh = heard.at.is_some_and(|at| now.duration_since(at) < DEAF);
        let release = judge::Release {
            id: release.id.clone(),
            digest: release.digest.clone(),
            generation: trial.generation,
            question,
        };
        let clock =
            Clock { now, deadline: trial.deadline, held: trial.held, bus_is_out: heard.bus_is_out };
        let verdict = judge(&facts, &heard.heartbeats, &release, &clock, &self.limits);
        let deployment = &facts.deployment;
        let replaced = deployment.generation >= release.generation
            && deployment.template.release.as_deref() != Some(release.id.as_str());
        let template_hash = facts.current.map(|current| current.hash);
        match verdict {
            // Whoever does not listen cannot call anybody silent.
            Verdict::Bad(bad) if bad.code == Code::Silent && !fresh => {
                of(Verdict::Hold { why: "the database does not tell what workers say".to_owned() })
            }
            verdict => Judged { verdict, template_hash, replaced },
        }
    }

    async fn deploy_again(&self, trial: &mut OnTrial, release: &Release) -> Next {
        let (name, tag) = (&trial.row.agent_name, &trial.row.tag);
        warn!(agent.name = %name, "somebody changed the Deployment of {name}; putting {tag} back");
        let applied = self.cluster.deploy(&trial.target(), release).await;
        self.applied(trial, Phase::Verifying, applied).await
    }
}

/// Whether our template is put back into its place: somebody who insists has a reason.
fn insists(trial: &mut OnTrial) -> bool {
    trial.overwritten += 1;
    trial.overwritten <= INSISTING
}

const INSISTING: u32 = 3;

/// How old what was heard may be to conclude from silence.
const DEAF: Duration = Duration::from_secs(5);

/// Time is also a change: at the latest in a second it is looked again.
fn wait(until: Instant) -> Next {
    Next::At(until.min(Instant::now() + Duration::from_secs(1)))
}
