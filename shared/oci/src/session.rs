use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{Repo, Secret};
use reqwest::Method;
use reqwest::header::{ACCEPT, LOCATION, WWW_AUTHENTICATE};
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::debug;
use url::Url;

use crate::account::{Account, is_loopback};
use crate::challenge::{Bearer, Challenge, challenges};
use crate::credential::Credential;
use crate::ecr;
use crate::realm::realm;
use crate::tokens::{Given, Tokens};
use crate::wire::{Answer, Ask, Wire};
use crate::{Login, OciError};

/// One account's conversation with its registry: proves who we are when that is asked for, and
/// remembers what proved it.
pub(crate) struct Session {
    pub(crate) account: Account,
    credential: Option<Credential>,
    wire: Wire,
    token_hosts: Vec<String>,
    ecr_endpoint: Option<Url>,
    tokens: Mutex<Tokens>,
    /// The registry takes our password itself: it is sent at once, and not only when asked for.
    takes_password: AtomicBool,
    /// What ECR gave us. Locked while it is asked for, so that all who wait share one answer.
    lent: tokio::sync::Mutex<Option<Lent>>,
}

struct Lent {
    login: Login,
    until: OffsetDateTime,
}

/// What is asked of a registry.
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    /// Below `/v2/`.
    pub(crate) path: &'a str,
    pub(crate) accept: &'static str,
    pub(crate) repo: Option<&'a Repo>,
    pub(crate) largest: usize,
}

const LARGEST_TOKEN: usize = 64 << 10;
/// Registries send whoever wants a blob to where it lies; none sends him on more often.
const MOST_HOPS: usize = 5;

impl Session {
    pub(crate) fn new(
        account: Account,
        credential: Option<Credential>,
        wire: Wire,
        token_hosts: Vec<String>,
        ecr_endpoint: Option<Url>,
    ) -> Self {
        Self {
            account,
            credential,
            wire,
            token_hosts,
            ecr_endpoint,
            tokens: Mutex::default(),
            takes_password: AtomicBool::new(false),
            lent: tokio::sync::Mutex::default(),
        }
    }

    /// The registry's answer, unless it is that we may not.
    pub(crate) async fn ask(&self, question: &Question<'_>) -> Result<Answer, OciError> {
        let path = question.repo.map(Repo::path);
        let shown = self.known(path).await?;
        let (answer, ours) = self.follow(question, shown.as_ref()).await?;
        if answer.status.as_u16() != 401 {
            return Ok(answer);
        }
        if !ours {
            return Err(self.elsewhere("to a place that asks for a login of its own"));
        }
        self.tokens().forget(path);
        let proof = self.prove(&answer, path, shown.is_some()).await?;
        let (header, by_token) = match &proof {
            Proof::Password(header) => (header, false),
            Proof::Token(header) => (header, true),
        };
        let (answer, ours) = self.follow(question, Some(header)).await?;
        let refused = answer.status.as_u16() == 401;
        if refused && !ours {
            return Err(self.elsewhere("to a place that asks for a login of its own"));
        }
        if refused {
            self.tokens().forget(path);
            let place =
                question.repo.map_or_else(|| self.account.host().to_owned(), Repo::to_string);
            return Err(match &self.credential {
                None => OciError::LoginNeeded { registry: self.host() },
                // Who gives out the tokens knew us, so it is not the login.
                Some(_) if by_token => OciError::Denied { place },
                Some(_) => OciError::LoginRefused { registry: self.host() },
            });
        }
        self.takes_password.store(!by_token, Ordering::Relaxed);
        Ok(answer)
    }

    /// What pulling takes. None needs nothing.
    pub(crate) async fn login(&self, anew: bool) -> Result<Option<Login>, OciError> {
        let keys = match &self.credential {
            None => return Ok(None),
            Some(Credential::Password { user, password }) => {
                let (user, password) = (user.clone(), password.clone());
                return Ok(Some(Login { user, password, expires_at: None }));
            }
            Some(Credential::Aws(keys)) => keys,
        };
        let ecr = self.account.ecr().expect("only accounts of ECR have keys");
        let mut lent = self.lent.lock().await;
        if let Some(lent) = lent.as_ref().filter(|lent| lent.until > OffsetDateTime::now_utc())
            && !anew
        {
            return Ok(Some(lent.login.clone()));
        }
        let api = self.ecr_endpoint.clone().unwrap_or_else(|| ecr.api());
        let login = ecr::login(&self.wire, api, ecr.region, keys).await?;
        let now = OffsetDateTime::now_utc();
        // The earliest moment at which anybody would ask for the next one.
        let until = login.refresh_at(now, 0.0).unwrap_or(now);
        debug!(registry = self.account.host(), "ECR gave us a login");
        *lent = Some(Lent { login: login.clone(), until });
        Ok(Some(login))
    }

    pub(crate) fn host(&self) -> String {
        self.account.host().to_owned()
    }

