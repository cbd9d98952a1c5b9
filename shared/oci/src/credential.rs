use miette::Diagnostic;
use model::{Provider, Secret};
use serde_json::Value;

use crate::account::Account;
use crate::docker_config;
use crate::sigv4::AwsKeys;

/// What an account's secret turned out to be.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    Password {
        user: Secret,
        password: Secret,
    },
    /// ECR gives a password that lasts for half a day to whoever signs with these.
    Aws(AwsKeys),
}

/// Holds nothing of what was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("the account's credential is no login for {registry}: {why}")]
#[diagnostic(help("store one of: {}", forms(*provider)))]
pub struct InvalidCredential {
    provider: Provider,
    registry: String,
    why: Reason,
}

pub(crate) type Reason = &'static str;

fn forms(provider: Provider) -> &'static str {
    match provider {
        Provider::Ghcr => "a token with read:packages, user:token, a dockerconfigjson document",
        Provider::DockerHub => {
            "user:token, a token if the account's namespace is its user, a dockerconfigjson document"
        }
        Provider::Ecr => {
            "access_key_id:secret_access_key[:session_token], AWS:<password>, a dockerconfigjson \
             document"
        }
        Provider::Gcr => "a service account's key (JSON), an access token, user:password",
        Provider::Oci => "user:password, a dockerconfigjson document",
    }
}

impl Credential {
    pub(crate) fn parse(account: &Account, secret: &Secret) -> Result<Self, InvalidCredential> {
        let provider = account.provider();
        let invalid = |why| {
            let registry = account.host().to_owned();
            InvalidCredential { provider, registry, why }
        };
        // Whoever writes a secret by an editor writes a line break after it.
        let text = secret.expose().trim();
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.starts_with('{') {
            return document(account, text).map_err(invalid);
        }
        if text.chars().any(char::is_control) {
            return Err(invalid("it has line breaks or control characters in it"));
        }
        let Some((first, rest)) = text.split_once(':') else {
            return bare(account, text).map_err(invalid);
        };
        if first.is_empty() || rest.is_empty() {
            return Err(invalid("the user or the password is empty"));
        }
        if provider == Provider::Ecr && first != "AWS" {
            return aws(first, rest).map(Self::Aws).map_err(invalid);
        }
        Ok(password(first, rest))
    }
}

pub(crate) fn password(user: &str, password: &str) -> Credential {
    let secret = |text: &str| Secret::new(text.to_owned());
    Credential::Password { user: secret(user), password: secret(password) }
}

/// A token alone. Some registries want to know whose it is, and some take any name.
fn bare(account: &Account, token: &str) -> Result<Credential, Reason> {
    let user = match account.provider() {
        Provider::Ghcr => account.namespace().unwrap_or("cogo"),
        Provider::DockerHub => account
            .namespace()
            .ok_or("it is a token without a user, and the account has no namespace")?,
        Provider::Ecr => "AWS",
        Provider::Gcr => "oauth2accesstoken",
        Provider::Oci => return Err("it is one word, and not a user and a password"),
    };
    Ok(password(user, token))
}

fn aws(access_key_id: &str, rest: &str) -> Result<AwsKeys, Reason> {
    let (secret_access_key, session_token) = match rest.split_once(':') {
        Some((key, token)) => (key, Some(token)),
        None => (rest, None),
    };
    let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if !(16..=128).contains(&access_key_id.len()) || !access_key_id.bytes().all(upper) {
        return Err("it begins with neither `AWS:` nor an access key id");
    }
    // They are sent in headers, or sign what is.
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain(secret_access_key) || !session_token.is_none_or(plain) {
        return Err("its secret access key or its session token is none");
    }
    let secret = |text: &str| Secret::new(text.to_owned());
    Ok(AwsKeys {
        access_key_id: access_key_id.to_owned(),
        secret_access_key: secret(secret_access_key),
        session_token: session_token.map(secret),
    })
}

