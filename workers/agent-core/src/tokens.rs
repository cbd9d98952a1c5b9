use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api_error::ApiError;
use crate::jwks::Jwks;
use crate::settings::AuthSettings;

/// Checks tokens as Supabase issues them.
///
/// A token never chooses how it is checked: HS256 is checked with the secret and nothing else, the
/// others with the public key of that id, and only by the algorithm that key is for. So a public key
/// cannot be passed off as a secret, and `none` is not an algorithm.
pub(crate) struct Tokens {
    secret: Option<DecodingKey>,
    jwks: Option<Jwks>,
}

/// What a token says.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    pub(crate) role: String,
    pub(crate) exp: i64,
    pub(crate) sub: Option<String>,
    #[serde(default)]
    aud: Audience,
    tenant: Option<String>,
    #[serde(default)]
    app_metadata: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Audience {
    #[default]
    Nobody,
    One(String),
    Several(Vec<String>),
}

/// How far the clocks of the issuer and ours may be apart.
const LEEWAY_SECONDS: u64 = 5;
/// Of all tokens that Supabase issues to users.
const AUDIENCE: &str = "authenticated";
/// Far above any real one; checking costs what hashing it costs.
const LONGEST: usize = 16 * 1024;

impl Tokens {
    pub(crate) fn new(settings: &AuthSettings, http: reqwest::Client) -> Self {
        let secret = settings.supabase_jwt_secret.as_ref();
        Self {
            secret: secret.map(|secret| DecodingKey::from_secret(secret.expose().as_bytes())),
            jwks: settings.supabase_jwks_url.clone().map(|url| Jwks::new(url, http)),
        }
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<Claims, ApiError> {
        let malformed = || {
            ApiError::unauthenticated("credentials_invalid", "this is no token and no known key")
        };
        if token.len() > LONGEST || token.split('.').count() != 3 {
            return Err(malformed());
        }
        let header = decode_header(token).map_err(|_| malformed())?;
        let (key, algorithm) = match header.alg {
            Algorithm::HS256 => {
                let secret = self.secret.clone().ok_or_else(|| unsupported("HS256"))?;
                (secret, Algorithm::HS256)
            }
            Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => {
                let name = format!("{:?}", header.alg);
                let jwks = self.jwks.as_ref().ok_or_else(|| unsupported(&name))?;
                let key = jwks.key(header.kid.as_deref()).await?;
                if key.algorithm != header.alg {
                    return Err(wrong_signature());
                }
                (key.key, key.algorithm)
            }
            other => return Err(unsupported(&format!("{other:?}"))),
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        // Ours to check: the keys that Supabase issues to servers have none.
        validation.validate_aud = false;
        let claims =
            decode::<Claims>(token, &key, &validation).map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => {
                    ApiError::unauthenticated("token_expired", "the token has expired")
                }
                ErrorKind::ImmatureSignature => {
                    ApiError::unauthenticated("token_not_yet_valid", "the token is not valid yet")
                }
                ErrorKind::InvalidSignature => wrong_signature(),
                ErrorKind::MissingRequiredClaim(_) | ErrorKind::Json(_) => {
                    ApiError::unauthenticated("token_incomplete", "the token lacks `exp` or `role`")
                }
                _ => malformed(),
            })?;
        let claims = claims.claims;
        if !claims.is_for_us() {
            return Err(ApiError::unauthenticated(
                "token_for_others",
                "the token's audience is not `authenticated`",
            ));
        }
        Ok(claims)
    }
}

fn wrong_signature() -> ApiError {
    ApiError::unauthenticated("token_not_ours", "the token's signature is not of this project")
}

fn unsupported(algorithm: &str) -> ApiError {
    ApiError::unauthenticated(
        "token_not_ours",
        format!("tokens signed with {algorithm} are not accepted here"),
    )
}

impl Claims {
    pub(crate) fn tenant(&self) -> Option<&str> {
        let nested = || self.app_metadata.get("tenant").and_then(Value::as_str);
        self.tenant.as_deref().or_else(nested)
    }

    fn is_for_us(&self) -> bool {
        match &self.aud {
            Audience::Nobody => self.role != "authenticated",
            Audience::One(one) => one == AUDIENCE,
            Audience::Several(several) => several.iter().any(|one| one == AUDIENCE),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tokens").finish_non_exhaustive()
    }
}
