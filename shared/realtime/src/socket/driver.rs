use std::future::pending;
use std::sync::Arc;

use model::Secret;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::channel::{Outgoing, SendError};
use super::connect::Opener;
use super::crew::Crew;
use super::down::{Trouble, chain};
use super::frame::Protocol;
use super::options::{RealtimeOptions, Timings};
use super::roster::Roster;
use super::status::{Link, Status};

/// Keeps one connection open as long as somebody wants to hear something. Its one task owns all
/// that belongs to the connection; what it says to the server is in `talk.rs`.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) opener: Arc<Opener>,
    pub(crate) crew: Crew,
    pub(crate) timings: Timings,
    pub(crate) protocol: Protocol,
    pub(crate) roster: Arc<Roster>,
    pub(crate) sends: mpsc::Receiver<Outgoing>,
    pub(crate) stop: CancellationToken,
    status: watch::Sender<Status>,
    backoff: Backoff,
    opened: u64,
    /// Why there is no connection, while there is none.
    down: Option<Arc<Trouble>>,
}

impl Driver {
    pub(crate) fn new(
        opener: Opener,
        key: &Secret,
        options: &RealtimeOptions,
        roster: Arc<Roster>,
        sends: mpsc::Receiver<Outgoing>,
        status: watch::Sender<Status>,
        stop: CancellationToken,
    ) -> Self {
        let timings = options.timings;
        Self {
            opener: Arc::new(opener),
            crew: Crew::new(key, options),
            timings,
            protocol: options.protocol,
            roster,
            sends,
            stop,
            status,
            backoff: Backoff::new(timings.backoff, timings.backoff_cap),
            opened: 0,
            down: None,
        }
    }

    pub(crate) fn server(&self) -> String {
        self.opener.server()
    }

    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.wanted()).await;
        while !stop.is_cancelled() {
            if let Some(why) = self.one_connection().await {
                self.lost(why).await;
            }
        }
        self.tell(Link::Closed);
    }

    /// Waits until somebody joins something.
    async fn wanted(&mut self) {
        self.take_asked();
        while self.crew.is_empty() {
            self.roster.bell.notified().await;
            self.take_asked();
        }
    }

    /// From opening to the end. None when it is we who end it.
    async fn one_connection(&mut self) -> Option<Trouble> {
        if self.down.is_none() {
            self.tell(Link::Connecting);
        }
        let opener = self.opener.clone();
        let opening = async move { Box::pin(opener.open()).await };
        let socket = match self.meanwhile(opening).await? {
            Ok(socket) => socket,
            Err(why) => return Some(why),
        };
        let since = Instant::now();
        self.down = None;
        self.opened += 1;
        self.tell(Link::Open);
        info!("connected to {}", self.server());
        let why = self.talk(socket).await?;
        if since.elapsed() >= self.timings.steady {
            self.backoff.recovered();
        }
        Some(why)
    }

    /// Waits before the next try.
    async fn lost(&mut self, why: Trouble) {
        let wait = self.backoff.failed();
        let why = Arc::new(why);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        warn!(error = chain(&*why), wait_ms, "no connection to {}, trying again", self.server());
        self.down = Some(why.clone());
        self.crew.lost(&why, Instant::now());
        self.tell(Link::Down { why });
        self.meanwhile(sleep(wait)).await;
        // A connection that nobody wants any more need not be opened again.
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.wanted()).await;
    }

    /// Does `work` while there is no connection. None when we are stopped.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            self.take_asked();
            self.crew.tick_tokens(Instant::now());
            let due = self.crew.tokens_due();
            tokio::select! {
                result = &mut work => return Some(result),
                () = self.stop.cancelled() => return None,
                () = self.roster.bell.notified() => {}
                answer = self.crew.token_answered() => {
                    self.crew.keep_token(answer, &self.opener.hush, Instant::now());
                }
                Some(outgoing) = self.sends.recv() => {
                    let why = SendError::NotJoined { topic: outgoing.topic };
                    // Whoever sends may have stopped waiting.
                    let _ = outgoing.done.send(Err(why));
                }
                () = at(due) => {}
            }
        }
    }

    pub(crate) fn take_asked(&mut self) {
        for asked in self.roster.asked() {
            self.crew.asked(asked, self.down.as_ref(), &self.opener.hush, Instant::now());
        }
    }

    pub(crate) fn tell_counts(&self) {
        let link = self.status.borrow().link.clone();
        self.tell(link);
    }

    fn tell(&self, link: Link) {
        let (channels, ready) = self.crew.counts();
        let reconnects = self.opened.saturating_sub(1);
        let now = Status { link, reconnects, rejoins: self.crew.rejoins(), channels, ready };
        self.status.send_if_modified(|status| {
            let changed = !status.is_the_same(&now);
            *status = now;
            changed
        });
    }
}

/// Whatever ends it, even a panic: nobody may wait for a channel that will never tell anything.
impl Drop for Driver {
    fn drop(&mut self) {
        self.roster.close();
        self.crew.close();
    }
}

pub(crate) async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
