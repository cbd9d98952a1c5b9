use std::error::Error;
use std::path::Path;
use std::time::Duration;

use model::Secret;
use reqwest::Certificate;
use rustify::errors::ClientError as WireError;
use serde::Deserialize;
use url::Url;
use vaultrs::api::EndpointMiddleware;
use vaultrs::client::{VaultClient, VaultClientSettings};
use vaultrs::error::ClientError;

use crate::quietly::quietly;
use crate::{InvalidSettings, SecretsSettings, Trouble};

/// Where Vault is, and how an answer of it is understood.
pub(super) struct Wire {
    http: reqwest::Client,
    base: Url,
    namespace: Option<String>,
    limit: Duration,
}

const VAULT: &str = "Vault";

impl Wire {
    /// Connects to nothing yet.
    pub(super) fn new(addr: &str, settings: &SecretsSettings) -> Result<Self, InvalidSettings> {
        let base = address(addr.trim()).map_err(InvalidSettings::VaultAddr)?;
        let namespace = settings.vault_namespace.as_deref().map(|name| name.trim_matches('/'));
        let namespace = namespace.filter(|name| !name.is_empty()).map(str::to_owned);
        if !namespace.as_deref().is_none_or(is_printable) {
            return Err(InvalidSettings::VaultNamespace);
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("cogo/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.secrets_timeout)
            .timeout(settings.secrets_timeout)
            // A token must not follow wherever an answer points.
            .redirect(reqwest::redirect::Policy::none());
        if base.scheme() == "http" {
            http = http.tls_certs_only(Vec::<Certificate>::new());
        } else if let Some(file) = &settings.vault_cacert {
            http = http.tls_certs_only(certificates(file)?);
        }
        let http = http.build().map_err(|error| InvalidSettings::Tls(deepest(&error)))?;
        Ok(Self { http, base, namespace, limit: settings.secrets_timeout })
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// A client that asks as the holder of `token`. Everything about it is set here, since what is
    /// not is taken from the environment behind our back.
    pub(super) fn client(&self, token: Option<&Secret>) -> VaultClient {
        let token = token.map_or("", Secret::expose);
        let settings = VaultClientSettings {
            address: self.base.clone(),
            ca_certs: Vec::new(),
            identity: None,
            timeout: Some(self.limit),
            // Only the copy below is ever sent.
            token: String::new(),
            verify: true,
            version: 1,
            wrapping: false,
            namespace: self.namespace.clone(),
            proxy: None,
        };
        let middle = EndpointMiddleware {
            token: token.to_owned(),
            version: "v1".to_owned(),
            wrap: None,
            namespace: self.namespace.clone(),
        };
        let http = rustify::clients::reqwest::Client::new(self.base.as_str(), self.http.clone());
        VaultClient { http, middle, settings }
    }

    pub(super) async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Failure> {
        quietly(call).await.map_err(|error| self.failure(error))
    }

    fn failure(&self, error: ClientError) -> Failure {
        match error {
            ClientError::APIError { code, errors } => {
                Failure::Said { status: code, hint: Hint::of_errors(&errors) }
            }
            ClientError::RestClientError { source } => match source {
                WireError::ServerResponseError { code, content } => {
                    let hint = content.map_or(Hint::None, |body| Hint::of_body(&body));
                    Failure::Said { status: code, hint }
                }
                WireError::RequestError { source, .. } | WireError::ResponseError { source } => {
                    Failure::Silent(self.silence(source.downcast_ref::<reqwest::Error>()))
                }
                _ => Failure::Silent(Trouble::Unreadable { keeper: VAULT }),
            },
            _ => Failure::Silent(Trouble::Unreadable { keeper: VAULT }),
        }
    }

    fn silence(&self, error: Option<&reqwest::Error>) -> Trouble {
        match error {
            Some(error) if error.is_timeout() => {
                Trouble::TooSlow { keeper: VAULT, limit: self.limit }
            }
            Some(error) => Trouble::Unreachable { keeper: VAULT, why: deepest(error) },
            None => Trouble::Unreachable { keeper: VAULT, why: "the request failed".to_owned() },
        }
    }
}

fn address(text: &str) -> Result<Url, &'static str> {
    let base = Url::parse(text).map_err(|_| "write it as https://vault.internal:8200")?;
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
        return Err("it starts with https:// or http://");
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err("it holds a login, which belongs into the settings of VAULT_AUTH");
    }
    if base.path() != "/" || base.query().is_some() || base.fragment().is_some() {
        return Err("nothing follows the host and port");
    }
    Ok(base)
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, InvalidSettings> {
    let invalid = |why| InvalidSettings::VaultCacert { file: file.display().to_string(), why };
    let pem = std::fs::read(file).map_err(|error| invalid(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| invalid(deepest(&error)))?;
    if found.is_empty() {
        return Err(invalid("there is no certificate in it".to_owned()));
    }
    Ok(found)
}

/// The innermost reason. What lies around it repeats the request.
pub(crate) fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// What may be sent in a header: the library panics at anything else.
pub(super) fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Why there is no answer, or that it was no.
#[derive(Debug)]
pub(super) enum Failure {
    Said { status: u16, hint: Hint },
    Silent(Trouble),
}

/// What we know of the texts that Vault says beside its status. The status decides: texts differ
/// between versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    None,
    Sealed,
    /// Nothing is mounted at the path.
    NoMount,
    /// A path of version 1 on a mount of version 2.
    Versioned,
    Deleted {
        version: u64,
    },
    Destroyed {
        version: u64,
    },
    SecretId,
    RoleId,
    Wrapping,
}

impl Hint {
    fn of_errors(errors: &[String]) -> Self {
        let known = [
            ("sealed", Self::Sealed),
            ("no handler for route", Self::NoMount),
            ("invalid secret id", Self::SecretId),
            ("invalid role", Self::RoleId),
            ("wrapping token", Self::Wrapping),
        ];
        let errors: Vec<String> = errors.iter().map(|error| error.to_ascii_lowercase()).collect();
        let found = known.iter().find(|(text, _)| errors.iter().any(|error| error.contains(text)));
        found.map_or(Self::None, |(_, hint)| *hint)
    }

    /// Of an answer without `errors`.
    fn of_body(body: &str) -> Self {
        #[derive(Deserialize)]
        struct Body {
            data: Option<Gone>,
            warnings: Option<Vec<String>>,
        }
        #[derive(Deserialize)]
        struct Gone {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        struct Metadata {
            version: u64,
            destroyed: bool,
        }
        match serde_json::from_str(body) {
            Ok(Body { data: Some(Gone { metadata: Metadata { version, destroyed } }), .. }) => {
                if destroyed {
                    Self::Destroyed { version }
                } else {
                    Self::Deleted { version }
                }
            }
            Ok(Body { warnings: Some(warnings), .. })
                if warnings.iter().any(|text| text.contains("versioned K/V")) =>
            {
                Self::Versioned
            }
            _ => Self::None,
        }
    }
}

impl Failure {
    pub(super) fn trouble(self) -> Trouble {
        let (status, hint) = match self {
            Self::Silent(trouble) => return trouble,
            Self::Said { status, hint } => (status, hint),
        };
        match (status, hint) {
            (503, Hint::Sealed) => Trouble::Sealed,
            (404, Hint::NoMount) => Trouble::NoMount,
            (404, Hint::Deleted { version }) => Trouble::Deleted { version },
            (404, Hint::Destroyed { version }) => Trouble::Destroyed { version },
            (404, _) => Trouble::NoSecret,
            (403, _) => Trouble::Denied,
            (429, _) => Trouble::TooOften { keeper: VAULT },
            (300..=399, _) => Trouble::Elsewhere { keeper: VAULT, status },
            (500.., _) => Trouble::Broken { keeper: VAULT, status },
            _ => Trouble::Refused { keeper: VAULT, status },
        }
    }

    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Said { status, .. } => *status >= 500 || *status == 429,
            Self::Silent(trouble) => trouble.passes(),
        }
    }
}
