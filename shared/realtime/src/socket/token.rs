use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use model::Secret;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::options::Timings;

/// Who we are on a channel, as far as its policies are concerned.
#[derive(Clone, Default)]
pub enum TokenSource {
    /// The key that opens the connection.
    #[default]
    Key,
    /// A token that never expires.
    Fixed(Secret),
    /// Asked whenever a new token is needed; see [`TokenSource::fetched`].
    Fetched(Fetch),
}

type Fetching = Pin<Box<dyn Future<Output = Result<AccessToken, FetchError>> + Send>>;
type Fetch = Arc<dyn Fn() -> Fetching + Send + Sync>;
type FetchError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Debug)]
pub struct AccessToken {
    pub token: Secret,
    pub expires: SystemTime,
}

/// Why there is no token to join with. It is asked for again.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TokenError {
    #[error("could not get an access token")]
    #[diagnostic(help("see the cause; channels stay down until there is a token"))]
    Failed(#[source] FetchError),
    #[error("no access token came within {0:?}")]
    #[diagnostic(help("check whoever issues the tokens"))]
    Slow(Duration),
    #[error("the access token we got has already expired")]
    #[diagnostic(help("check the clocks of this machine and of whoever issued the token"))]
    Expired,
    #[error("getting an access token panicked")]
    #[diagnostic(help("this is a bug; see the log"))]
    Panicked,
}

impl TokenSource {
    /// A token is asked for before the first join, and again at 75 % of its life.
    pub fn fetched<F, E>(fetch: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<AccessToken, E>> + Send + 'static,
        E: Into<FetchError>,
    {
        Self::Fetched(Arc::new(move || {
            let fetching = fetch();
            Box::pin(async { fetching.await.map_err(Into::into) })
        }))
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Key => "Key",
            Self::Fixed(_) => "Fixed(..)",
            Self::Fetched(_) => "Fetched(..)",
        })
    }
}

/// The token we have, and when to ask for the next.
#[derive(Debug)]
pub(crate) struct Tokens {
    state: State,
    fetching: JoinSet<Result<AccessToken, TokenError>>,
    fetched: TokenNumber,
    backoff: Backoff,
    limit: Duration,
}

#[derive(Debug)]
enum State {
    Fixed(Secret),
    Fetched {
        fetch: Hidden,
        current: Option<Current>,
        /// When to ask for the next; none while nobody needs one.
        due: Option<Instant>,
        why_not: Option<Arc<TokenError>>,
    },
}

#[derive(Debug)]
struct Current {
    token: Secret,
    expires: Instant,
    number: TokenNumber,
}

/// Tells one token from the next without looking at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenNumber(u64);

struct Hidden(Fetch);

impl fmt::Debug for Hidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Fetch(..)")
    }
}

impl Tokens {
    pub(crate) fn new(source: &TokenSource, key: &Secret, timings: &Timings) -> Self {
        let state = match source {
            TokenSource::Key => State::Fixed(key.clone()),
            TokenSource::Fixed(token) => State::Fixed(token.clone()),
            TokenSource::Fetched(fetch) => State::Fetched {
                fetch: Hidden(fetch.clone()),
                current: None,
                due: Some(Instant::now()),
                why_not: None,
            },
        };
        Self {
            state,
            fetching: JoinSet::new(),
            fetched: TokenNumber::default(),
            backoff: Backoff::new(timings.backoff, timings.backoff_cap),
            limit: timings.token,
        }
    }

    /// The token to join with, or why there is none (yet, if there is no reason either).
    pub(crate) fn current(
        &self,
        now: Instant,
    ) -> Result<(&Secret, TokenNumber), Option<Arc<TokenError>>> {
        match &self.state {
            State::Fixed(token) => Ok((token, TokenNumber::default())),
            State::Fetched { current: Some(Current { token, expires, number }), .. }
                if *expires > now =>
            {
                Ok((token, *number))
            }
            State::Fetched { why_not, .. } => Err(why_not.clone()),
        }
    }

    /// The server does not like this one: the next join needs another. All channels say so when a
    /// token expires, and the first of them is enough.
    pub(crate) fn suspect(&mut self, used: TokenNumber, now: Instant) {
        if let State::Fetched { current, due, .. } = &mut self.state
            && current.as_ref().is_some_and(|current| current.number == used)
        {
            *current = None;
            *due = Some(now);
        }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Fetched { due, .. } if self.fetching.is_empty() => *due,
            State::Fixed(_) | State::Fetched { .. } => None,
        }
    }

    /// Asks for a token if it is time to.
    pub(crate) fn tick(&mut self, now: Instant) {
        let limit = self.limit;
        if let State::Fetched { fetch, due, .. } = &mut self.state
            && self.fetching.is_empty()
            && due.is_some_and(|due| due <= now)
        {
            *due = None;
            let fetch = fetch.0.clone();
            self.fetching.spawn(async move {
                match timeout(limit, fetch()).await {
                    Ok(Ok(token)) => Ok(token),
                    Ok(Err(error)) => Err(TokenError::Failed(error)),
                    Err(_) => Err(TokenError::Slow(limit)),
                }
            });
        }
    }

    /// Waits until an answer came; for ever while nothing was asked. Nothing is lost when the
    /// caller stops waiting.
    pub(crate) async fn answered(&mut self) -> Answer {
        match self.fetching.join_next().await {
            Some(answer) => Answer(answer),
            None => std::future::pending().await,
        }
    }

    /// Keeps what came. The new token, or why there is none.
    pub(crate) fn keep(
        &mut self,
        answer: Answer,
        now: Instant,
    ) -> Result<(Secret, TokenNumber), Arc<TokenError>> {
        let State::Fetched { current, due, why_not, .. } = &mut self.state else {
            unreachable!("a fixed token is never fetched");
        };
        let fetched = answer.0.unwrap_or(Err(TokenError::Panicked)).and_then(|token| {
            match token.expires.duration_since(SystemTime::now()) {
                Ok(left) if !left.is_zero() => Ok((token.token, left)),
                _ => Err(TokenError::Expired),
            }
        });
        match fetched {
            Ok((token, left)) => {
                self.backoff.recovered();
                // A token of a moment's life must not turn refreshing into a spin.
                *due = Some(now + (left * 3 / 4).max(Duration::from_millis(100)));
                self.fetched.0 += 1;
                let number = self.fetched;
                *current = Some(Current { token: token.clone(), expires: now + left, number });
                *why_not = None;
                Ok((token, number))
            }
            Err(error) => {
                let error = Arc::new(error);
                *due = Some(now + self.backoff.failed());
                *why_not = Some(error.clone());
                Err(error)
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Answer(Result<Result<AccessToken, TokenError>, JoinError>);

/// Whether a token may be sent: the new kind of key opens connections and is no token.
pub(crate) fn sendable(token: &Secret) -> Option<&Secret> {
    (!token.expose().starts_with("sb_")).then_some(token)
}
