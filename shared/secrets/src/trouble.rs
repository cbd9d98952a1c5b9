use std::time::Duration;

use miette::Diagnostic;
use model::{CredentialRef, Disposition};

use crate::settings::VaultAuth;

/// Why a reference does not resolve, now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("could not resolve `{reference}`{}", again(self.again_in))]
pub struct ResolveError {
    pub reference: CredentialRef,
    #[source]
    pub trouble: Trouble,
    /// When it may be tried again, if it has been tried of late and this is what came of it then.
    pub again_in: Option<Duration>,
}

impl ResolveError {
    pub fn disposition(&self) -> Disposition {
        self.trouble.disposition()
    }
}

impl Diagnostic for ResolveError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.trouble.help()
    }
}

fn again(again_in: Option<Duration>) -> String {
    let told = |wait: Duration| format!(", as of late; tried again in {} s", wait.as_secs().max(1));
    again_in.map(told).unwrap_or_default()
}

/// What is wrong. Nothing in here was said by a server or is a part of a secret: a gateway in
/// between may repeat in its errors what it was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Trouble {
    #[error("it is not among the secrets that may be read here")]
    #[diagnostic(help("add it, its path or its mount or namespace to SECRETS_ALLOW"))]
    NotAllowed,

    #[error("{0}")]
    #[diagnostic(help("`--help` says what each setting of secrets is for"))]
    NotSet(&'static str),

    #[error("could not read {file}: {why}")]
    #[diagnostic(help("it is what this process logs in with; check the path and who may read it"))]
    NoLogin { file: String, why: String },

    #[error("Vault refused our login by {} ({status}): {why}", auth.name())]
    #[diagnostic(help(
        "compare VAULT_AUTH, its mount, its role and what it logs in with to what Vault has"
    ))]
    LoginRefused { auth: VaultAuth, status: u16, why: &'static str },

    #[error(
        "the wrapping token of our secret id was used before: somebody else may hold the secret id"
    )]
    #[diagnostic(help(
        "unless this process itself was started again with the same file, treat it as stolen: \
         destroy the secret ids of this role in Vault, then wrap a new one"
    ))]
    UnwrappedBefore,

    #[error("the wrapping token wraps something else than a secret id of our AppRole")]
    #[diagnostic(help(
        "somebody may have put another in its place; wrap a new one with `vault write -wrap-ttl`"
    ))]
    WrappedElsewhere,

    #[error("we may not read it")]
    #[diagnostic(help("check that the policy or role of this login allows reading exactly this"))]
    Denied,

    #[error("Kubernetes does not know who we are")]
    #[diagnostic(help(
        "the token of this service account or kubeconfig is expired or of another cluster"
    ))]
    Unknown,

    #[error("there is no such secret")]
    #[diagnostic(help("check the path, and in Vault the namespace and the version"))]
    NoSecret,

    #[error("Vault has nothing mounted there")]
    #[diagnostic(help(
        "the first step of a reference is the mount; one of several steps is written with %2F \
         between them"
    ))]
    NoMount,

    #[error("version {version} of it was deleted")]
    #[diagnostic(help("undelete it, write a new version, or name an older one by ?version="))]
    Deleted { version: u64 },

    #[error("version {version} of it was destroyed")]
    #[diagnostic(help("write a new version, or name another by ?version="))]
    Destroyed { version: u64 },

    #[error("this store keeps no versions")]
    #[diagnostic(help("leave out ?version=; only version 2 of Vault's key-value store has any"))]
    NoVersions,

    #[error("this is a path of Vault's API, not of a secret")]
    #[diagnostic(help("leave out `data/` after the mount"))]
    ApiPath,

    #[error("it has no such entry, but: {has}")]
    #[diagnostic(help("name one of them after the `#`"))]
    NoField { has: String },

    #[error("it does not have exactly one entry, but: {has}")]
    #[diagnostic(help("name the one that is meant after a `#`"))]
    WhichField { has: String },

    #[error("its bytes are no text")]
    #[diagnostic(help("keep it as UTF-8"))]
    NotText,

    #[error("the answer is not what {keeper} answers")]
    #[diagnostic(help(
        "check that the address is that of {keeper} and not of something in between"
    ))]
    Unreadable { keeper: &'static str },

    #[error("{keeper} sends us elsewhere ({status})")]
    #[diagnostic(help(
        "give the address it sends to; a login is never sent on to where an answer points"
    ))]
    Elsewhere { keeper: &'static str, status: u16 },

    #[error("{keeper} did not understand us ({status})")]
    #[diagnostic(help("check the version of the server and what lies between"))]
    Refused { keeper: &'static str, status: u16 },

    #[error("Vault is sealed")]
    #[diagnostic(help("somebody has to unseal it"))]
    Sealed,

    #[error("{keeper} is in trouble itself ({status})")]
    #[diagnostic(help("its own log says more; it is asked again by itself"))]
    Broken { keeper: &'static str, status: u16 },

    #[error("{keeper} was asked too often")]
    #[diagnostic(help("raise SECRETS_CACHE, or its quota; it is asked again by itself"))]
    TooOften { keeper: &'static str },

    #[error("could not reach {keeper}: {why}")]
    #[diagnostic(help(
        "check its address, the network between and whom its certificate is signed by"
    ))]
    Unreachable { keeper: &'static str, why: String },

    #[error("{keeper} did not answer within {} s", limit.as_secs_f64())]
    #[diagnostic(help("raise SECRETS_TIMEOUT if it is merely slow"))]
    TooSlow { keeper: &'static str, limit: Duration },
}

impl Trouble {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NotAllowed
            | Self::NotSet(_)
            | Self::NoLogin { .. }
            | Self::UnwrappedBefore
            | Self::WrappedElsewhere
            | Self::Denied
            | Self::Unknown
            | Self::NoSecret
            | Self::NoMount
            | Self::Deleted { .. }
            | Self::Destroyed { .. }
            | Self::NoVersions
            | Self::ApiPath
            | Self::NoField { .. }
            | Self::WhichField { .. }
            | Self::NotText
            | Self::Unreadable { .. }
            | Self::Elsewhere { .. }
            | Self::Refused { .. } => Disposition::GiveUp,
            // Some versions answer 500 to a login that they will never accept; they are asked again
            // all the same, since others answer it when they are in trouble.
            Self::LoginRefused { status, .. } if *status >= 500 => Disposition::Retry,
            Self::LoginRefused { .. } => Disposition::GiveUp,
            Self::Sealed
            | Self::Broken { .. }
            | Self::TooOften { .. }
            | Self::Unreachable { .. }
            | Self::TooSlow { .. } => Disposition::Retry,
        }
    }

    pub(crate) fn passes(&self) -> bool {
        self.disposition() == Disposition::Retry
    }
}
