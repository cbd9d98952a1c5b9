use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use model::Secret;
use sha2::Sha256;
use time::{Duration, OffsetDateTime};

use crate::Account;

/// What a registry is pulled from with: by us, and by kubelets through a pull secret.
#[derive(Clone)]
pub struct Login {
    // A secret, too: some write their token where the user belongs.
    pub user: Secret,
    pub password: Secret,
    /// None lasts until somebody changes it.
    pub expires_at: Option<OffsetDateTime>,
}

/// Of the time that a login has left, the part after which it is renewed: about the half, so that
/// there is as much again for everything that may go wrong.
const EARLIEST: f64 = 0.45;
const LATEST: f64 = 0.55;

impl Login {
    /// When to ask for the next one. Everybody's `chance`, from 0 to 1, is another, so that not all
    /// come at one moment.
    pub fn refresh_at(&self, now: OffsetDateTime, chance: f64) -> Option<OffsetDateTime> {
        let left = (self.expires_at? - now).max(Duration::ZERO);
        let part = EARLIEST + (LATEST - EARLIEST) * chance.clamp(0.0, 1.0);
        Some(now + left * part)
    }

    /// As the value of an `Authorization` header.
    pub(crate) fn basic(&self) -> Secret {
        Secret::new(format!("Basic {}", self.encoded().expose()))
    }

    fn encoded(&self) -> Secret {
        let plain = Secret::new(format!("{}:{}", self.user.expose(), self.password.expose()));
        Secret::new(STANDARD.encode(plain.expose()))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Login").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// What a Secret of the type `kubernetes.io/dockerconfigjson` holds. The same login is always the
/// same text.
pub fn dockerconfigjson(account: &Account, login: &Login) -> Secret {
    let text = |secret: &Secret| serde_json::Value::from(secret.expose()).to_string();
    let (user, password) = (text(&login.user), text(&login.password));
    let (name, auth) = (serde_json::Value::from(account.key()), login.encoded());
    Secret::new(format!(
        "{{\"auths\":{{{name}:{{\"username\":{user},\"password\":{password},\"auth\":\"{}\"}}}}}}",
        auth.expose()
    ))
}

/// Tells whether a document changed without being the document: an HMAC of it. It may be shown to
/// whoever may not read the document as long as `key` is not: without it, a password that can be
/// guessed could be tried out.
pub fn content_hash(key: &Secret, document: &Secret) -> String {
    let mut hmac =
        Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()).expect("any length of key will do");
    hmac.update(document.expose().as_bytes());
    hex::encode(hmac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Provider;
    use time::macros::datetime;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn login(user: &str, password: &str) -> Login {
        Login { user: secret(user), password: secret(password), expires_at: None }
    }

    #[test]
    fn a_pull_secret_is_what_docker_writes() {
        for (provider, url, name) in [
            (Provider::Ghcr, "ghcr.io", "ghcr.io"),
            (Provider::DockerHub, "docker.io", "https://index.docker.io/v1/"),
            (Provider::Oci, "http://127.0.0.1:5000", "127.0.0.1:5000"),
        ] {
            let account = Account::new(provider, url, None).unwrap();
            let document = dockerconfigjson(&account, &login("us\"er", "pa\\ss"));
            let found: serde_json::Value = serde_json::from_str(document.expose()).unwrap();
            let auth = STANDARD.encode("us\"er:pa\\ss");
            let entry = serde_json::json!({
                "username": "us\"er", "password": "pa\\ss", "auth": auth,
            });
            assert_eq!(found, serde_json::json!({ "auths": { name: entry } }));
        }
    }

    #[test]
    fn a_change_is_known_by_its_hash_and_the_hash_by_its_key() {
        let account = Account::new(Provider::Ghcr, "ghcr.io", None).unwrap();
        let hash = |key: &str, password: &str| {
            content_hash(&secret(key), &dockerconfigjson(&account, &login("user", password)))
        };
        assert_eq!(hash("key", "a"), hash("key", "a"));
        assert_ne!(hash("key", "a"), hash("key", "b"));
        assert_ne!(hash("key", "a"), hash("other", "a"));
        // Known from RFC 4231, test case 2.
        assert_eq!(
            content_hash(&secret("Jefe"), &secret("what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
    }

    #[test]
    fn a_login_is_renewed_about_half_way_to_its_end() {
        let now = datetime!(2026-11-21 09:00 UTC);
        let until = |expires_at| Login { expires_at, ..login("user", "password") };
        let twelve = until(Some(datetime!(2026-11-21 21:00 UTC)));
        for (chance, at) in [
            (0.0, datetime!(2026-11-21 14:24 UTC)),
            (0.5, datetime!(2026-11-21 15:00 UTC)),
            (1.0, datetime!(2026-11-21 15:36 UTC)),
            (7.0, datetime!(2026-11-21 15:36 UTC)),
        ] {
            let found = twelve.refresh_at(now, chance).unwrap();
            assert!((found - at).abs() < Duration::seconds(1), "{found} {at}");
        }
        assert_eq!(until(Some(datetime!(2026-11-20 09:00 UTC))).refresh_at(now, 0.5), Some(now));
        assert_eq!(until(None).refresh_at(now, 0.5), None);
    }

    #[test]
    fn a_login_hides_itself() {
        let shown = format!("{:?} {:#?}", login("hunter1", "hunter2"), login("hunter1", "hunter2"));
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
