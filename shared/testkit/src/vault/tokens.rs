use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{Answer, Ask, uuid};
use super::state::State;

pub(super) struct Token {
    pub(super) policies: Vec<String>,
    issued: Duration,
    renewed: Duration,
    ttl: Option<Duration>,
    max_ttl: Option<Duration>,
    renewable: bool,
}

/// An answer in its wrapping.
pub(super) struct Wrapped {
    answer: Value,
    created_at: String,
}

impl Token {
    pub(super) fn root() -> Self {
        Self {
            policies: vec!["root".to_owned()],
            issued: Duration::ZERO,
            renewed: Duration::ZERO,
            ttl: None,
            max_ttl: None,
            renewable: false,
        }
    }

    fn ends(&self) -> Option<Duration> {
        let by_ttl = self.renewed + self.ttl?;
        Some(self.max_ttl.map_or(by_ttl, |max| by_ttl.min(self.issued + max)))
    }

    /// As far as it may be told at `now`.
    fn left(&self, now: Duration) -> Option<Duration> {
        self.ends().map(|ends| ends.saturating_sub(now))
    }
}

impl State {
    pub(super) fn living(&self, token: &str) -> Option<&Token> {
        let found = self.tokens.get(token)?;
        found.ends().is_none_or(|ends| self.now() < ends).then_some(found)
    }

    /// A new token, told as a login tells it.
    pub(super) fn give(
        &mut self,
        policies: &[String],
        ttl: Duration,
        max_ttl: Duration,
        renewable: bool,
    ) -> Answer {
        let now = self.now();
        let some = |time: Duration| (!time.is_zero()).then_some(time);
        let name = format!("s.{}", uuid().replace('-', ""));
        let token = Token {
            policies: [&["default".to_owned()], policies].concat(),
            issued: now,
            renewed: now,
            ttl: some(ttl),
            max_ttl: some(max_ttl),
            renewable,
        };
        let answer = Answer::auth(auth(&name, &token, now));
        self.tokens.insert(name, token);
        answer
    }

    pub(super) fn token(&mut self, verb: &str, ask: &Ask) -> Answer {
        let own = ask.token.clone().unwrap_or_default();
        let now = self.now();
        match verb {
            "create" => {
                let policies = ask.body["policies"].as_array().cloned().unwrap_or_default();
                let policies: Vec<String> =
                    policies.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
                let time = |name| Duration::from_secs(ask.seconds(name));
                let renewable = ask.body["renewable"].as_bool().unwrap_or(true);
                self.give(&policies, time("ttl"), time("explicit_max_ttl"), renewable)
            }
            "revoke" => {
                self.tokens.remove(ask.text("token"));
                Answer::done()
            }
            "lookup-self" => {
                let token = &self.tokens[&own];
                Answer::data(lookup(&own, token, now))
            }
            "renew-self" => {
                let token = self.tokens.get_mut(&own).expect("it has just been checked");
                if !token.renewable {
                    return Answer::error(400, "lease is not renewable");
                }
                token.renewed = now;
                Answer::auth(auth(&own, &self.tokens[&own], now))
            }
            _ => Answer::error(404, "unsupported path"),
        }
    }

    pub(super) fn wrap(&mut self, ask: &Ask, answer: Answer) -> Answer {
        let token = format!("s.{}", uuid().replace('-', ""));
        let info = json!({
            "token": token,
            "accessor": uuid(),
            "ttl": 60,
            "creation_time": "2026-11-20T10:00:00.000000000Z",
            "creation_path": ask.path,
        });
        self.wrapped.insert(token, Wrapped { answer: answer.body, created_at: ask.path.clone() });
        Answer::of(200, "wrap_info", info)
    }

    pub(super) fn lookup_wrapped(&self, ask: &Ask) -> Answer {
        let Some(wrapped) = self.wrapped.get(ask.text("token")) else { return used_up() };
        Answer::data(json!({
            "creation_path": wrapped.created_at,
            "creation_time": "2026-11-20T10:00:00.000000000Z",
            "creation_ttl": 60,
        }))
    }

    pub(super) fn unwrap(&mut self, ask: &Ask) -> Answer {
        let own = ask.token.as_deref().unwrap_or_default();
        let named = Some(ask.text("token")).filter(|token| !token.is_empty()).unwrap_or(own);
        match self.wrapped.remove(named) {
            Some(wrapped) => Answer { status: 200, body: wrapped.answer },
            None => used_up(),
        }
    }
}

fn used_up() -> Answer {
    Answer::error(400, "wrapping token is not valid or does not exist")
}

fn auth(name: &str, token: &Token, now: Duration) -> Value {
    json!({
        "client_token": name,
        "accessor": uuid(),
        "policies": token.policies,
        "token_policies": token.policies,
        "metadata": null,
        "lease_duration": token.left(now).unwrap_or_default().as_secs_f64().round() as u64,
        "renewable": token.renewable,
        "entity_id": "",
        "token_type": "service",
        "orphan": true,
    })
}

fn lookup(name: &str, token: &Token, now: Duration) -> Value {
    json!({
        "accessor": uuid(),
        "creation_time": 1_795_000_000,
        "creation_ttl": token.ttl.unwrap_or_default().as_secs(),
        "display_name": "token",
        "entity_id": "",
        "expire_time": token.ttl.map(|_| "2026-11-20T12:00:00.000000000Z"),
        "explicit_max_ttl": token.max_ttl.unwrap_or_default().as_secs(),
        "id": name,
        "issue_time": "2026-11-20T10:00:00.000000000Z",
        "meta": null,
        "num_uses": 0,
        "orphan": true,
        "path": "auth/token/create",
        "policies": token.policies,
        "renewable": token.renewable,
        "ttl": token.left(now).unwrap_or_default().as_secs_f64().round() as u64,
        "type": "service",
    })
}
