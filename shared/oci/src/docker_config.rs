//! The document that Docker keeps logins in, and pull secrets hold.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use model::Secret;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::account::{Account, with_port};
use crate::credential::{Credential, Reason, password};

/// Of its entries the one that fits the account best.
pub(crate) fn login(account: &Account, value: &Value) -> Result<Credential, Reason> {
    let auths = value["auths"].as_object().ok_or("it is JSON without `auths`")?;
    let named = |(name, entry): (&String, &Value)| {
        Some((rank(account, name)?, Entry::deserialize(entry).ok()))
    };
    let best = auths.iter().filter_map(named).max_by_key(|(rank, _)| *rank);
    let (_, entry) = best.ok_or("none of its entries is for this registry")?;
    entry.ok_or(NO_ENTRY)?.login()
}

pub(crate) const NO_ENTRY: Reason = "its entry for this registry holds no user and password";

/// How well a name in `auths` fits: the longer, the better. None does not fit at all.
fn rank(account: &Account, name: &str) -> Option<usize> {
    let bare = match name.split_once("://") {
        Some((_, rest)) => rest,
        None => name,
    };
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    // The port of HTTPS is left out when the account's address is read.
    let plain =
        Url::parse(&format!("https://{host}")).map_or_else(|_| host.into(), |url| with_port(&url));
    if !account.is_called(&plain) && !matches_glob(account.host(), host) {
        return None;
    }
    // Version 1 and 2 are names of APIs and not of places.
    let path = match path.trim_matches('/').split_once('/') {
        Some(("v1" | "v2", rest)) => rest,
        None if matches!(path.trim_matches('/'), "v1" | "v2") => "",
        _ => path.trim_matches('/'),
    };
    let namespace = account.namespace().unwrap_or_default();
    let exact = usize::from(!host.contains('*'));
    let fits = path.is_empty()
        || namespace == path
        || namespace.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    fits.then_some(path.len() * 2 + exact)
}

/// `*.dkr.ecr.*.amazonaws.com`, as kubelets understand it: a star is a part of one step.
fn matches_glob(host: &str, pattern: &str) -> bool {
    let (steps, patterns) = (host.split('.'), pattern.split('.'));
    pattern.contains('*')
        && steps.clone().count() == patterns.clone().count()
        && steps.zip(patterns).all(|(step, pattern)| match pattern.split_once('*') {
            None => step == pattern,
            Some((start, end)) => {
                step.len() >= start.len() + end.len()
                    && step.starts_with(start)
                    && step.ends_with(end)
            }
        })
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<Secret>,
    #[serde(default)]
    username: Option<Secret>,
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    identitytoken: Option<Secret>,
    #[serde(default)]
    registrytoken: Option<Secret>,
}

/// Docker pads what it encodes; others do not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Entry {
    fn login(self) -> Result<Credential, Reason> {
        let has =
            |secret: &Option<Secret>| secret.as_ref().is_some_and(|it| !it.expose().is_empty());
        if has(&self.username) && has(&self.password) {
            let (user, password) = (self.username, self.password);
            return Ok(Credential::Password {
                user: user.ok_or(NO_ENTRY)?,
                password: password.ok_or(NO_ENTRY)?,
            });
        }
        if !has(&self.auth) {
            if has(&self.identitytoken) || has(&self.registrytoken) {
                return Err("its entry for this registry is a token of a login by browser, which \
                            only Docker can use");
            }
            return Err(NO_ENTRY);
        }
        let auth = self.auth.ok_or(NO_ENTRY)?;
        let bytes = LENIENT.decode(auth.expose().trim()).map_err(|_| NO_ENTRY)?;
        let text = Secret::new(String::from_utf8(bytes).map_err(|_| NO_ENTRY)?);
        // Docker once wrote zeros behind passwords, and still takes them away.
        let (user, secret) = text.expose().split_once(':').ok_or(NO_ENTRY)?;
        let secret = secret.trim_end_matches('\0');
        if user.is_empty() || secret.is_empty() {
            return Err(NO_ENTRY);
        }
        Ok(password(user, secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_a_part_of_one_step() {
        for (host, pattern, fits) in [
            ("a.b.c", "*.b.c", true),
            ("a.b.c", "*.c", false),
            ("ab.c", "a*b.c", true),
            ("a.c", "a*a.c", false),
            ("a.b", "a.b", false),
        ] {
            assert_eq!(matches_glob(host, pattern), fits, "{host} {pattern}");
        }
    }
}
