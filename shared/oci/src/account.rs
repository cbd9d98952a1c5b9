use std::net::IpAddr;

use miette::Diagnostic;
use model::{Provider, Repo};
use url::Url;

/// An account at a registry: where that is, and how one logs in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    provider: Provider,
    /// As repositories are written: `docker.io`, `127.0.0.1:5000`.
    host: String,
    /// Where its API is. Docker Hub's is on another host.
    base: Url,
    namespace: Option<String>,
}

/// Does not quote the address: a login may have been written into it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("the account's registry_url is no address of a registry for {provider}: {why}")]
#[diagnostic(help("write {}", example(*provider)))]
pub struct InvalidAccount {
    provider: Provider,
    why: Reason,
}

type Reason = &'static str;

const HUB: &str = "docker.io";
const HUB_API: &str = "registry-1.docker.io";
const HUB_NAMES: [&str; 5] =
    [HUB, "index.docker.io", HUB_API, "hub.docker.com", "registry.hub.docker.com"];

impl Account {
    /// Of the columns of `registry_accounts`. Plain HTTP is for registries on this machine, and for
    /// those whose address says `http://`.
    pub fn new(
        provider: Provider,
        registry_url: &str,
        namespace: Option<&str>,
    ) -> Result<Self, InvalidAccount> {
        let invalid = |why| InvalidAccount { provider, why };
        let url = parse(registry_url.trim()).map_err(invalid)?;
        let host = with_port(&url);
        let (host, base) = match provider {
            Provider::DockerHub => hub(&url).map_err(invalid)?,
            _ if url.path() != "/" => return Err(invalid("nothing follows its host and port")),
            Provider::Ecr if EcrHost::parse(&host).is_none() => return Err(invalid(NOT_ECR)),
            Provider::Gcr if !is_google(&host) => return Err(invalid(NOT_GOOGLE)),
            Provider::Oci if HUB_NAMES.contains(&host.as_str()) => return Err(invalid(IS_HUB)),
            Provider::Ghcr | Provider::Ecr | Provider::Gcr | Provider::Oci => (host, url),
        };
        if format!("{host}/a").parse::<Repo>().is_err() && provider != Provider::DockerHub {
            return Err(invalid("it is no host that a repository can be written with"));
        }
        let namespace = namespace.map(str::trim).filter(|name| !name.is_empty());
        Ok(Self { provider, host, base, namespace: namespace.map(str::to_owned) })
    }

    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// As repositories are written: `docker.io`, `127.0.0.1:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The organisation or user whose images these are.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn ecr(&self) -> Option<EcrHost<'_>> {
        EcrHost::parse(&self.host).filter(|_| self.provider == Provider::Ecr)
    }

    /// Under which name kubelets and Docker look for the login.
    pub(crate) fn key(&self) -> &str {
        if self.provider == Provider::DockerHub { HUB_KEY } else { &self.host }
    }

    /// Whether a name that a login is kept under means this registry.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        name == self.host || (self.provider == Provider::DockerHub && HUB_NAMES.contains(&name))
    }
}

/// Since before there was a version 2, and still what everybody writes.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const NOT_ECR: Reason = "it is no registry of ECR";
const NOT_GOOGLE: Reason = "it is neither gcr.io nor an Artifact Registry";
const IS_HUB: Reason = "it is Docker Hub, whose provider is dockerhub";

fn example(provider: Provider) -> &'static str {
    match provider {
        Provider::Ghcr => "ghcr.io",
        Provider::DockerHub => "docker.io",
        Provider::Ecr => "<account>.dkr.ecr.<region>.amazonaws.com",
        Provider::Gcr => "<region>-docker.pkg.dev or gcr.io",
        Provider::Oci => "registry.example.com:5000, or http://… if it speaks plain HTTP",
    }
}

fn parse(text: &str) -> Result<Url, Reason> {
    let url = match text.split_once("://") {
        Some(("http" | "https", _)) => Url::parse(text),
        Some(_) => return Err("it starts with https:// or http://, or with the host"),
        // Docker does the same: on this machine nobody listens in.
        None => {
            let https = Url::parse(&format!("https://{text}"));
            https.and_then(|url| {
                if is_loopback(&url) { Url::parse(&format!("http://{text}")) } else { Ok(url) }
            })
        }
    };
    let url = url.map_err(|_| "it is no URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a login, which belongs behind the credential_ref");
    }
    if url.host_str().is_none() || url.query().is_some() || url.fragment().is_some() {
        return Err("it is a host and a port");
    }
    Ok(url)
}

fn hub(url: &Url) -> Result<(String, Url), Reason> {
    let known = HUB_NAMES.contains(&with_port(url).as_str());
    if !known || url.scheme() != "https" || !matches!(url.path(), "/" | "/v1/" | "/v1" | "/v2/") {
        return Err("it is not Docker Hub");
    }
    let base = Url::parse(&format!("https://{HUB_API}/")).expect("a URL of ours");
    Ok((HUB.to_owned(), base))
}

fn is_google(host: &str) -> bool {
    host == "gcr.io" || host.ends_with(".gcr.io") || host.ends_with("-docker.pkg.dev")
}

pub(crate) fn with_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// What the name of an ECR registry says: `<account>.dkr.ecr.<region>.amazonaws.com`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EcrHost<'a> {
    pub(crate) region: &'a str,
    fips: bool,
    /// `amazonaws.com`, and `amazonaws.com.cn` in China.
    domain: &'a str,
}

