use std::sync::Arc;
use std::time::Duration;

use model::Secret;
use rand::RngExt;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use tracing::{info, warn};
use vaultrs::token;

use super::login::{Given, Held, Login, given};
use super::wire::{Failure, Wire};
use crate::backoff::Backoff;
use crate::{Clock, Trouble};

/// The one login that all readers share, kept alive by renewing it at two thirds of its time.
pub(super) struct Session {
    login: Login,
    clock: Clock,
    state: Mutex<State>,
    /// There is a new token, whose time to be renewed nobody waits for yet.
    begun: Notify,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    failing: Option<Backoff>,
    held: Option<Held>,
    logins: u64,
}

pub(super) struct Token {
    pub(super) value: Secret,
    /// Which login it came from.
    pub(super) login: u64,
    first_ttl: Option<Duration>,
    renewable: bool,
    due: Option<Instant>,
    ends: Option<Instant>,
}

impl Session {
    pub(super) fn new(login: Login, clock: Clock) -> Self {
        Self { login, clock, state: Mutex::default(), begun: Notify::new() }
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        self.login.shown()
    }

    /// A token that lives: not the one of login `refused`, which Vault has just refused.
    pub(super) async fn token(
        &self,
        wire: &Wire,
        refused: Option<u64>,
    ) -> Result<Arc<Token>, Trouble> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let living = state.token.clone();
        match living.filter(|token| Some(token.login) != refused && token.lives(now)) {
            Some(token) if token.due.is_none_or(|due| now < due) => Ok(token),
            Some(token) => self.renew(wire, &mut state, token).await,
            None => {
                state.token = None;
                self.begin(wire, &mut state).await
            }
        }
    }

    /// When the token is to be renewed, if there is one that is ever to be.
    pub(super) async fn due(&self) -> Option<Instant> {
        self.state.lock().await.token.as_ref()?.due
    }

    pub(super) async fn begun(&self) {
        self.begun.notified().await;
    }

    async fn begin(&self, wire: &Wire, state: &mut State) -> Result<Arc<Token>, Trouble> {
        let now = self.clock.now();
        if let Some((last, _)) = state.failing.as_ref().and_then(|failing| failing.holds(now)) {
            return Err(last.clone());
        }
        match self.login.login(wire, &mut state.held).await {
            Ok(given) => {
                state.logins += 1;
                let first_ttl = given.ttl;
                let token = Arc::new(Token::new(given, state.logins, first_ttl, self.clock.now()));
                state.token = Some(token.clone());
                state.failing = None;
                info!("logged in to Vault by {}", self.login.shown());
                self.begun.notify_one();
                Ok(token)
            }
            Err(trouble) => {
                let failing = Backoff::after(state.failing.as_ref(), trouble.clone(), now);
                state.failing = Some(failing);
                Err(trouble)
            }
        }
    }

    async fn renew(
        &self,
        wire: &Wire,
        state: &mut State,
        token: Arc<Token>,
    ) -> Result<Arc<Token>, Trouble> {
        if token.renewable {
            let client = wire.client(Some(&token.value));
            match wire.ask(token::renew_self(&client, None)).await.map(given) {
                Ok(Some(given)) if !token.nears_its_end(given.ttl) => {
                    let renewed = Token::new(given, token.login, token.first_ttl, self.clock.now());
                    let renewed = Arc::new(renewed);
                    state.token = Some(renewed.clone());
                    state.failing = None;
                    return Ok(renewed);
                }
                Err(failure) if failure.passes() => {
                    return Ok(self.put_off(state, &token, failure));
                }
                // It can be renewed no further, or not at all any more.
                Ok(_) | Err(_) => {}
            }
        }
        match self.begin(wire, state).await {
            Err(trouble) if token.lives(self.clock.now()) => {
                Ok(self.put_off(state, &token, Failure::Silent(trouble)))
            }
            outcome => outcome,
        }
    }

    /// The token goes on being used while it lives.
    fn put_off(&self, state: &mut State, token: &Arc<Token>, failure: Failure) -> Arc<Token> {
        let now = self.clock.now();
        let trouble = failure.trouble();
        warn!(error = %trouble, "could not renew our login to Vault; using it until it ends");
        let failing = Backoff::after(state.failing.as_ref(), trouble, now);
        let kept = Token { value: token.value.clone(), due: Some(failing.until()), ..**token };
        let kept = Arc::new(kept);
        state.failing = Some(failing);
        state.token = Some(kept.clone());
        kept
    }
}

impl Token {
    fn new(given: Given, login: u64, first_ttl: Option<Duration>, now: Instant) -> Self {
        // Earlier for some than for others: many processes log in at the same moment.
        let part = rand::rng().random_range(0.6..=0.7);
        Self {
            value: given.token,
            login,
            first_ttl,
            renewable: given.renewable,
            due: given.ttl.map(|ttl| now + ttl.mul_f64(part)),
            ends: given.ttl.map(|ttl| now + ttl),
        }
    }

    fn lives(&self, now: Instant) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }

    /// Renewing gives less and less time as the longest that it may live comes near.
    fn nears_its_end(&self, ttl: Option<Duration>) -> bool {
        let (Some(ttl), Some(first)) = (ttl, self.first_ttl) else { return false };
        ttl < first / 2
    }
}
