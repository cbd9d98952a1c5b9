use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use db::within;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::api_error::ApiError;

/// The project's public keys, fetched when needed and kept for a while.
///
/// One fetch at a time, however many wait for it. An unknown key id fetches again, since keys are
/// changed without telling us, but not more often than every [`RESTS`]: anybody can make up ids.
pub(crate) struct Jwks {
    url: String,
    http: reqwest::Client,
    known: RwLock<Arc<Known>>,
    /// Held while fetching; when we last tried.
    tried: Mutex<Option<Instant>>,
}

/// A public key, and the one algorithm it is used with.
#[derive(Clone)]
pub(crate) struct PublicKey {
    pub(crate) key: DecodingKey,
    pub(crate) algorithm: Algorithm,
}

#[derive(Default)]
struct Known {
    by_id: HashMap<String, PublicKey>,
    fetched_at: Option<Instant>,
}

/// Also how long a key that was taken back is still accepted.
const FRESH: Duration = Duration::from_secs(600);
/// While they cannot be fetched, the old ones hold for this long.
const USABLE: Duration = Duration::from_secs(3600);
const RESTS: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(5);
const LARGEST: usize = 256 * 1024;

impl Jwks {
    pub(crate) fn new(url: String, http: reqwest::Client) -> Self {
        Self { url, http, known: RwLock::default(), tried: Mutex::new(None) }
    }

    pub(crate) async fn key(&self, id: Option<&str>) -> Result<PublicKey, ApiError> {
        let known = self.known();
        if known.younger_than(FRESH)
            && let Some(key) = known.find(id)
        {
            return Ok(key);
        }
        self.refresh(&known).await;
        let known = self.known();
        if !known.younger_than(USABLE) {
            return Err(ApiError::unavailable(
                "keys_unavailable",
                "the keys that tokens are checked with could not be fetched",
                "try again; if it lasts, check SUPABASE_JWKS_URL",
            ));
        }
        known.find(id).ok_or_else(|| {
            ApiError::unauthenticated("token_not_ours", "the token's key is not of this project")
        })
    }

    /// Fetches, unless somebody did since we looked, or just tried.
    async fn refresh(&self, seen: &Arc<Known>) {
        let mut tried = self.tried.lock().await;
        let others_did = !Arc::ptr_eq(seen, &self.known());
        if others_did || tried.is_some_and(|tried| tried.elapsed() < RESTS) {
            return;
        }
        *tried = Some(Instant::now());
        match within("agent_core.jwks", LIMIT, self.fetch()).await {
            Ok(Ok(by_id)) => {
                info!(keys = by_id.len(), "fetched the keys that tokens are checked with");
                let known = Known { by_id, fetched_at: Some(Instant::now()) };
                *self.known.write().expect("nothing panics while it writes") = Arc::new(known);
            }
            Ok(Err(error)) => warn!(error, "could not fetch the keys that tokens are checked with"),
            Err(late) => {
                warn!(error = %late, "could not fetch the keys that tokens are checked with");
            }
        }
    }

    async fn fetch(&self) -> Result<HashMap<String, PublicKey>, String> {
        let told = |error: reqwest::Error| error.without_url().to_string();
        let response = self.http.get(&self.url).send().await.map_err(told)?;
        let mut response = response.error_for_status().map_err(told)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(format!("the answer is larger than {LARGEST} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        parse(&body).map_err(|error| error.to_string())
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().expect("nothing panics while it writes"))
    }
}

impl Known {
    fn younger_than(&self, age: Duration) -> bool {
        self.fetched_at.is_some_and(|at| at.elapsed() < age)
    }

    /// A token without an id is meant for the only key there is.
    fn find(&self, id: Option<&str>) -> Option<PublicKey> {
        match id {
            Some(id) => self.by_id.get(id).cloned(),
            None if self.by_id.len() == 1 => self.by_id.values().next().cloned(),
            None => None,
        }
    }
}

/// Keys of kinds we do not know are passed over: there may be some for others.
fn parse(body: &[u8]) -> Result<HashMap<String, PublicKey>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(body)?;
    let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Ok(keys
        .filter_map(|jwk| {
            let id = jwk.common.key_id.clone().unwrap_or_default();
            Some((id, public_key(&jwk)?))
        })
        .collect())
}

fn public_key(jwk: &Jwk) -> Option<PublicKey> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        // Above all no symmetric key: what is published is no secret.
        _ => return None,
    };
    let named = jwk.common.key_algorithm.map(|named| format!("{named:?}"));
    if named.is_some_and(|named| named != format!("{algorithm:?}")) {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(PublicKey { key, algorithm })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_for_signing_are_taken() {
        let keys = parse(
            br#"{"keys": [
                {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA",
                    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
                {"kty": "oct", "kid": "secret", "alg": "HS256", "k": "c2VjcmV0"},
                {"kty": "OKP", "crv": "Ed25519", "kid": "other use", "use": "enc",
                    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
                {"kty": "unheard-of"}, 5]}"#,
        )
        .unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["ed"]);
        assert_eq!(keys["ed"].algorithm, Algorithm::EdDSA);
        assert!(parse(b"<html>").is_err());
    }
}
