use std::collections::HashMap;
use std::time::Duration;

use model::Secret;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

/// Tokens that are still good, each for reading one repository (or, without one, for nothing but
/// being known).
#[derive(Default)]
pub(crate) struct Tokens(HashMap<Option<String>, Held>);

struct Held {
    token: Secret,
    until: Instant,
}

/// More repositories than any fleet has. Beyond it the oldest are asked for anew.
const MOST: usize = 1024;
/// What the specification says of an answer that does not say.
const UNSAID: Duration = Duration::from_secs(60);
/// A registry that promises more is asked again all the same: what one may read can change.
const LONGEST: Duration = Duration::from_secs(3600);

impl Tokens {
    pub(crate) fn get(&self, path: Option<&str>, now: Instant) -> Option<Secret> {
        let held = self.0.get(&path.map(str::to_owned))?;
        (held.until > now).then(|| held.token.clone())
    }

    pub(crate) fn put(&mut self, path: Option<&str>, given: &Given, now: Instant) {
        self.0.retain(|_, held| held.until > now);
        if self.0.len() >= MOST {
            let first = self.0.iter().min_by_key(|(_, held)| held.until);
            if let Some(first) = first.map(|(path, _)| path.clone()) {
                self.0.remove(&first);
            }
        }
        let held = Held { token: given.token.clone(), until: now + given.good_for };
        self.0.insert(path.map(str::to_owned), held);
    }

    pub(crate) fn forget(&mut self, path: Option<&str>) {
        self.0.remove(&path.map(str::to_owned));
    }
}

/// A token as a realm answers it.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) token: Secret,
    pub(crate) good_for: Duration,
}

impl Given {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let given = |token: Option<Secret>| token.filter(|token| !token.expose().is_empty());
        // Two names for the same: the older one, and the one of OAuth.
        let token = given(answer.token).or_else(|| given(answer.access_token))?;
        if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let said = answer
            .expires_in
            .as_ref()
            .and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
        let said = said.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let said = said.unwrap_or(UNSAID).min(LONGEST);
        // The end of it is ours and not the registry's: what is asked now arrives later.
        Some(Self { token, good_for: said.mul_f64(0.9) })
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    access_token: Option<Secret>,
    #[serde(default)]
    expires_in: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(token: &str, seconds: u64) -> Given {
        Given { token: Secret::new(token.to_owned()), good_for: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_token_is_used_for_its_repository_until_it_expires() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut tokens = Tokens::default();
        tokens.put(Some("a"), &given("one", 100), start);
        tokens.put(None, &given("two", 100), start);
        let found = |tokens: &Tokens, path, now| {
            tokens.get(path, now).map(|token| token.expose().to_owned())
        };
        assert_eq!(found(&tokens, Some("a"), after(99)).as_deref(), Some("one"));
        assert_eq!(found(&tokens, None, after(99)).as_deref(), Some("two"));
        assert_eq!(found(&tokens, Some("b"), start), None);
        assert_eq!(found(&tokens, Some("a"), after(100)), None);
        tokens.forget(Some("a"));
        assert_eq!(found(&tokens, Some("a"), start), None);
    }

    #[test]
    fn tokens_do_not_fill_the_memory() {
        let now = Instant::now();
        let mut tokens = Tokens::default();
        for number in 0..2 * MOST {
            tokens.put(Some(&number.to_string()), &given("t", 100 + number as u64), now);
        }
        assert_eq!(tokens.0.len(), MOST);
        assert!(tokens.get(Some("0"), now).is_none());
        assert!(tokens.get(Some(&(2 * MOST - 1).to_string()), now).is_some());
        tokens.put(Some("x"), &given("t", 1), now + Duration::from_secs(9999));
        assert_eq!(tokens.0.len(), 1, "what has expired is not kept");
    }

    #[test]
    fn what_a_realm_answers_is_read_by_either_name() {
        for (body, token, seconds) in [
            (r#"{"token":"t","expires_in":300,"issued_at":"2026-11-21T09:00:00Z"}"#, "t", 270.0),
            (r#"{"access_token":"a"}"#, "a", 54.0),
            (r#"{"token":"","access_token":"a","expires_in":0}"#, "a", 0.0),
            (r#"{"token":"t","access_token":"a","expires_in":"100"}"#, "t", 90.0),
            (r#"{"token":"t","expires_in":-5}"#, "t", 54.0),
            (r#"{"token":"t","expires_in":1e300}"#, "t", 54.0),
            (r#"{"token":"t","expires_in":86400}"#, "t", 3240.0),
        ] {
            let given = Given::parse(body.as_bytes()).unwrap();
            assert_eq!(given.token.expose(), token, "{body}");
            assert!((given.good_for.as_secs_f64() - seconds).abs() < 0.01, "{body} {given:?}");
        }
        for body in ["", "{}", "[]", r#"{"token":5}"#, r#"{"token":"a\nb"}"#, r#"{"token":null}"#] {
            assert!(Given::parse(body.as_bytes()).is_none(), "{body}");
        }
    }
}
