use std::time::Duration;

use miette::Diagnostic;
use model::{Digest, Repo};

use crate::Platform;

/// Why a registry did not tell us what we asked. Nothing in here was said by a server, and no
/// address of one but the account's: whoever is between may repeat what was sent to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum OciError {
    #[error("`{repo}` is not at {registry}, where the account is")]
    #[diagnostic(help(
        "give the agent an account of its own registry; credentials are never shown to another"
    ))]
    WrongRegistry { registry: String, repo: Repo },

    #[error("{registry} asks for a login, and the account has none")]
    #[diagnostic(help(
        "set the account's credential_ref; of an image that is public, check the repository: many \
         registries ask for a login where there is nothing"
    ))]
    LoginNeeded { registry: String },

    #[error("{registry} refused the account's login")]
    #[diagnostic(help(
        "check that the credential is of this registry, may read packages and has not expired"
    ))]
    LoginRefused { registry: String },

    #[error("the account may not read from `{place}`")]
    #[diagnostic(help(
        "let it pull from this repository, and check that there is one: many registries say the \
         same of what they do not have"
    ))]
    Denied { place: String },

    #[error("there is no repository `{0}`")]
    #[diagnostic(help("check its name, and that something has been pushed to it"))]
    NoRepo(Repo),

    #[error("there is no image `{image}`")]
    #[diagnostic(help(
        "push it first, and record its tag then; some registries also say this to those who may \
         not read it"
    ))]
    NoImage { image: String },

    #[error("`{image}` has no image for {needs}, but for: {has}")]
    #[diagnostic(help("build it for {needs} too, as with `docker buildx build --platform`"))]
    NoPlatform { image: String, needs: Platform, has: String },

    #[error("`{image}` is no image, but {what}")]
    #[diagnostic(help("push an image in the format of OCI or of Docker's schema 2"))]
    NotAnImage { image: String, what: &'static str },

    #[error("what {registry} calls {expected} is something else")]
    #[diagnostic(help(
        "it or something before it is broken or changes what it hands on; nothing of it is used"
    ))]
    WrongDigest { registry: String, expected: Digest },

    #[error("{registry} sends logins to a place that may not have ours: {why}")]
    #[diagnostic(help(
        "WWW-Authenticate of `curl -si https://{registry}/v2/` names the place; if it is right, \
         add its host to REGISTRY_TOKEN_HOSTS"
    ))]
    UntrustedRealm { registry: String, why: &'static str },

    #[error("{registry} was asked too often{}", told(*after))]
    #[diagnostic(help("it is asked again by itself; an account with a login may ask more often"))]
    TooOften { registry: String, after: Option<Duration> },

    #[error("{registry} is in trouble itself ({status}){}", told(*after))]
    #[diagnostic(help("its own log or status page says more; it is asked again by itself"))]
    Broken { registry: String, status: u16, after: Option<Duration> },

    #[error("{registry} did not understand us ({status})")]
    #[diagnostic(help("check that registry_url is a registry, and of which version"))]
    Refused { registry: String, status: u16 },

    #[error("{registry} sends us elsewhere: {why}")]
    #[diagnostic(help("check registry_url; something may stand before the registry"))]
    Elsewhere { registry: String, why: &'static str },

    #[error("could not reach {registry}: {why}")]
    #[diagnostic(help("check registry_url and the network; it is asked again by itself"))]
    Unreachable { registry: String, why: String },

    #[error("{registry} is not who it says, or speaks no TLS: {why}")]
    #[diagnostic(help(
        "name the certificates it is signed by in REGISTRY_CACERT; if it speaks plain HTTP, say so \
         by http:// in registry_url"
    ))]
    Untrusted { registry: String, why: String },

    #[error("{registry} did not answer within {} s", limit.as_secs_f64())]
    #[diagnostic(help("raise REGISTRY_TIMEOUT if it is merely slow"))]
    TooSlow { registry: String, limit: Duration },

    #[error("{registry} answers more than the {limit} bytes that such an answer may have")]
    #[diagnostic(help("check that registry_url is a registry, and that the image is one of ours"))]
    TooLarge { registry: String, limit: usize },

    #[error("what {registry} answers cannot be read: {why}")]
    #[diagnostic(help("check that registry_url is a registry and not something before it"))]
    Unreadable { registry: String, why: &'static str },
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It passes by itself; the registry may have said when.
    Retry { after: Option<Duration> },
    /// It lasts until somebody changes something.
    Refuse,
}

impl OciError {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::TooOften { after, .. } | Self::Broken { after, .. } => {
                Disposition::Retry { after: *after }
            }
            Self::Unreachable { .. } | Self::TooSlow { .. } => Disposition::Retry { after: None },
            Self::WrongRegistry { .. }
            | Self::LoginNeeded { .. }
            | Self::LoginRefused { .. }
            | Self::Denied { .. }
            | Self::NoRepo(_)
            | Self::NoImage { .. }
            | Self::NoPlatform { .. }
            | Self::NotAnImage { .. }
            | Self::WrongDigest { .. }
            | Self::UntrustedRealm { .. }
            | Self::Refused { .. }
            | Self::Elsewhere { .. }
            | Self::Untrusted { .. }
            | Self::TooLarge { .. }
            | Self::Unreadable { .. } => Disposition::Refuse,
        }
    }
}

fn told(after: Option<Duration>) -> String {
    after
        .map(|after| format!("; it says to come back in {} s", after.as_secs()))
        .unwrap_or_default()
}
