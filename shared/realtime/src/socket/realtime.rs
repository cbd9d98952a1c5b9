use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use super::channel::{Channel, Outgoing};
use super::connect::Opener;
use super::driver::Driver;
use super::heard::Heard;
use super::join::{InvalidJoin, JoinOptions, check};
use super::options::RealtimeOptions;
use super::roster::Roster;
use super::status::Status;
use crate::Endpoint;

/// Broadcasts that wait for the connection. They wait for each other only while a write is stuck,
/// and then whoever sends should notice.
const SENDS_WAITING: usize = 64;

/// One connection to Supabase Realtime, shared by all channels joined on it and by all clones.
///
/// Opened when the first channel is joined, kept open through whatever happens, closed when the
/// last clone and channel are dropped.
#[derive(Clone, Debug)]
pub struct Realtime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) roster: Arc<Roster>,
    pub(crate) sends: mpsc::Sender<Outgoing>,
    pub(crate) max_frame: usize,
    pub(crate) ack: Duration,
    queue: usize,
    queue_bytes: usize,
    close: Duration,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    tasks: Mutex<Tasks>,
}

#[derive(Debug)]
struct Tasks {
    /// Until the first channel is joined.
    unstarted: Option<Driver>,
    /// Dropped with the last handle, which closes the connection at once.
    running: JoinSet<()>,
}

impl Realtime {
    /// Does not connect yet.
    pub fn new(project: &Endpoint, options: &RealtimeOptions) -> Self {
        let opener = Opener::new(project, options);
        let key = project.key();
        let (tell, status) = watch::channel(Status::default());
        let (sends, outgoing) = mpsc::channel(SENDS_WAITING);
        let roster = Arc::new(Roster::default());
        let stop = CancellationToken::new();
        let &RealtimeOptions { queue, queue_bytes, max_frame, timings, .. } = options;
        let driver =
            Driver::new(opener, key, options, roster.clone(), outgoing, tell, stop.clone());
        let tasks = Tasks { unstarted: Some(driver), running: JoinSet::new() };
        Self {
            inner: Arc::new(Inner {
                roster,
                sends,
                max_frame,
                ack: timings.ack,
                queue,
                queue_bytes,
                close: timings.close,
                status,
                stop,
                tasks: Mutex::new(tasks),
            }),
        }
    }

    /// Joins a channel, now and again after whatever happens, until it is dropped. Its first
    /// happening is `Ready`, or `Down` with the reason.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn join(&self, topic: &str, options: JoinOptions) -> Result<Channel, InvalidJoin> {
        check(topic, &options)?;
        let inner = &self.inner;
        let heard = Arc::new(Heard::new(inner.queue, inner.queue_bytes));
        inner.roster.join(topic, options, heard.clone())?;
        let channel = Channel { topic: topic.to_owned(), heard, inner: inner.clone() };
        let mut tasks = inner.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = tasks.unstarted.take() {
            let span = info_span!("realtime.link", server = driver.server());
            tasks.running.spawn(driver.run().instrument(span));
        }
        Ok(channel)
    }

    /// How the connection is doing, now and whenever that changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.clone()
    }

    /// Says goodbye and closes the connection, whoever else still holds it. Dropping does the same
    /// without the goodbye.
    pub async fn close(&self) {
        self.inner.stop.cancel();
        let mut running = {
            let mut tasks = self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.unstarted = None;
            std::mem::take(&mut tasks.running)
        };
        let ended = async { while running.join_next().await.is_some() {} };
        // The rest is aborted with the set.
        let _ = timeout(self.inner.close, ended).await;
    }
}
