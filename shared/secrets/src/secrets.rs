use std::fmt;
use std::sync::Arc;

use miette::Diagnostic;
use model::{CredentialRef, Secret, SecretPlace};
use tokio_util::sync::CancellationToken;

use crate::allow::{AllowList, InvalidAllow};
use crate::found::Found;
use crate::kubernetes::Kubernetes;
use crate::settings::VaultAuth;
use crate::shelf::Shelf;
use crate::vault::Vault;
use crate::{Clock, ResolveError, SecretsSettings, Through, Trouble, env};

/// The way to secrets. Clones share their logins and what they have read.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    allow: AllowList,
    shelf: Shelf,
    vault: Option<Vault>,
    kubernetes: Kubernetes,
    env: bool,
}

/// A secret, and what is known about it.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub value: Secret,
    /// Of a secret in Vault its number, of a Kubernetes Secret its resource version.
    pub version: Option<Arc<str>>,
    pub through: Arc<Through>,
}

/// Settings that cannot be used. Holds no value of any of them that could be a secret.
#[derive(Clone, Debug, thiserror::Error, Diagnostic)]
pub enum InvalidSettings {
    #[error(transparent)]
    #[diagnostic(help(
        "write vault:<mount>, vault:<mount>/<path>, k8s:<namespace>, k8s:<namespace>/<secret> or env:<NAME>"
    ))]
    Allow(#[from] InvalidAllow),

    #[error("VAULT_ADDR is not the address of a Vault: {0}")]
    #[diagnostic(help("write it as https://vault.internal:8200"))]
    VaultAddr(&'static str),

    #[error("VAULT_NAMESPACE holds a character that no namespace has")]
    #[diagnostic(help("write it as in team-a/dev"))]
    VaultNamespace,

    #[error("could not read the certificates in {file}: {why}")]
    #[diagnostic(help("VAULT_CACERT names a file of certificates in PEM"))]
    VaultCacert { file: String, why: String },

    #[error("to log in to Vault by {}, {needs} has to be set", auth.name())]
    #[diagnostic(help("VAULT_AUTH says how to log in: kubernetes, approle or token"))]
    Login { auth: VaultAuth, needs: &'static str },

    #[error("this machine's certificates cannot be used: {0}")]
    #[diagnostic(help("name those that Vault's is signed by in VAULT_CACERT"))]
    Tls(String),
}

/// Who keeps the secret that a reference names.
enum Keeper<'a> {
    Vault { vault: &'a Vault, mount: &'a str, path: &'a str, version: Option<u64> },
    Kubernetes { kubernetes: &'a Kubernetes, namespace: &'a str, secret: &'a str },
    Env { name: &'a str },
}

impl Secrets {
    /// Connects to nothing yet.
    pub fn new(settings: &SecretsSettings) -> Result<Self, InvalidSettings> {
        Self::with_clock(settings, Clock::default())
    }

    pub fn with_clock(settings: &SecretsSettings, clock: Clock) -> Result<Self, InvalidSettings> {
        let addr = settings.vault_addr.as_deref().filter(|addr| !addr.trim().is_empty());
        let vault = addr.map(|addr| Vault::new(addr, settings, clock.clone())).transpose()?;
        Ok(Self(Arc::new(Inner {
            allow: AllowList::parse(&settings.secrets_allow)?,
            shelf: Shelf::new(clock, settings.secrets_cache),
            vault,
            kubernetes: Kubernetes::new(settings.kubeconfig.clone(), settings.secrets_timeout),
            env: settings.secrets_env,
        })))
    }

    /// The secret that `reference` names: at the moment of use, and not before, since it may be
    /// another one by then. Quick while its lease lasts; of all who ask at once, one asks.
    pub async fn resolve(&self, reference: &CredentialRef) -> Result<Resolved, ResolveError> {
        let failed =
            |trouble, again_in| ResolveError { reference: reference.clone(), trouble, again_in };
        let keeper = self.0.keeper(reference.place()).map_err(|trouble| failed(trouble, None))?;
        let whole = reference.place().whole();
        let found = self.0.shelf.get(&whole, async || keeper.read().await).await;
        let found = found.map_err(|(trouble, again_in)| failed(trouble, again_in))?;
        let value = found.field(reference.place().field());
        let value = value.map_err(|trouble| failed(trouble, None))?.clone();
        Ok(Resolved { value, version: found.version.clone(), through: found.through.clone() })
    }

    /// Logs in to Vault, and reads nothing there; `None` where no Vault is set. Who logs in by a
    /// wrapped secret id uses it up: see [`SecretsSettings::login_uses_up`].
    pub async fn login(&self) -> Option<Result<Arc<Through>, Trouble>> {
        Some(self.0.vault.as_ref()?.login().await)
    }

    /// Keeps the login to Vault alive until `stop`, also while nothing is read. To be run beside
    /// the work: without it a login that cannot be repeated ends once nobody has read for long.
    pub async fn keep_alive(&self, stop: CancellationToken) {
        match &self.0.vault {
            Some(vault) => vault.keep_alive(stop).await,
            None => stop.cancelled().await,
        }
    }
}

impl Inner {
    /// Asked before anything else: what may not be read is not looked for either.
    fn keeper<'a>(&'a self, place: &'a SecretPlace) -> Result<Keeper<'a>, Trouble> {
        if !self.allow.allows(place) {
            return Err(Trouble::NotAllowed);
        }
        match place {
            SecretPlace::Vault { mount, path, version, .. } => {
                let vault = self.vault.as_ref().ok_or(Trouble::NotSet("VAULT_ADDR is not set"))?;
                let version = version.map(u64::from);
                Ok(Keeper::Vault { vault, mount, path, version })
            }
            SecretPlace::Kubernetes { namespace, secret, .. } => {
                Ok(Keeper::Kubernetes { kubernetes: &self.kubernetes, namespace, secret })
            }
            SecretPlace::Env { .. } if !self.env => Err(Trouble::NotSet(
                "secrets are read from the environment only where SECRETS_ENV=true",
            )),
            SecretPlace::Env { name } => Ok(Keeper::Env { name }),
        }
    }
}

impl Keeper<'_> {
    async fn read(&self) -> Result<Found, Trouble> {
        match self {
            Self::Vault { vault, mount, path, version } => vault.read(mount, path, *version).await,
            Self::Kubernetes { kubernetes, namespace, secret } => {
                kubernetes.read(namespace, secret).await
            }
            Self::Env { name } => env::read(name),
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Secrets({})", self.0.allow)
    }
}
