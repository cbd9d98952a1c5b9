use std::fmt;
use std::sync::Arc;

use miette::Diagnostic;
use model::{Digest, Repo, Secret, Tag};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use tracing::debug;
use url::Url;

use crate::account::is_loopback;
use crate::credential::Credential;
use crate::manifest::{Blob, MEDIA_TYPES, Manifest, NoManifest};
use crate::session::{Question, Session};
use crate::wire::{Answer, Wire};
use crate::{
    Account, Image, ImageFacts, InvalidCredential, Login, OciError, OciSettings, Platform,
};

/// The way to registries. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Oci {
    wire: Wire,
    token_hosts: Vec<String>,
    ecr_endpoint: Option<Url>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum InvalidSettings {
    #[error("could not read REGISTRY_CACERT from {file}: {why}")]
    #[diagnostic(help("name a file with certificates as text (PEM)"))]
    Cacert { file: String, why: String },

    #[error("could not set up TLS: {0}")]
    Tls(String),

    #[error("AWS_ENDPOINT_URL_ECR is no address that a login may be sent to")]
    #[diagnostic(help("write https:// and a host; http:// is for this machine only"))]
    EcrEndpoint,
}

impl Oci {
    /// Connects to nothing yet.
    pub fn new(settings: &OciSettings) -> Result<Self, InvalidSettings> {
        let address = settings.ecr_endpoint.as_deref().map(str::trim);
        let ecr_endpoint = address.filter(|text| !text.is_empty()).map(endpoint).transpose()?;
        let token_hosts = settings.registry_token_hosts.iter();
        let token_hosts = token_hosts.map(|host| host.trim().to_owned());
        Ok(Self {
            wire: Wire::new(settings)?,
            token_hosts: token_hosts.filter(|host| !host.is_empty()).collect(),
            ecr_endpoint,
        })
    }

    /// The registry of an account, to be asked with its secret; without one, as anybody.
    pub fn registry(
        &self,
        account: &Account,
        secret: Option<&Secret>,
    ) -> Result<Registry, InvalidCredential> {
        let credential = secret.map(|secret| Credential::parse(account, secret)).transpose()?;
        let (hosts, endpoint) = (self.token_hosts.clone(), self.ecr_endpoint.clone());
        let session = Session::new(account.clone(), credential, self.wire.clone(), hosts, endpoint);
        Ok(Registry(Arc::new(session)))
    }
}

fn endpoint(text: &str) -> Result<Url, InvalidSettings> {
    let url = Url::parse(text).map_err(|_| InvalidSettings::EcrEndpoint)?;
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let bare = bare && url.path() == "/" && url.fragment().is_none();
    (safe && bare).then_some(url).ok_or(InvalidSettings::EcrEndpoint)
}

/// One account's registry. Clones share the login and the tokens.
#[derive(Clone)]
pub struct Registry(Arc<Session>);

/// What the specification lets registries refuse to keep.
const LARGEST_DOCUMENT: usize = 4 << 20;

impl Registry {
    pub fn account(&self) -> &Account {
        &self.0.account
    }

    /// What the registry is pulled from with, by kubelets too. None is for anybody.
    ///
    /// The same again until about half of its time is over; then the next one.
    pub async fn login(&self) -> Result<Option<Login>, OciError> {
        self.0.login(false).await
    }

    /// Whether the registry is there and knows us.
    pub async fn check(&self) -> Result<(), OciError> {
        let answer = self.0.ask(&Question {
            method: Method::GET,
            path: "",
            accept: "application/json",
            repo: None,
            largest: LARGEST_DOCUMENT,
        });
        let answer = answer.await?;
        match answer.status.as_u16() {
            200..=299 => Ok(()),
            403 => Err(OciError::Denied { place: self.0.host() }),
            _ => Err(self.0.failed(&answer)),
        }
    }

    /// What a tag is, at this moment.
    pub async fn resolve(&self, repo: &Repo, tag: &Tag) -> Result<Digest, OciError> {
        let image = format!("{repo}:{tag}");
        let path = format!("{}/manifests/{tag}", repo.path());
        let head = self.ask(Method::HEAD, repo, &path, MEDIA_TYPES).await?;
        let digest = match head.status.as_u16() {
            200..=299 => self.said(&head)?,
            // Some know only GET, or do not say here what it is.
            400 | 405 | 501 => None,
            _ => return Err(self.refused(&head, repo, image)),
        };
        let digest = match digest {
            Some(digest) => digest,
            None => {
                let answer = self.ask(Method::GET, repo, &path, MEDIA_TYPES).await?;
                if !answer.status.is_success() {
                    return Err(self.refused(&answer, repo, image));
                }
                let found = Digest::of(&answer.body);
                match self.said(&answer)? {
                    Some(expected) if expected != found => return Err(self.wrong(expected)),
                    _ => found,
                }
            }
        };
        debug!(image, %digest, "the registry knows the tag");
        Ok(digest)
    }

