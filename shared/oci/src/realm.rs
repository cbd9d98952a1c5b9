//! Who may be sent the account's password for a token, besides the registry itself.
//!
//! Any registry may name any realm, and most clients send their password there. We do not, because
//! an answer that somebody forged, or that came out of a cache or through a redirect, would be
//! enough to carry it away. It is sent by TLS, and only to:
//!
//! 1. the registry's own host, on any port: who holds that name holds the registry;
//! 2. the host that is known to belong to the provider, as auth.docker.io to Docker Hub;
//! 3. a parent of the registry's host, as gitlab.com for registry.gitlab.com: who holds the parent
//!    can take over the registry's name whenever he likes, so he learns nothing he could not have
//!    had. A sibling (auth.example.com for registry.example.com) cannot, and is not enough: both
//!    may be customers of the same host;
//! 4. a host that the operator named, by REGISTRY_TOKEN_HOSTS.
//!
//! Any other is asked for nothing, not even without a password: where a stranger sends us is no
//! place to call from inside a cluster. Plain HTTP is for a registry that itself is spoken to by it,
//! on its own host, or on this machine if that is where the registry is.

use model::Provider;
use url::Url;

use crate::account::{Account, is_loopback};

type Reason = &'static str;

/// The address to ask for a token, if it is one that may have the account's login.
pub(crate) fn realm(account: &Account, named: &[String], text: &str) -> Result<Url, Reason> {
    let mut url = Url::parse(text).map_err(|_| NO_URL)?;
    url.set_fragment(None);
    let (Some(host), Some(own)) = (url.host_str(), account.base().host_str()) else {
        return Err(NO_URL);
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it names a login itself");
    }
    let same = host == own;
    let near = is_loopback(&url) && is_loopback(account.base());
    match url.scheme() {
        "https" => {}
        "http" if account.base().scheme() == "http" && (same || near) => {}
        "http" => return Err("it speaks plain HTTP"),
        _ => return Err(NO_URL),
    }
    let known = match account.provider() {
        Provider::DockerHub => host == "auth.docker.io",
        Provider::Ghcr | Provider::Ecr | Provider::Gcr | Provider::Oci => false,
    };
    let parent = is_parent(host, own);
    let by_name = named.iter().any(|name| name.eq_ignore_ascii_case(host));
    if same || near || known || parent || by_name { Ok(url) } else { Err("it is on another host") }
}

const NO_URL: Reason = "it is no URL";

/// Whether `own` is a name below `host`. Names of one part are nobody's: `com`.
fn is_parent(host: &str, own: &str) -> bool {
    let below = own.strip_suffix(host).and_then(|rest| rest.strip_suffix('.'));
    let is_name = host.bytes().any(|byte| byte.is_ascii_alphabetic());
    below.is_some_and(|rest| !rest.is_empty()) && host.contains('.') && is_name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_goes_only_where_the_registry_or_the_operator_could_have_sent_it() {
        use Provider::{DockerHub, Gcr, Ghcr, Oci};
        let (yes, no) = (true, false);
        for (provider, registry, realm_url, may) in [
            (Ghcr, "ghcr.io", "https://ghcr.io/token", yes),
            (Ghcr, "ghcr.io", "http://ghcr.io/token", no),
            (Ghcr, "ghcr.io", "https://ghcr.io.evil.example/token", no),
            (Ghcr, "ghcr.io", "https://evil.example/ghcr.io", no),
            (Ghcr, "ghcr.io", "https://ghcr.io@evil.example/", no),
            (Ghcr, "ghcr.io", "https://user:password@ghcr.io/token", no),
            (Ghcr, "ghcr.io", "https://auth.docker.io/token", no),
            (Ghcr, "ghcr.io", "https://io/token", no),
            (Ghcr, "ghcr.io", "token", no),
            (Ghcr, "ghcr.io", "file:///etc/passwd", no),
            (DockerHub, "docker.io", "https://auth.docker.io/token", yes),
            (DockerHub, "docker.io", "http://auth.docker.io/token", no),
            (DockerHub, "docker.io", "https://docker.io/token", yes),
            (DockerHub, "docker.io", "https://auth.docker.io.evil.example/", no),
            (Gcr, "europe-docker.pkg.dev", "https://europe-docker.pkg.dev/v2/token", yes),
            (Oci, "registry.gitlab.com", "https://gitlab.com/jwt/auth", yes),
            (Oci, "registry.example.com", "https://auth.example.com/token", no),
            (Oci, "example.com", "https://auth.example.com/token", no),
            (Oci, "registry.example.com", "https://com/", no),
            (Oci, "registry.example.com", "https://ry.example.com/", no),
            (Oci, "registry.example.com:5000", "https://registry.example.com:5001/auth", yes),
            (Oci, "registry.example.com", "https://named.example/auth", yes),
            (Oci, "registry.example.com", "https://NAMED.example:8443/auth", yes),
            (Oci, "registry.example.com", "http://named.example/auth", no),
            (Oci, "registry.example.com", "https://127.0.0.1/auth", no),
            (Oci, "registry.example.com", "http://127.0.0.1/auth", no),
            (Oci, "10.0.0.1", "https://0.0.1/", no),
            // Plain HTTP where the account says so, or where nobody listens in.
            (Oci, "http://registry.internal", "http://registry.internal:81/auth", yes),
            (Oci, "http://registry.internal", "http://internal/auth", no),
            (Oci, "http://registry.internal", "http://127.0.0.1/auth", no),
            (Oci, "127.0.0.1:5000", "http://127.0.0.1:5001/auth", yes),
            (Oci, "127.0.0.1:5000", "http://localhost:5001/auth", yes),
            (Oci, "127.0.0.1:5000", "http://[::1]:5001/auth", yes),
            (Oci, "127.0.0.1:5000", "http://10.0.0.1/auth", no),
            (Oci, "127.0.0.1:5000", "https://evil.example/auth", no),
            (Oci, "https://127.0.0.1:5000", "http://127.0.0.1:5001/auth", no),
        ] {
            let account = Account::new(provider, registry, None).unwrap();
            let named = ["named.example".to_owned()];
            let found = realm(&account, &named, realm_url);
            assert_eq!(found.is_ok(), may, "{registry} {realm_url}: {found:?}");
        }
    }

    #[test]
    fn what_the_realm_itself_asks_for_stays() {
        let account = Account::new(Provider::Oci, "a.example", None).unwrap();
        let url = realm(&account, &[], "https://a.example/auth?b=c#d").unwrap();
        assert_eq!(url.as_str(), "https://a.example/auth?b=c");
    }
}
