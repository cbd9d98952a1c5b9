use std::fmt::Write;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_postgres::{AsyncMessage, Connection, Socket};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::bell::{Bell, Heard, Rang};
use crate::open::{set_up, spawn};
use crate::pool::{rules, setup};
use crate::statement::{Rules, Unfinished, Wire, statements};
use crate::tls::connector;
use crate::{DbError, DbSettings, SessionMode, TimedOut, Trouble, within};

/// An idle connection is asked this often whether it still lives, and may take this long to say so:
/// one that died without a word is found in 15 s at most.
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// One connection of its own: it listens, and may do work that a crash of the server may forget.
///
/// Dropping it closes it. It does not reconnect: whoever listens has to look at the tables again
/// after a gap, so reconnecting belongs to them.
#[derive(Debug)]
pub struct Session {
    client: Arc<ClientWrapper>,
    heard: Arc<Bell>,
    /// Cancelled once the connection ended; cancelling it ends the connection.
    closed: CancellationToken,
    rules: Rules,
    unfinished: Arc<Unfinished>,
    server: String,
    /// The probe; ends with the session.
    _watch: JoinSet<()>,
}

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    Durable,
    /// A crash of the server may undo the last fraction of a second. Never for publishing and
    /// settling.
    Forgettable,
}

impl Session {
    /// Connects and listens on `channels`. Fails with [`DbError::NeedsSession`] behind a pooler in
    /// transaction mode.
    pub async fn open(
        settings: &DbSettings,
        channels: &[String],
        commit: Commit,
    ) -> Result<Self, DbError> {
        let address = settings.address()?;
        if let SessionMode::Transaction = address.mode {
            return Err(DbError::NeedsSession);
        }
        let tls = connector(&address.trust, address.direct_tls())?;
        let mut setup = setup(settings, address.mode);
        if let Commit::Forgettable = commit {
            setup.push_str("; set synchronous_commit = off");
        }
        for channel in channels {
            let _ = write!(setup, "; listen {}", identifier(channel));
        }

        let heard = Arc::new(Bell::default());
        let closed = CancellationToken::new();
        let opening = async {
            let (client, connection) = address.config.connect(tls).await?;
            let task = spawn(drain(connection, heard.clone(), closed.clone()));
            let wrapper = ClientWrapper::new(client, task);
            set_up(&wrapper, &setup).await?;
            Ok(wrapper)
        };
        let server = address.shown;
        let client = match within("db.session", settings.db_connect_timeout, opening).await {
            Ok(Ok(client)) => Arc::new(client),
            Ok(Err(error)) => return Err(DbError::connecting(&server, &error)),
            Err(late) => {
                return Err(DbError::Unreachable { server, source: Trouble::TimedOut(late) });
            }
        };

        let unfinished = Arc::new(Unfinished::default());
        let mut watch = JoinSet::new();
        watch.spawn(keep_probing(client.clone(), unfinished.clone(), closed.clone()));
        let rules = rules(settings, address.mode);
        Ok(Self { client, heard, closed, rules, unfinished, server, _watch: watch })
    }

    statements!();

    pub async fn listen(&self, channel: &str) -> Result<(), DbError> {
        self.batch("listen", &format!("listen {}", identifier(channel))).await
    }

    pub async fn unlisten(&self, channel: &str) -> Result<(), DbError> {
        self.batch("unlisten", &format!("unlisten {}", identifier(channel))).await
    }

    /// Waits until something rings, and tells all that rang since the last call. Nothing is lost
    /// when the caller stops waiting. Fails once the connection ended.
    pub async fn notified(&self) -> Result<Heard, DbError> {
        loop {
            if let Some(heard) = self.heard.take() {
                return Ok(heard);
            }
            tokio::select! {
                () = self.heard.notify.notified() => {}
                () = self.closed.cancelled() => {
                    // It may have rung just before the end.
                    return self.heard.take().ok_or_else(|| self.lost("listen"));
                }
            }
        }
    }

    /// Asks the server for a sign of life. If it gives none within `limit`, the session is closed.
    pub async fn probe(&self, limit: Duration) -> Result<(), DbError> {
        match within("db.probe", limit, self.client.check_connection()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(DbError::running("db.probe", &error)),
            Err(TimedOut { .. }) => {
                self.closed.cancel();
                Err(self.lost("db.probe"))
            }
        }
    }

    /// Waits until the connection has ended, for whatever reason.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Host, port and database, for people; never the login.
    pub fn server(&self) -> &str {
        &self.server
    }

    fn lost(&self, statement: &'static str) -> DbError {
        let source = Trouble::Way(format!("the connection to {} ended", self.server));
        DbError::Lost { statement, source }
    }

    fn wire(&self) -> Wire<'_> {
        Wire {
            client: &self.client,
            cache: &self.client.statement_cache,
            rules: self.rules,
            unfinished: &self.unfinished,
            transaction: None,
            end: Some(&self.closed),
        }
    }
}

/// Reads whatever the server sends until the connection ends. Always, and into a place that never
/// fills up: the server keeps notifications for a slow listener, and when their queue is full it
/// fails everybody's NOTIFY.
async fn drain<T>(
    mut connection: Connection<Socket, T>,
    heard: Arc<Bell>,
    closed: CancellationToken,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let _told = closed.clone().drop_guard();
    loop {
        let message = tokio::select! {
            message = poll_fn(|context| connection.poll_message(context)) => message,
            // Dropping the connection fails every call that waits for an answer.
            () = closed.cancelled() => return,
        };
        match message {
            Some(Ok(AsyncMessage::Notification(ring))) => heard.ring(Rang {
                channel: ring.channel().to_owned(),
                payload: ring.payload().to_owned(),
            }),
            Some(Ok(AsyncMessage::Notice(notice))) => debug!("postgres: {}", notice.message()),
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                debug!(error = %Trouble::from(&error), "the listening connection ended");
                return;
            }
            None => return,
        }
    }
}

async fn keep_probing(
    client: Arc<ClientWrapper>,
    unfinished: Arc<Unfinished>,
    closed: CancellationToken,
) {
    while !closed.is_cancelled() {
        sleep(PROBE_EVERY).await;
        // The answer would only come after that of the statement under way, which has a limit too.
        if unfinished.any() {
            continue;
        }
        let alive = within("db.probe", PROBE_LIMIT, client.check_connection()).await;
        if let Err(late) = alive {
            warn!(error = %late, "the listening connection gives no sign of life; closing it");
            closed.cancel();
        }
    }
}

/// Names are quoted, so that a route may be one.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
