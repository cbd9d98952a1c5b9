use std::time::Duration;

use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use axum::http::{HeaderName, StatusCode};
use model::Secret;
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use crate::Keys;
use crate::refusal::Refusal;
use crate::token::{Role, mint};

/// Knows who may come in, and as whom.
#[derive(Debug)]
pub(crate) struct Doorkeeper {
    /// What may be said as an API key.
    known: [(Secret, Role); 4],
    jwt_secret: Secret,
}

/// What a part asks of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// An API key in the header `apikey`.
    Key,
    /// The same, or in the query: a browser can give a websocket no headers.
    KeyOrQuery,
    /// A key that is given has to be right, but none is asked for: the part looks for itself.
    Open,
}

pub(crate) const APIKEY: HeaderName = HeaderName::from_static("apikey");

/// What a key is exchanged for has to last from here to the next process.
const LIFETIME: Duration = Duration::from_secs(300);

const HOW: &str = "`cogo status -o env` prints SUPABASE_PUBLISHABLE_KEY and SUPABASE_SECRET_KEY";

impl Doorkeeper {
    pub(crate) fn new(keys: &Keys) -> Self {
        let known = [
            (keys.secret_key.clone(), Role::Service),
            (keys.publishable_key.clone(), Role::Anon),
            (keys.service_role_key.clone(), Role::Service),
            (keys.anon_key.clone(), Role::Anon),
        ];
        Self { known, jwt_secret: keys.jwt_secret.clone() }
    }

    /// Checks the API key, and leaves in the headers a token that every part understands: whoever
    /// shows a key, and no token of a user, gets one for the key's role.
    pub(crate) fn admit(
        &self,
        entry: Entry,
        headers: &mut HeaderMap,
        query: Option<&str>,
    ) -> Result<(), Refusal> {
        let said = match headers.get(APIKEY) {
            Some(key) => Some(key.as_bytes().to_vec()),
            None if entry == Entry::KeyOrQuery => in_query(query),
            None => None,
        };
        let by_key = match said {
            Some(key) => Some(self.role(&key).ok_or_else(wrong_key)?),
            None if entry == Entry::Open => None,
            None => return Err(no_key()),
        };
        let role = match bearer(headers) {
            Bearer::Key(key) => Some(self.role(key).ok_or_else(wrong_bearer)?),
            Bearer::Other => None,
            Bearer::None => by_key,
        };
        if let Some(role) = role {
            let token = mint(&self.jwt_secret, role, LIFETIME);
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.expect("a token is letters, digits and a few signs");
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(())
    }

    fn role(&self, said: &[u8]) -> Option<Role> {
        // All of them, so that the time taken says nothing.
        let mut found = None;
        for (key, role) in &self.known {
            if bool::from(key.expose().as_bytes().ct_eq(said)) {
                found = Some(*role);
            }
        }
        found
    }
}

enum Bearer<'a> {
    /// One of the new kind, which no part but us understands.
    Key(&'a [u8]),
    /// A token, or something that the part may judge.
    Other,
    None,
}

fn bearer(headers: &HeaderMap) -> Bearer<'_> {
    let Some(said) = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes) else {
        return Bearer::None;
    };
    let (scheme, rest) = said.split_at_checked("bearer ".len()).unwrap_or((said, b""));
    if scheme.eq_ignore_ascii_case(b"bearer ") && rest.trim_ascii().starts_with(b"sb_") {
        return Bearer::Key(rest.trim_ascii());
    }
    Bearer::Other
}

fn in_query(query: Option<&str>) -> Option<Vec<u8>> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(name, _)| name == "apikey").map(|(_, value)| value.into_owned().into_bytes())
}

fn no_key() -> Refusal {
    let message = "this request has no API key";
    Refusal::new(StatusCode::UNAUTHORIZED, message, &format!("send one as header `apikey`: {HOW}"))
}

fn wrong_key() -> Refusal {
    let message = "the API key is none of this stack";
    Refusal::new(StatusCode::UNAUTHORIZED, message, HOW)
}

fn wrong_bearer() -> Refusal {
    let message = "the key in the header `Authorization` is none of this stack";
    Refusal::new(StatusCode::UNAUTHORIZED, message, HOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_new_kind_is_told_from_everything_else() {
        for (said, is_key) in [
            ("Bearer sb_secret_1", true),
            ("bearer  sb_publishable_1 ", true),
            ("Bearer eyJhbGciOi", false),
            ("Basic sb_secret_1", false),
            ("Bearer", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(said).unwrap());
            assert_eq!(matches!(bearer(&headers), Bearer::Key(_)), is_key, "{said:?}");
        }
        assert!(matches!(bearer(&HeaderMap::new()), Bearer::None));
    }

    #[test]
    fn a_key_is_found_in_a_query_as_browsers_write_it() {
        for (query, key) in [
            (None, None),
            (Some("vsn=1.0.0"), None),
            (Some("vsn=1.0.0&apikey=sb_1"), Some("sb_1")),
            (Some("apikey=a%2Bb&apikey=c"), Some("a+b")),
            (Some("apikey"), Some("")),
        ] {
            assert_eq!(in_query(query), key.map(|key| key.as_bytes().to_vec()), "{query:?}");
        }
    }
}