impl<'a> EcrHost<'a> {
    fn parse(host: &'a str) -> Option<Self> {
        let (account, rest) = host.split_once(".dkr.")?;
        let (service, rest) = rest.split_once('.')?;
        let (region, domain) = rest.split_once('.')?;
        let fips = match service {
            "ecr" => false,
            "ecr-fips" => true,
            _ => return None,
        };
        let known = account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && !region.is_empty()
            && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && matches!(domain, "amazonaws.com" | "amazonaws.com.cn");
        known.then_some(Self { region, fips, domain })
    }

    /// Where its tokens come from.
    pub(crate) fn api(&self) -> Url {
        let (region, domain) = (self.region, self.domain);
        let host = if self.fips {
            format!("ecr-fips.{region}.{domain}")
        } else {
            format!("api.ecr.{region}.{domain}")
        };
        Url::parse(&format!("https://{host}/")).expect("the parser saw a host")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Provider::{DockerHub, Ecr, Gcr, Ghcr, Oci};

    fn account(provider: Provider, url: &str) -> Account {
        Account::new(provider, url, None).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn an_account_knows_its_registry_by_the_name_of_repositories_and_by_its_address() {
        for (provider, url, host, base) in [
            (Ghcr, "ghcr.io", "ghcr.io", "https://ghcr.io/"),
            (Ghcr, "https://ghcr.io/", "ghcr.io", "https://ghcr.io/"),
            (Ghcr, " GHCR.io\n", "ghcr.io", "https://ghcr.io/"),
            (
                Oci,
                "registry.example.com:5000",
                "registry.example.com:5000",
                "https://registry.example.com:5000/",
            ),
            (
                Oci,
                "registry.example.com:443",
                "registry.example.com",
                "https://registry.example.com/",
            ),
            (Oci, "http://registry.internal", "registry.internal", "http://registry.internal/"),
            (Oci, "127.0.0.1:5000", "127.0.0.1:5000", "http://127.0.0.1:5000/"),
            (Oci, "127.9.9.9:5000", "127.9.9.9:5000", "http://127.9.9.9:5000/"),
            (Oci, "localhost:5000", "localhost:5000", "http://localhost:5000/"),
            (Oci, "https://127.0.0.1:5000", "127.0.0.1:5000", "https://127.0.0.1:5000/"),
            (DockerHub, "docker.io", "docker.io", "https://registry-1.docker.io/"),
            (
                DockerHub,
                "https://index.docker.io/v1/",
                "docker.io",
                "https://registry-1.docker.io/",
            ),
            (Gcr, "eu.gcr.io", "eu.gcr.io", "https://eu.gcr.io/"),
            (
                Gcr,
                "europe-west1-docker.pkg.dev",
                "europe-west1-docker.pkg.dev",
                "https://europe-west1-docker.pkg.dev/",
            ),
            (
                Ecr,
                "012345678901.dkr.ecr.eu-west-1.amazonaws.com",
                "012345678901.dkr.ecr.eu-west-1.amazonaws.com",
                "https://012345678901.dkr.ecr.eu-west-1.amazonaws.com/",
            ),
        ] {
            let account = account(provider, url);
            assert_eq!((account.host(), account.base().as_str()), (host, base), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_of_its_provider_is_refused() {
        for (provider, url, why) in [
            (Oci, "", "it is no URL"),
            (Oci, "ftp://a.example", "it starts with https:// or http://"),
            (Oci, "https://a.example/v2/", "nothing follows its host"),
            (Ghcr, "ghcr.io/acme", "nothing follows its host"),
            (Oci, "https://a.example?b", "it is a host and a port"),
            (Oci, "https://user:hunter2@a.example", "it holds a login"),
            (Oci, "user:hunter2@a.example", "it holds a login"),
            (Oci, "registry", "it is no host that a repository"),
            (Oci, "a.example:99999", "it is no URL"),
            (Oci, "docker.io", IS_HUB),
            (DockerHub, "ghcr.io", "it is not Docker Hub"),
            (DockerHub, "http://docker.io", "it is not Docker Hub"),
            (DockerHub, "docker.io/acme", "it is not Docker Hub"),
            (Ecr, "ghcr.io", NOT_ECR),
            (Ecr, "0123.dkr.ecr.eu-west-1.amazonaws.com", NOT_ECR),
            (Ecr, "012345678901.dkr.ecr.eu-west-1.example.com", NOT_ECR),
            (Gcr, "ghcr.io", NOT_GOOGLE),
            (Gcr, "evilgcr.io", NOT_GOOGLE),
        ] {
            let error = Account::new(provider, url, None).expect_err(url);
            assert!(error.to_string().contains(why), "{url}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn ecr_says_where_its_tokens_come_from() {
        for (host, region, api) in [
            (
                "012345678901.dkr.ecr.eu-west-1.amazonaws.com",
                "eu-west-1",
                "api.ecr.eu-west-1.amazonaws.com",
            ),
            (
                "012345678901.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                "api.ecr.cn-north-1.amazonaws.com.cn",
            ),
            (
                "012345678901.dkr.ecr-fips.us-east-1.amazonaws.com",
                "us-east-1",
                "ecr-fips.us-east-1.amazonaws.com",
            ),
        ] {
            let account = account(Ecr, host);
            let ecr = account.ecr().unwrap();
            assert_eq!((ecr.region, ecr.api().as_str()), (region, &*format!("https://{api}/")));
        }
        assert_eq!(account(Ghcr, "ghcr.io").ecr(), None);
    }

    #[test]
    fn a_namespace_of_nothing_is_none() {
        let account = |namespace| Account::new(Ghcr, "ghcr.io", namespace).unwrap();
        assert_eq!(account(Some("acme")).namespace(), Some("acme"));
        assert_eq!(account(Some(" ")).namespace(), None);
    }
}
