use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{CredentialRef, Digest, Provider, Repo, Secret};
use oci::{Account, Oci, OciError};
use rand::RngExt;
use registry::{Facts, Phase, Rollout};
use secrets::Secrets;
use telemetry::Chain;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::controller::Controller;
use crate::roll::Read;

/// Asks registries what a tag is, as the account of its agent.
pub(crate) struct Resolver {
    oci: Oci,
    secrets: Secrets,
    /// Whose logins are kept, by account and reference.
    known: Mutex<HashMap<(String, Option<String>), Known>>,
}

struct Known {
    registry: oci::Registry,
    made_with: Option<Secret>,
}

/// Why it is not known what a tag is.
pub(crate) struct Unresolved {
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    /// It passes, maybe after this long.
    pub(crate) passes: Option<Duration>,
}

impl Resolver {
    pub(crate) fn new(oci: Oci, secrets: Secrets) -> Self {
        Self { oci, secrets, known: Mutex::default() }
    }

    pub(crate) async fn resolve(&self, row: &Rollout) -> Result<Digest, Unresolved> {
        let repo: Repo = row.repo.parse().map_err(|error| refused("invalid_repo", &error))?;
        let provider = row.provider.as_deref().map(str::parse::<Provider>).transpose();
        let provider = provider.map_err(|error| refused("invalid_account", &error))?;
        let (provider, url) = match (provider, &row.registry_url) {
            (Some(provider), Some(url)) => (provider, url.as_str()),
            // Without an account, as anybody.
            _ if repo.host() == HUB => (Provider::DockerHub, HUB),
            _ => (Provider::Oci, repo.host()),
        };
        let registry = self.registry(provider, url, None, row.credential_ref.as_deref()).await?;
        registry.resolve(&repo, &row.tag).await.map_err(|error| of_registry(&error))
    }

    /// The registry of an account, logged in as the reference says.
    pub(crate) async fn registry(
        &self,
        provider: Provider,
        url: &str,
        namespace: Option<&str>,
        reference: Option<&str>,
    ) -> Result<oci::Registry, Unresolved> {
        let account = Account::new(provider, url, namespace);
        let account = account.map_err(|error| refused("invalid_account", &error))?;
        let secret = match reference {
            None => None,
            Some(reference) => Some(self.secret(reference).await?),
        };
        let key =
            (format!("{provider} {url} {}", namespace.unwrap_or("")), reference.map(str::to_owned));
        let mut known = self.known.lock().expect("nobody panics in here");
        let is_same = |one: &Option<Secret>| {
            one.as_ref().map(Secret::expose) == secret.as_ref().map(Secret::expose)
        };
        if let Some(known) = known.get(&key).filter(|known| is_same(&known.made_with)) {
            return Ok(known.registry.clone());
        }
        let registry = self.oci.registry(&account, secret.as_ref());
        let registry = registry.map_err(|error| refused("invalid_credential", &error))?;
        known.insert(key, Known { registry: registry.clone(), made_with: secret });
        Ok(registry)
    }

    async fn secret(&self, reference: &str) -> Result<Secret, Unresolved> {
        let reference: CredentialRef =
            reference.parse().map_err(|error| refused("invalid_credential", &error))?;
        match self.secrets.resolve(&reference).await {
            Ok(resolved) => Ok(resolved.value),
            Err(error) => {
                let passes = match error.disposition() {
                    secrets::Disposition::Retry => Some(error.again_in.unwrap_or(SOON)),
                    secrets::Disposition::GiveUp => None,
                };
                let detail = Chain(&error).to_string();
                Err(Unresolved { code: "no_credential", detail, passes })
            }
        }
    }
}

const HUB: &str = "docker.io";
const SOON: Duration = Duration::from_secs(1);

pub(crate) fn refused(code: &'static str, error: &(dyn std::error::Error + 'static)) -> Unresolved {
    Unresolved { code, detail: Chain(error).to_string(), passes: None }
}

pub(crate) fn of_registry(error: &OciError) -> Unresolved {
    let code = match error {
        OciError::NoImage { .. } | OciError::NoPlatform { .. } | OciError::NotAnImage { .. } => {
            "image_missing"
        }
        OciError::NoRepo(_) => "repo_missing",
        OciError::LoginNeeded { .. } | OciError::LoginRefused { .. } | OciError::Denied { .. } => {
            "image_denied"
        }
        OciError::WrongRegistry { .. } | OciError::UntrustedRealm { .. } => "wrong_registry",
        OciError::WrongDigest { .. }
        | OciError::TooOften { .. }
        | OciError::Broken { .. }
        | OciError::Refused { .. }
        | OciError::Elsewhere { .. }
        | OciError::Unreachable { .. }
        | OciError::Untrusted { .. }
        | OciError::TooSlow { .. }
        | OciError::TooLarge { .. }
        | OciError::Unreadable { .. } => "registry",
    };
    let passes = match error.disposition() {
        oci::Disposition::Retry { after } => Some(after.unwrap_or(SOON)),
        oci::Disposition::Refuse => None,
    };
    Unresolved { code, detail: Chain(error).to_string(), passes }
}

/// Finds out what a recorded tag is, or that it is nothing; asks again, ever more seldom, while
/// nobody says either.
pub(crate) async fn resolve(
    of: Arc<Controller>,
    mut read: watch::Receiver<Read>,
    stop: CancellationToken,
) {
    let Some(row) = read.borrow_and_update().rows.first().cloned() else { return };
    let mut pause = SOON;
    loop {
        let asked = tokio::select! {
            asked = Box::pin(of.resolver.resolve(&row)) => asked,
            () = stop.cancelled() => return,
        };
        let (to, facts) = match asked {
            Ok(digest) => (Phase::Resolved, Facts { digest: Some(digest), ..Facts::default() }),
            Err(Unresolved { code, detail, passes: None }) => {
                let (code, detail) = (Some(code.to_owned()), Some(detail));
                (Phase::Rejected, Facts { code, detail, ..Facts::default() })
            }
            Err(Unresolved { detail, passes: Some(after), .. }) => {
                let (name, tag) = (&row.agent_name, &row.tag);
                warn!(agent.name = %name, release.tag = %tag, "cannot tell yet what {tag} is: {detail}");
                if !wait(pause.max(after), &mut read, &stop).await {
                    return;
                }
                pause = (pause * 2).min(LONGEST);
                continue;
            }
        };
        match of.registry.advance(row.release_id, row.fence, to, &facts).await {
            Ok(step) => {
                let (name, tag) = (&row.agent_name, &row.tag);
                let phase = step.phase.unwrap_or_default();
                let why = step.why.map(|why| format!(": {why}")).unwrap_or_default();
                info!(agent.name = %name, release.tag = %tag, trace.id = %row.trace_id, "{name} {tag} is {phase}{why}");
                of.look_again.notify_one();
                return;
            }
            Err(error) => {
                warn!(agent.name = %row.agent_name, error = %Chain(&error), "could not note {to}");
                if !wait(SOON, &mut read, &stop).await {
                    return;
                }
            }
        }
    }
}

const LONGEST: Duration = Duration::from_secs(30);

/// False once nobody wants to know any more.
async fn wait(pause: Duration, read: &mut watch::Receiver<Read>, stop: &CancellationToken) -> bool {
    let pause = pause.mul_f64(rand::rng().random_range(0.75..1.25));
    let told_to_end = async { while read.changed().await.is_ok() {} };
    tokio::select! {
        () = sleep(pause) => true,
        () = told_to_end => false,
        () = stop.cancelled() => false,
    }
}
