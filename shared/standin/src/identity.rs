use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use model::Secret;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::settings::ApiKeys;

/// Who somebody is, as their key or token says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) role: String,
    /// What policies may ask about, as JSON.
    pub(crate) claims: String,
    /// Keys do not expire.
    pub(crate) expires_at: Option<SystemTime>,
}

/// Tells who holds a key or a token.
pub(crate) struct Doorkeeper {
    key: DecodingKey,
    validation: Validation,
    keys: ApiKeys,
}

/// Why a key or token was refused. Never repeats a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("no API key: give one as the parameter `apikey` or the header `x-api-key`")]
    Missing,
    #[error("this is neither a known API key nor a token")]
    Unknown,
    #[error("the signature of this token is not by our secret with HS256")]
    Signature,
    #[error("Token has expired")]
    Expired,
    #[error("Fields `role` and `exp` are required in JWT")]
    Claims,
}

/// Far above any real one; checking costs what hashing it costs.
const LONGEST: usize = 16 * 1024;

impl Doorkeeper {
    pub(crate) fn new(secret: &Secret, keys: ApiKeys) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // As strict as the channel that is closed when its token ends.
        validation.leeway = 0;
        validation.validate_aud = false;
        validation.validate_nbf = true;
        Self { key: DecodingKey::from_secret(secret.expose().as_bytes()), validation, keys }
    }

    pub(crate) fn identify(&self, token: &str) -> Result<Identity, Refused> {
        if same(token, &self.keys.secret) {
            return Ok(Identity::of_key("service_role"));
        }
        if same(token, &self.keys.publishable) {
            return Ok(Identity::of_key("anon"));
        }
        if token.is_empty() {
            return Err(Refused::Missing);
        }
        if token.len() > LONGEST || token.split('.').count() != 3 {
            return Err(Refused::Unknown);
        }
        let decoded = decode::<Map<String, Value>>(token, &self.key, &self.validation);
        let claims = decoded.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => Refused::Expired,
            ErrorKind::InvalidSignature
            | ErrorKind::InvalidAlgorithm
            | ErrorKind::InvalidAlgorithmName => Refused::Signature,
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
                Refused::Claims
            }
            _ => Refused::Unknown,
        })?;
        let claims = claims.claims;
        let role = claims.get("role").and_then(Value::as_str).filter(|role| !role.is_empty());
        let (Some(role), Some(exp)) = (role, claims.get("exp").and_then(Value::as_f64)) else {
            return Err(Refused::Claims);
        };
        // Beyond what the clock can say, it is as good as never.
        let expires_at =
            Duration::try_from_secs_f64(exp).ok().and_then(|since| UNIX_EPOCH.checked_add(since));
        Ok(Identity {
            role: role.to_owned(),
            claims: Value::Object(claims).to_string(),
            expires_at,
        })
    }
}

impl Identity {
    fn of_key(role: &str) -> Self {
        let claims = serde_json::json!({ "role": role }).to_string();
        Self { role: role.to_owned(), claims, expires_at: None }
    }

    /// How long it still holds; `None` is for ever.
    pub(crate) fn left(&self) -> Option<Duration> {
        let until = self.expires_at?;
        Some(until.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

/// How long it takes tells nothing about where they differ.
fn same(token: &str, key: &Secret) -> bool {
    !key.expose().is_empty() && token.as_bytes().ct_eq(key.expose().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
    use serde_json::json;

    fn doorkeeper() -> Doorkeeper {
        let keys = ApiKeys {
            secret: Secret::new("sb_secret_a".to_owned()),
            publishable: Secret::new("sb_publishable_b".to_owned()),
        };
        Doorkeeper::new(&Secret::new("hush".to_owned()), keys)
    }

    fn signed(claims: &Value, secret: &str, algorithm: Algorithm) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    #[test]
    fn keys_stand_for_roles_and_tokens_say_theirs() {
        let door = doorkeeper();
        assert_eq!(door.identify("sb_secret_a").unwrap().role, "service_role");
        assert_eq!(door.identify("sb_publishable_b").unwrap().role, "anon");
        assert_eq!(door.identify("sb_publishable_b").unwrap().left(), None);
        let exp = get_current_timestamp() + 60;
        let claims = json!({ "role": "authenticated", "exp": exp, "sub": "me", "aud": "any" });
        let me = door.identify(&signed(&claims, "hush", Algorithm::HS256)).unwrap();
        assert_eq!(me.role, "authenticated");
        assert_eq!(serde_json::from_str::<Value>(&me.claims).unwrap(), claims);
        assert!(me.left().unwrap() <= Duration::from_secs(60));
    }

    #[test]
    fn whatever_is_wrong_with_a_token_is_told_without_it() {
        let door = doorkeeper();
        let (now, hs) = (get_current_timestamp(), Algorithm::HS256);
        let good = json!({ "role": "anon", "exp": now + 60 });
        for (token, refused) in [
            (String::new(), Refused::Missing),
            ("sb_secret_".to_owned(), Refused::Unknown),
            ("sb_secret_aa".to_owned(), Refused::Unknown),
            ("a.b.c".to_owned(), Refused::Unknown),
            ("x".repeat(LONGEST + 1), Refused::Unknown),
            (signed(&good, "other", hs), Refused::Signature),
            (signed(&good, "hush", Algorithm::HS384), Refused::Signature),
            (signed(&json!({ "role": "anon", "exp": now - 1 }), "hush", hs), Refused::Expired),
            (signed(&json!({ "role": "anon" }), "hush", hs), Refused::Claims),
            (signed(&json!({ "exp": now + 60 }), "hush", hs), Refused::Claims),
            (signed(&json!({ "role": "", "exp": now + 60 }), "hush", hs), Refused::Claims),
            (signed(&json!({ "role": 1, "exp": now + 60 }), "hush", hs), Refused::Claims),
        ] {
            assert_eq!(door.identify(&token).unwrap_err(), refused, "{token}");
        }
    }

    #[test]
    fn an_empty_key_opens_nothing() {
        let keys =
            ApiKeys { secret: Secret::new(String::new()), publishable: Secret::new(String::new()) };
        let door = Doorkeeper::new(&Secret::new("hush".to_owned()), keys);
        assert_eq!(door.identify("").unwrap_err(), Refused::Missing);
    }
}