    /// What was taken the last time, so that most questions are asked once.
    async fn known(&self, path: Option<&str>) -> Result<Option<Secret>, OciError> {
        let held = self.tokens().get(path, Instant::now());
        if let Some(token) = held {
            return Ok(Some(bearer(&token)));
        }
        if self.takes_password.load(Ordering::Relaxed) {
            return Ok(self.login(false).await?.map(|login| login.basic()));
        }
        Ok(None)
    }

    /// Answers a refusal by what it asks for.
    async fn prove(
        &self,
        answer: &Answer,
        path: Option<&str>,
        refused_before: bool,
    ) -> Result<Proof, OciError> {
        let headers = answer.headers.get_all(WWW_AUTHENTICATE);
        let asked = challenges(headers.iter().filter_map(|value| value.to_str().ok()));
        if asked.is_empty() {
            let why = "it asks for a login and does not say how";
            return Err(OciError::Unreadable { registry: self.host(), why });
        }
        let login = self.login(refused_before).await?;
        let mut untrusted = None;
        for challenge in asked {
            match (challenge, &login) {
                (Challenge::Bearer(asked), login) => {
                    match realm(&self.account, &self.token_hosts, &asked.realm) {
                        Ok(url) => {
                            return self.token(url, &asked, path, login.as_ref()).await;
                        }
                        Err(why) => untrusted = Some(why),
                    }
                }
                (Challenge::Basic, Some(login)) => return Ok(Proof::Password(login.basic())),
                (Challenge::Basic, None) => {}
            }
        }
        Err(match untrusted {
            Some(why) => OciError::UntrustedRealm { registry: self.host(), why },
            None => OciError::LoginNeeded { registry: self.host() },
        })
    }

    async fn token(
        &self,
        mut url: Url,
        asked: &Bearer,
        path: Option<&str>,
        login: Option<&Login>,
    ) -> Result<Proof, OciError> {
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &asked.service {
                query.append_pair("service", service);
            }
            if let Some(scope) = asked.scope_for(path) {
                query.append_pair("scope", &scope);
            }
        }
        let basic = login.map(Login::basic);
        let ask = Ask {
            method: Method::GET,
            url,
            headers: &[(ACCEPT, "application/json")],
            authorization: basic.as_ref(),
            body: "",
            largest: LARGEST_TOKEN,
        };
        let registry = self.host();
        let answer = self.wire.ask(&registry, ask).await?;
        match answer.status.as_u16() {
            200..=299 => {}
            401 | 403 if login.is_none() => return Err(OciError::LoginNeeded { registry }),
            401 | 403 => return Err(OciError::LoginRefused { registry }),
            300..=399 => return Err(self.elsewhere("a login is not sent on")),
            _ => return Err(self.failed(&answer)),
        }
        let why = "it gave no token where it said that there is one";
        let given = Given::parse(&answer.body).ok_or(OciError::Unreadable { registry, why })?;
        self.tokens().put(path, &given, Instant::now());
        debug!(registry = self.account.host(), repo.path = path, "the registry gave us a token");
        Ok(Proof::Token(bearer(&given.token)))
    }

    /// The answer at the end of all redirects, and whether it is the registry's own. Only that is
    /// ever shown who we are.
    async fn follow(
        &self,
        question: &Question<'_>,
        authorization: Option<&Secret>,
    ) -> Result<(Answer, bool), OciError> {
        let base = self.account.base();
        let mut url = base.join(&format!("v2/{}", question.path)).expect("a path of ours");
        for _ in 0..=MOST_HOPS {
            let ours = url.origin() == base.origin();
            let ask = Ask {
                method: question.method.clone(),
                url: url.clone(),
                headers: &[(ACCEPT, question.accept)],
                authorization: authorization.filter(|_| ours),
                body: "",
                largest: question.largest,
            };
            let answer = self.wire.ask(self.account.host(), ask).await?;
            if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((answer, ours));
            }
            let next = answer.header(&LOCATION).and_then(|next| url.join(next).ok());
            url = next.ok_or_else(|| self.elsewhere("to no place"))?;
            if !url.username().is_empty() || url.password().is_some() {
                return Err(self.elsewhere("with a login in the address"));
            }
            let plain = base.scheme() == "http" && (!is_loopback(base) || is_loopback(&url));
            if url.scheme() != "https" && !(url.scheme() == "http" && plain) {
                return Err(self.elsewhere("away from HTTPS"));
            }
        }
        Err(self.elsewhere("again and again"))
    }

    fn elsewhere(&self, why: &'static str) -> OciError {
        OciError::Elsewhere { registry: self.host(), why }
    }

    /// What an answer means that is neither good nor about who we are.
    pub(crate) fn failed(&self, answer: &Answer) -> OciError {
        let (registry, after) = (self.host(), answer.retry_after());
        match answer.status.as_u16() {
            429 => OciError::TooOften { registry, after },
            status @ (408 | 425 | 500..) => OciError::Broken { registry, status, after },
            status => OciError::Refused { registry, status },
        }
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Headers that should do.
enum Proof {
    Password(Secret),
    Token(Secret),
}

fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.expose()))
}
