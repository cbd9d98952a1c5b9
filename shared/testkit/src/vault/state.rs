use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::answer::{Answer, Ask};
use super::kv::Store;
use super::logins::{AppRole, ServiceAccount};
use super::policies::Policy;
use super::tokens::{Token, Wrapped};

/// All that a Vault knows. Each file beside this one answers for a part of it.
pub(super) struct State {
    started: Instant,
    ahead: Duration,
    pub(super) sealed: bool,
    pub(super) namespace: Option<String>,
    pub(super) stranger: u16,
    pub(super) stores: BTreeMap<String, Store>,
    pub(super) policies: HashMap<String, Policy>,
    pub(super) tokens: HashMap<String, Token>,
    pub(super) wrapped: HashMap<String, Wrapped>,
    pub(super) app_roles: HashMap<String, AppRole>,
    pub(super) service_accounts: HashMap<String, ServiceAccount>,
    /// Mounts of login methods, and what kind each is.
    pub(super) methods: HashMap<String, String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            ahead: Duration::ZERO,
            sealed: false,
            namespace: None,
            stranger: 403,
            stores: BTreeMap::new(),
            policies: HashMap::new(),
            tokens: HashMap::from([(super::Vault::ROOT.to_owned(), Token::root())]),
            wrapped: HashMap::new(),
            app_roles: HashMap::new(),
            service_accounts: HashMap::new(),
            methods: HashMap::new(),
        }
    }
}

impl State {
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed() + self.ahead
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.ahead += by;
    }

    pub(super) fn answer(&mut self, ask: &Ask) -> Answer {
        if self.sealed {
            return Answer::error(503, "Vault is sealed");
        }
        if self.namespace != ask.namespace {
            return no_handler(&ask.path);
        }
        let answer = match ask.path.as_str() {
            "sys/wrapping/lookup" => self.lookup_wrapped(ask),
            "sys/wrapping/unwrap" => self.unwrap(ask),
            path if path.starts_with("auth/") && path.ends_with("/login") => self.login(ask),
            _ => match self.refuse(ask) {
                Some(refusal) => refusal,
                None => self.obey(ask),
            },
        };
        match &ask.wrap_ttl {
            Some(_) if answer.status == 200 => self.wrap(ask, answer),
            _ => answer,
        }
    }

    fn obey(&mut self, ask: &Ask) -> Answer {
        if let Some(name) = ask.path.strip_prefix("sys/mounts/") {
            let store = Store::new(ask.body["options"]["version"] == "2");
            self.stores.insert(name.to_owned(), store);
            return Answer::done();
        }
        if let Some(name) = ask.path.strip_prefix("sys/auth/") {
            self.methods.insert(name.to_owned(), ask.text("type").to_owned());
            return Answer::done();
        }
        if let Some(name) = ask.path.strip_prefix("sys/policies/acl/") {
            self.policies.insert(name.to_owned(), Policy::parse(ask.text("policy")));
            return Answer::done();
        }
        if let Some(verb) = ask.path.strip_prefix("auth/token/") {
            return self.token(verb, ask);
        }
        if let Some(path) = ask.path.strip_prefix("auth/") {
            return self.app_role(path, ask);
        }
        let store = self.stores.iter_mut().find_map(|(mount, store)| {
            let rest = ask.path.strip_prefix(mount.as_str())?.strip_prefix('/')?.to_owned();
            Some((store, rest))
        });
        match store {
            Some((store, rest)) => store.answer(&rest, ask),
            None => no_handler(&ask.path),
        }
    }
}

pub(super) fn no_handler(path: &str) -> Answer {
    Answer::error(404, &format!("no handler for route '{path}'"))
}
