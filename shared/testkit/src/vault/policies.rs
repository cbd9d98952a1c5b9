use axum::http::Method;
use serde_json::Value;

use super::answer::{Answer, Ask};
use super::state::State;

/// What may be done at which paths, from the JSON form that Vault takes beside its own language.
pub(super) struct Policy(Vec<(String, Vec<String>)>);

impl Policy {
    pub(super) fn parse(text: &str) -> Self {
        let parsed: Value = serde_json::from_str(text).expect("a policy in JSON");
        let rules = parsed["path"].as_object().expect("rules by path").iter();
        let words = |rule: &Value| -> Vec<String> {
            let list = rule["capabilities"].as_array().expect("capabilities");
            list.iter().filter_map(|word| Some(word.as_str()?.to_owned())).collect()
        };
        Self(rules.map(|(path, rule)| (path.clone(), words(rule))).collect())
    }

    fn allows(&self, path: &str, capability: &str) -> bool {
        self.0.iter().any(|(rule, capabilities)| {
            let fits = match rule.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => path == rule,
            };
            fits && capabilities.iter().any(|word| word == capability)
        })
    }
}

/// What every token may do unless it was made without the default policy.
const DEFAULT: [&str; 3] =
    ["auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self"];

impl State {
    /// Why this may not be done, if it may not.
    pub(super) fn refuse(&self, ask: &Ask) -> Option<Answer> {
        let Some(token) = ask.token.as_deref().filter(|token| !token.is_empty()) else {
            return Some(Answer::error(400, "missing client token"));
        };
        let Some(token) = self.living(token) else {
            return Some(Answer::error(403, "permission denied"));
        };
        let capability = match ask.method {
            Method::GET => "read",
            Method::DELETE => "delete",
            _ => "update",
        };
        let allowed = token.policies.iter().any(|name| match name.as_str() {
            "root" => true,
            "default" => DEFAULT.contains(&ask.path.as_str()),
            name => {
                let policy = self.policies.get(name);
                policy.is_some_and(|policy| policy.allows(&ask.path, capability))
            }
        });
        (!allowed).then(|| Answer::error(403, "1 error occurred:\n\t* permission denied\n\n"))
    }
}