/// JSON: what Docker keeps, or what Google gives out.
fn document(account: &Account, text: &str) -> Result<Credential, Reason> {
    let value: Value = serde_json::from_str(text).map_err(|_| "it begins as JSON and is none")?;
    if value["type"] == "service_account" {
        if account.provider() != Provider::Gcr {
            return Err("it is a key of Google's, and the registry is not");
        }
        return Ok(password("_json_key", text));
    }
    docker_config::login(account, &value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker_config::NO_ENTRY;
    use Provider::{DockerHub, Ecr, Gcr, Ghcr, Oci};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use proptest::prelude::*;

    const ECR: &str = "012345678901.dkr.ecr.eu-west-1.amazonaws.com";

    fn parse(
        provider: Provider,
        namespace: Option<&str>,
        text: &str,
    ) -> Result<Credential, String> {
        let url = match provider {
            Ghcr => "ghcr.io",
            DockerHub => "docker.io",
            Ecr => ECR,
            Gcr => "europe-docker.pkg.dev",
            Oci => "registry.example.com:5000",
        };
        let account = Account::new(provider, url, namespace).unwrap();
        let secret = Secret::new(text.to_owned());
        Credential::parse(&account, &secret).map_err(|error| {
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            error.why.to_owned()
        })
    }

    fn login(provider: Provider, namespace: Option<&str>, text: &str) -> (String, String) {
        match parse(provider, namespace, text) {
            Ok(Credential::Password { user, password }) => {
                (user.expose().to_owned(), password.expose().to_owned())
            }
            Ok(Credential::Aws(_)) => panic!("these are keys: {text}"),
            Err(why) => panic!("{text}: {why}"),
        }
    }

    fn auths(entries: &[(&str, &str)]) -> String {
        let entry = |(name, login): &(&str, &str)| {
            ((*name).to_owned(), serde_json::json!({ "auth": BASE64.encode(login) }))
        };
        let all: serde_json::Map<String, Value> = entries.iter().map(entry).collect();
        serde_json::json!({ "auths": all }).to_string()
    }

    #[test]
    fn each_provider_has_its_ways_to_write_a_login() {
        let key = r#"{ "type": "service_account", "private_key": "a\nb" }"#;
        for (provider, namespace, text, user, password) in [
            (Oci, None, "user:hunter2", "user", "hunter2"),
            (Oci, None, "user:with:colons\n", "user", "with:colons"),
            (Ghcr, None, "ghp_hunter2", "cogo", "ghp_hunter2"),
            (Ghcr, Some("acme"), "ghp_hunter2\n", "acme", "ghp_hunter2"),
            (Ghcr, Some("acme"), "bot:ghp_hunter2", "bot", "ghp_hunter2"),
            (DockerHub, Some("acme"), "dckr_pat_hunter2", "acme", "dckr_pat_hunter2"),
            (Gcr, None, key, "_json_key", key),
            (Gcr, None, "ya29.hunter2", "oauth2accesstoken", "ya29.hunter2"),
            (Ecr, None, "AWS:hunter2", "AWS", "hunter2"),
            (Ecr, None, "hunter2", "AWS", "hunter2"),
        ] {
            let expected = (user.to_owned(), password.to_owned());
            assert_eq!(login(provider, namespace, text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_login_is_refused_and_not_repeated() {
        let wrong_entry = r#"{"auths":{"ghcr.io":{"auth":"aHVudGVyMg=="}}}"#;
        for (provider, text, why) in [
            (Oci, " \n", "it is empty"),
            (Oci, "hunter2", "it is one word"),
            (Oci, ":hunter2", "the user or the password is empty"),
            (Oci, "hunter2:", "the user or the password is empty"),
            (Oci, "a:hunter2\nb", "line breaks"),
            (DockerHub, "hunter2", "has no namespace"),
            (Ecr, "user:hunter2", "neither `AWS:` nor"),
            (Ecr, "AKIDEXAMPLEEXAMPLE: hunter2", "is none"),
            (Ecr, "AKIDEXAMPLEEXAMPLE:hunter2:", "is none"),
            (Oci, "{hunter2", "begins as JSON"),
            (Oci, r#"{"hunter2":1}"#, "without `auths`"),
            (Oci, r#"{"auths":["hunter2"]}"#, "without `auths`"),
            (Oci, r#"{"type":"service_account","private_key":"hunter2"}"#, "of Google's"),
            (Oci, &auths(&[("hunter2.example.com", "a:hunter2")]), "none of its entries"),
            (Ghcr, r#"{"auths":{"ghcr.io":{}}}"#, NO_ENTRY),
            (Ghcr, r#"{"auths":{"ghcr.io":"hunter2"}}"#, NO_ENTRY),
            (Ghcr, r#"{"auths":{"ghcr.io":{"auth":"%hunter2"}}}"#, NO_ENTRY),
            (Ghcr, r#"{"auths":{"ghcr.io":{"identitytoken":"hunter2"}}}"#, "login by browser"),
            (Ghcr, wrong_entry, NO_ENTRY),
            (Ghcr, &auths(&[("ghcr.io", ":hunter2")]), NO_ENTRY),
        ] {
            let told = parse(provider, None, text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
        }
    }

    #[test]
    fn keys_of_amazon_are_told_from_a_password() {
        for (text, token) in [
            ("AKIDEXAMPLEEXAMPLE:hunter2/+", None),
            ("ASIAEXAMPLEEXAMPLE:hunter2/+:t0ken//==", Some("t0ken//==")),
        ] {
            let Ok(Credential::Aws(keys)) = parse(Ecr, None, text) else { panic!("{text}") };
            assert_eq!(keys.secret_access_key.expose(), "hunter2/+");
            assert_eq!(keys.session_token.as_ref().map(Secret::expose), token);
            assert!(!format!("{keys:?}").contains("hunter2"));
        }
    }

    #[test]
    fn of_a_docker_config_the_entry_that_fits_best_is_taken() {
        for (provider, namespace, entries, user) in [
            (Ghcr, None, &[("quay.io", "no:p"), ("ghcr.io", "yes:p")][..], "yes"),
            (Ghcr, None, &[("https://ghcr.io/v2/", "yes:p")], "yes"),
            (Ghcr, Some("acme"), &[("ghcr.io", "no:p"), ("ghcr.io/acme", "yes:p")], "yes"),
            (Ghcr, Some("other"), &[("ghcr.io", "yes:p"), ("ghcr.io/acme", "no:p")], "yes"),
            (Ghcr, Some("acme2"), &[("ghcr.io", "yes:p"), ("ghcr.io/acme", "no:p")], "yes"),
            (Ghcr, Some("v1x"), &[("ghcr.io", "no:p"), ("ghcr.io/v1x", "yes:p")], "yes"),
            (Ghcr, Some("acme"), &[("ghcr.io", "no:p"), ("ghcr.io/v2/acme", "yes:p")], "yes"),
            (DockerHub, None, &[("https://index.docker.io/v1/", "yes:p")], "yes"),
            (DockerHub, None, &[("docker.io", "yes:p"), ("ghcr.io", "no:p")], "yes"),
            (
                Oci,
                None,
                &[("registry.example.com", "no:p"), ("registry.example.com:5000", "yes:p")],
                "yes",
            ),
            (Ecr, None, &[("*.dkr.ecr.*.amazonaws.com", "yes:p")], "yes"),
            (Ecr, None, &[("*.dkr.ecr.*.amazonaws.com", "no:p"), (ECR, "yes:p")], "yes"),
        ] {
            let text = auths(entries);
            assert_eq!(login(provider, namespace, &text).0, user, "{text}");
        }
        let split = r#"{"auths":{"ghcr.io":{"username":"u","password":"p","auth":"bm86cA"}}}"#;
        assert_eq!(login(Ghcr, None, split), ("u".to_owned(), "p".to_owned()));
        let unpadded = r#"{"auths":{"ghcr.io":{"auth":"dTpwdw"}}}"#;
        assert_eq!(login(Ghcr, None, unpadded), ("u".to_owned(), "pw".to_owned()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(
            text in "(AWS:|AKIDEXAMPLEEXAMPLE:|\\{\"auths\":\\{\"ghcr.io/?[a-z]{0,2}\":)?\\PC{0,30}\\}?\\}?",
        ) {
            for provider in Provider::ALL {
                let _ = parse(provider, None, &text);
            }
        }
    }
}