    /// What a digest is an image for.
    pub async fn image(&self, repo: &Repo, digest: &Digest) -> Result<Image, OciError> {
        let name = format!("{repo}@{digest}");
        let platforms = match self.manifest(repo, digest).await? {
            Manifest::Index(platforms) => platforms,
            Manifest::Image { config } => {
                let facts = self.config(repo, &config).await?;
                vec![(facts.platform, *digest)]
            }
        };
        Ok(Image::new(name, *digest, platforms))
    }

    /// What an image says of itself, for one platform of it; for the first one unless told.
    pub async fn facts(
        &self,
        repo: &Repo,
        image: &Image,
        platform: Option<&Platform>,
    ) -> Result<ImageFacts, OciError> {
        let digest = image.for_platform(platform)?;
        match self.manifest(repo, &digest).await? {
            Manifest::Image { config } => self.config(repo, &config).await,
            Manifest::Index(_) => Err(OciError::NotAnImage {
                image: format!("{repo}@{digest}"),
                what: "a list of images within another",
            }),
        }
    }

    async fn manifest(&self, repo: &Repo, digest: &Digest) -> Result<Manifest, OciError> {
        let image = format!("{repo}@{digest}");
        let path = format!("{}/manifests/{digest}", repo.path());
        let answer = self.ask(Method::GET, repo, &path, MEDIA_TYPES).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, repo, image));
        }
        if Digest::of(&answer.body) != *digest {
            return Err(self.wrong(*digest));
        }
        Manifest::parse(answer.header(&CONTENT_TYPE), &answer.body).map_err(|error| match error {
            NoManifest::Unreadable(why) => OciError::Unreadable { registry: self.0.host(), why },
            NoManifest::Other(what) => OciError::NotAnImage { image, what },
        })
    }

    async fn config(&self, repo: &Repo, blob: &Blob) -> Result<ImageFacts, OciError> {
        let (registry, limit) = (self.0.host(), LARGEST_DOCUMENT);
        if blob.size > limit as u64 {
            return Err(OciError::TooLarge { registry, limit });
        }
        let path = format!("{}/blobs/{}", repo.path(), blob.digest);
        let answer = self.ask(Method::GET, repo, &path, "*/*").await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, repo, format!("{repo}@{}", blob.digest)));
        }
        if Digest::of(&answer.body) != blob.digest {
            return Err(self.wrong(blob.digest));
        }
        let why = "an image's config names its platform";
        ImageFacts::parse(&answer.body).ok_or(OciError::Unreadable { registry, why })
    }

    async fn ask(
        &self,
        method: Method,
        repo: &Repo,
        path: &str,
        accept: &'static str,
    ) -> Result<Answer, OciError> {
        // Credentials are for the registry that they are of.
        if repo.host() != self.0.account.host() {
            let (registry, repo) = (self.0.host(), repo.clone());
            return Err(OciError::WrongRegistry { registry, repo });
        }
        let repo = Some(repo);
        self.0.ask(&Question { method, path, accept, repo, largest: LARGEST_DOCUMENT }).await
    }

    /// The digest that an answer is said to have.
    fn said(&self, answer: &Answer) -> Result<Option<Digest>, OciError> {
        let name = HeaderName::from_static("docker-content-digest");
        let Some(text) = answer.header(&name) else { return Ok(None) };
        let why = "it names images by something else than their sha256";
        let registry = self.0.host();
        text.trim().parse().map(Some).map_err(|_| OciError::Unreadable { registry, why })
    }

    fn refused(&self, answer: &Answer, repo: &Repo, image: String) -> OciError {
        match answer.status.as_u16() {
            403 => OciError::Denied { place: repo.to_string() },
            404 if names_no_repo(&answer.body) => OciError::NoRepo(repo.clone()),
            404 => OciError::NoImage { image },
            _ => self.0.failed(answer),
        }
    }

    fn wrong(&self, expected: Digest) -> OciError {
        OciError::WrongDigest { registry: self.0.host(), expected }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Registry({})", self.0.account.host())
    }
}

/// By the code of the specification. Nothing else of what is said is read.
fn names_no_repo(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Said>,
    }
    #[derive(Deserialize)]
    struct Said {
        code: String,
    }
    let said: Option<Errors> = serde_json::from_slice(body).ok();
    said.is_some_and(|said| said.errors.iter().any(|error| error.code == "NAME_UNKNOWN"))
}
