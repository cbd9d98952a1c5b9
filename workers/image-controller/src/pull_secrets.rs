use std::time::Duration;

use cluster::PullSecretState;
use model::Provider;
use rand::RngExt;
use registry::{PullSecret, RegistryError, Rollout};
use telemetry::Chain;
use time::OffsetDateTime;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::controller::Controller;
use crate::resolve::{Unresolved, of_registry, refused};

/// What a pull secret was found to be.
struct Synced {
    hash: String,
    state: PullSecretState,
    /// When to look at it again.
    next: Duration,
}

impl Controller {
    /// Keeps the pull secrets that are the controller's, one after the other, until told to stop.
    pub(crate) async fn keep_pull_secrets(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.registry.pull_secrets_due().await {
                Ok(due) => {
                    for link in due {
                        if stop.is_cancelled() {
                            return;
                        }
                        self.keep(&link).await;
                    }
                }
                Err(error) => warn!(error = %Chain(&error), "could not look for pull secrets"),
            }
            tokio::select! {
                () = sleep(EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Pods that start without their pull secret are refused, and their release would be blamed.
    pub(crate) async fn pull_secrets_of(&self, agent: &Rollout) -> Result<(), RegistryError> {
        for link in self.registry.pull_secrets_due().await? {
            if link.kube_namespace == agent.kube_namespace {
                self.keep(&link).await;
            }
        }
        Ok(())
    }

    /// Told to be synced only once it is, or is seen to be.
    async fn keep(&self, link: &PullSecret) {
        let _alone = self.keeping.lock().await;
        let (namespace, name) = (&link.kube_namespace, &link.secret_name);
        let noted: Result<bool, RegistryError> = match self.sync(link).await {
            Ok(Synced { hash, state, next }) => {
                match state {
                    PullSecretState::Unchanged => debug!("{namespace}/{name} is as it should be"),
                    state => info!("pull secret {namespace}/{name}: {state:?}"),
                }
                self.metrics.pull_secret(outcome(state));
                self.registry.pull_secret_synced(link.link_id, &hash, next).await
            }
            Err(Unresolved { code, detail, passes }) => {
                warn!(failure.code = code, "pull secret {namespace}/{name}: {detail}");
                self.metrics.pull_secret("failed");
                let next = passes.map_or(LATER, |after| after.max(SOON));
                self.registry.pull_secret_failed(link.link_id, code, &detail, spread(next)).await
            }
        };
        if let Err(error) = noted {
            warn!(error = %Chain(&error), "could not note what became of {namespace}/{name}");
        }
    }

    async fn sync(&self, link: &PullSecret) -> Result<Synced, Unresolved> {
        let provider: Provider =
            link.provider.parse().map_err(|error| refused("invalid_account", &error))?;
        let namespace = Some(link.account_namespace.as_str());
        let reference = link.credential_ref.as_deref();
        let registry =
            self.resolver.registry(provider, &link.registry_url, namespace, reference).await?;
        let login = registry.login().await.map_err(|error| of_registry(&error))?;
        let login = login.ok_or_else(|| Unresolved {
            code: "no_credential",
            detail: "the account has no credential_ref, and nothing to pull with".to_owned(),
            passes: None,
        })?;
        let document = oci::dockerconfigjson(registry.account(), &login);
        let owner = link.link_id.to_string();
        let secret = cluster::PullSecret {
            namespace: &link.kube_namespace,
            name: &link.secret_name,
            dockerconfigjson: &document,
            owner: &owner,
        };
        let kept = self.cluster.apply_pull_secret(&secret, |key| oci::content_hash(key, &document));
        let kept = kept.await.map_err(|error| Unresolved {
            code: "kubernetes",
            detail: Chain(&error).to_string(),
            passes: (error.disposition() == cluster::Disposition::Retry).then_some(SOON),
        })?;
        let now = OffsetDateTime::now_utc();
        let renewed = login.refresh_at(now, rand::rng().random());
        let renewed = renewed.map(|at| (at - now).max(time::Duration::ZERO).unsigned_abs());
        let next = spread(CHECK).min(renewed.unwrap_or(Duration::MAX)).max(SOON);
        Ok(Synced { hash: kept.hash, state: kept.state, next })
    }
}

/// Time between two looks for what is due.
const EVERY: Duration = Duration::from_secs(2);
/// After what passes by itself.
const SOON: Duration = Duration::from_secs(5);
/// After what somebody has to change.
const LATER: Duration = Duration::from_secs(60);
/// How soon it is noticed that a credential was changed, or the Secret by somebody else.
const CHECK: Duration = Duration::from_secs(300);

/// So that not all of them come at one moment.
fn spread(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.8..1.2))
}

fn outcome(state: PullSecretState) -> &'static str {
    match state {
        PullSecretState::Created => "created",
        PullSecretState::Updated => "updated",
        PullSecretState::Unchanged => "unchanged",
    }
}
