use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{Answer, Ask, seconds, uuid};
use super::state::{State, no_handler};

pub(super) struct AppRole {
    id: String,
    settings: Value,
    /// And how often each may still be used.
    secret_ids: HashMap<String, u64>,
}

pub(super) struct ServiceAccount {
    jwt: String,
    policies: Vec<String>,
    ttl: Duration,
}

impl State {
    pub(super) fn trust(&mut self, role: &str, jwt: &str, policies: &[&str], ttl: Duration) {
        let policies = policies.iter().map(|name| (*name).to_owned()).collect();
        let account = ServiceAccount { jwt: jwt.to_owned(), policies, ttl };
        self.service_accounts.insert(role.to_owned(), account);
        self.methods.insert("kubernetes".to_owned(), "kubernetes".to_owned());
    }

    pub(super) fn login(&mut self, ask: &Ask) -> Answer {
        let mount = ask.path.trim_start_matches("auth/").trim_end_matches("/login");
        match self.methods.get(mount).map(String::as_str) {
            Some("approle") => self.login_by_app_role(mount, ask),
            Some("kubernetes") => self.login_by_service_account(ask),
            _ => no_handler(&ask.path),
        }
    }

    /// The role itself, its id, and its secret ids: `approle/role/ci/secret-id`.
    pub(super) fn app_role(&mut self, path: &str, ask: &Ask) -> Answer {
        let Some((mount, rest)) = path.split_once("/role/") else { return no_handler(&ask.path) };
        let (name, part) = rest.split_once('/').unwrap_or((rest, ""));
        let key = format!("{mount}/{name}");
        if part.is_empty() {
            let settings = ask.body.clone();
            let role = AppRole { id: uuid(), settings, secret_ids: HashMap::new() };
            self.app_roles.insert(key, role);
            return Answer::done();
        }
        let Some(role) = self.app_roles.get_mut(&key) else { return Answer::nothing() };
        match part {
            "role-id" => Answer::data(json!({ "role_id": role.id })),
            "secret-id" => {
                let secret_id = uuid();
                let uses = role.settings["secret_id_num_uses"].as_u64().filter(|uses| *uses > 0);
                role.secret_ids.insert(secret_id.clone(), uses.unwrap_or(u64::MAX));
                let accessor = uuid();
                Answer::data(json!({ "secret_id": secret_id, "secret_id_accessor": accessor }))
            }
            "secret-id/destroy" => {
                role.secret_ids.remove(ask.text("secret_id"));
                Answer::done()
            }
            _ => no_handler(&ask.path),
        }
    }

    fn login_by_app_role(&mut self, mount: &str, ask: &Ask) -> Answer {
        let roles = self
            .app_roles
            .iter_mut()
            .filter(|(key, _)| key.rsplit_once('/').is_some_and(|(of, _)| of == mount));
        let role = roles.map(|(_, role)| role).find(|role| role.id == ask.text("role_id"));
        let Some(role) = role else { return Answer::error(400, "invalid role ID") };
        let uses = role.secret_ids.get_mut(ask.text("secret_id")).filter(|uses| **uses > 0);
        let Some(uses) = uses else { return Answer::error(400, "invalid secret id") };
        *uses -= 1;
        let settings = &role.settings;
        let policies = settings["token_policies"].as_array().cloned().unwrap_or_default();
        let policies: Vec<String> =
            policies.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
        let time = |name: &str| Duration::from_secs(seconds(&settings[name]));
        let (ttl, max_ttl) = (time("token_ttl"), time("token_max_ttl"));
        self.give(&policies, ttl, max_ttl, true)
    }

    fn login_by_service_account(&mut self, ask: &Ask) -> Answer {
        let account = self.service_accounts.get(ask.text("role"));
        match account.filter(|account| account.jwt == ask.text("jwt")) {
            Some(account) => {
                let (policies, ttl) = (account.policies.clone(), account.ttl);
                self.give(&policies, ttl, Duration::ZERO, true)
            }
            None if self.stranger == 403 => Answer::error(403, "permission denied"),
            None => Answer::error(self.stranger, "service account name not authorized"),
        }
    }
}
