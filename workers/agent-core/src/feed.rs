use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Bus, BusError, EventRow, InOrder, TraceScope};
use telemetry::Chain;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::settings::HttpSettings;

/// Reads new events, strictly in order, and hands them to everybody who listens. One per process:
/// however many listen, the table is asked once. While nobody listens it is not asked at all.
#[derive(Clone)]
pub(crate) struct Feed(Arc<Inner>);

struct Inner {
    bus: Bus,
    poll: Duration,
    most: usize,
    /// Sent under the lock of `position`, so that whoever subscribes knows where its part begins.
    sender: broadcast::Sender<Told>,
    /// Everything up to here is complete and was sent; `None` while nobody follows.
    position: Mutex<Option<i64>>,
    moved: watch::Sender<()>,
    listeners: Mutex<Listeners>,
    woken: Notify,
}

#[derive(Default)]
struct Listeners {
    count: usize,
    /// Traces that somebody listens to, and how many do.
    traces: HashMap<TraceScope, usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Told {
    Event(Arc<EventRow>),
    /// Every message of the trace is final, and all its events were told before this.
    Over(TraceScope),
}

/// A place in the feed: everything up to `from` is in the table and complete, the rest comes here.
pub(crate) struct Subscription {
    pub(crate) from: i64,
    pub(crate) told: broadcast::Receiver<Told>,
    _listening: Listening,
}

/// Why nobody can listen right now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotNow {
    TooMany,
    /// The start could not be found in time: the database is away, or somebody's transaction that
    /// writes events stays open.
    NoStart,
}

/// What a listener may be behind before it is left behind: some seconds of a busy system, and a few
/// megabytes, shared by all.
const BUFFER: usize = 8192;
/// Closer than this the feed continues where it stopped when the last listener left.
const NEAR: i64 = 1_000;
/// Between two looks while something is held back: it lasts as long as somebody's commit.
const SOON: Duration = Duration::from_millis(5);
/// Between two looks at whether the traces that are listened to are over.
const OVER_EVERY: Duration = Duration::from_millis(200);
const LONGEST_START: Duration = Duration::from_secs(10);

impl Feed {
    pub(crate) fn new(bus: Bus, settings: &HttpSettings) -> Self {
        Self(Arc::new(Inner {
            bus,
            poll: settings.events_poll,
            most: settings.max_event_streams.get(),
            sender: broadcast::channel(BUFFER).0,
            position: Mutex::new(None),
            moved: watch::channel(()).0,
            listeners: Mutex::default(),
            woken: Notify::new(),
        }))
    }

    /// Listens, to the end of a trace as well if one is given.
    pub(crate) async fn subscribe(
        &self,
        trace: Option<TraceScope>,
    ) -> Result<Subscription, NotNow> {
        let listening = self.listen(trace)?;
        let mut moved = self.0.moved.subscribe();
        let starting = async {
            loop {
                {
                    let position = lock(&self.0.position);
                    if let Some(from) = *position {
                        return (from, self.0.sender.subscribe());
                    }
                }
                // The sender is ours as well, so it is never gone.
                let _ = moved.changed().await;
            }
        };
        let started = timeout(LONGEST_START, starting).await;
        let (from, told) = started.map_err(|_| NotNow::NoStart)?;
        Ok(Subscription { from, told, _listening: listening })
    }

    pub(crate) fn listeners(&self) -> usize {
        lock(&self.0.listeners).count
    }

    fn listen(&self, trace: Option<TraceScope>) -> Result<Listening, NotNow> {
        let mut listeners = lock(&self.0.listeners);
        if listeners.count >= self.0.most {
            return Err(NotNow::TooMany);
        }
        listeners.count += 1;
        if let Some(trace) = &trace {
            *listeners.traces.entry(trace.clone()).or_default() += 1;
        }
        drop(listeners);
        self.0.woken.notify_one();
        Ok(Listening { feed: self.clone(), trace })
    }

    /// Follows the events until `stop`. Never fails: what is wrong now may be right in a second.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let mut order = InOrder::from_now();
        while !stop.is_cancelled() {
            if self.rests() {
                tokio::select! {
                    () = self.0.woken.notified() => {}
                    () = stop.cancelled() => {}
                }
                continue;
            }
            tokio::select! {
                result = self.follow(&mut order) => if let Err(error) = result {
                    warn!(error = %Chain(&error), "could not read events; trying again");
                    // Its position is still right, and the listeners wait.
                    sleep(Duration::from_secs(1)).await;
                },
                () = stop.cancelled() => {}
            }
        }
    }

    /// Whether nobody listens. Then the position is taken back, under the lock: whoever comes in this
    /// moment either has kept us from it, or waits for the next one.
    fn rests(&self) -> bool {
        let mut position = lock(&self.0.position);
        let rests = self.listeners() == 0;
        if rests {
            *position = None;
        }
        rests
    }

    /// Follows as long as somebody listens.
    async fn follow(&self, order: &mut InOrder) -> Result<(), BusError> {
        let inner = &self.0;
        if let Some(position) = order.position()
            && lock(&inner.position).is_none()
            && inner.bus.newest_event().await? - position > NEAR
        {
            *order = InOrder::from_now();
        }
        let mut asked_at: Option<Instant> = None;
        let mut pause = SOON;
        while self.listeners() > 0 {
            let events = inner.bus.events_in_order(order).await?;
            let more = !events.is_empty();
            self.tell(events, order.position());
            if asked_at.is_none_or(|at| at.elapsed() >= OVER_EVERY) {
                asked_at = Some(Instant::now());
                self.tell_what_is_over().await?;
            }
            if more {
                // Let listeners take what they were told before there is more.
                pause = SOON;
                sleep(SOON).await;
            } else if order.waits() {
                sleep(pause).await;
                pause = (pause * 2).min(inner.poll);
            } else {
                pause = SOON;
                tokio::select! {
                    () = sleep(inner.poll) => {}
                    // Somebody new, maybe for a trace that is over.
                    () = inner.woken.notified() => asked_at = None,
                }
            }
        }
        Ok(())
    }

    fn tell(&self, events: Vec<EventRow>, reached: Option<i64>) {
        let mut position = lock(&self.0.position);
        for event in events {
            // Nobody may be listening any more; that is no failure.
            let _ = self.0.sender.send(Told::Event(Arc::new(event)));
        }
        if *position != reached {
            *position = reached;
            self.0.moved.send_replace(());
        }
    }

    async fn tell_what_is_over(&self) -> Result<(), BusError> {
        let traces: Vec<TraceScope> = lock(&self.0.listeners).traces.keys().cloned().collect();
        if traces.is_empty() {
            return Ok(());
        }
        for (trace, last) in self.0.bus.traces_over(&traces).await? {
            let position = lock(&self.0.position);
            // Otherwise some of its events are still to be told; it is asked about again.
            if position.is_some_and(|position| position >= last) {
                let _ = self.0.sender.send(Told::Over(trace));
            }
        }
        Ok(())
    }
}

/// Counts as a listener while it exists.
struct Listening {
    feed: Feed,
    trace: Option<TraceScope>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listeners = lock(&self.feed.0.listeners);
        listeners.count -= 1;
        if let Some(trace) = &self.trace
            && let Some(count) = listeners.traces.get_mut(trace)
        {
            *count -= 1;
            if *count == 0 {
                listeners.traces.remove(trace);
            }
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().expect("nothing panics while it holds this")
}
