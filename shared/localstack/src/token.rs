use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use model::Secret;
use serde::Serialize;

/// Whom an API key stands for, as a role in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Anon,
    Service,
}

#[derive(Serialize)]
struct Claims {
    iss: &'static str,
    role: &'static str,
    iat: u64,
    exp: u64,
}

/// For clients that want tokens instead of keys, which Supabase calls legacy keys.
const LASTS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A token for this role that Supabase's parts accept for `lifetime` from now on.
pub(crate) fn mint(secret: &Secret, role: Role, lifetime: Duration) -> Secret {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = Claims {
        iss: "cogo",
        role: role.name(),
        iat: now.as_secs(),
        exp: (now + lifetime).as_secs(),
    };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key);
    Secret::new(token.expect("four plain claims can always be signed with a shared secret"))
}

pub(crate) fn mint_lasting(secret: &Secret, role: Role) -> Secret {
    mint(secret, role, LASTS)
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Anon => "anon",
            Self::Service => "service_role",
        }
    }
}
