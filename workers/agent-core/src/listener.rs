use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use bus::{Bus, BusError, EventRow, TraceScope};
use futures_util::{Stream, stream};
use model::{Tenant, TraceId};
use serde_json::json;
use telemetry::Chain;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::events::EventView;
use crate::feed::{Subscription, Told};

/// One stream of events on its way to a client: first what the table has between the client's place
/// and the feed's, then the feed. Both are complete and in order, so the number of the last event
/// the client got is all that is needed to go on, here or at another replica.
pub(crate) struct Listener {
    pub(crate) bus: Bus,
    pub(crate) subscription: Subscription,
    /// The number of the last event the client has.
    pub(crate) after: i64,
    pub(crate) trace: Option<TraceId>,
    pub(crate) tenant: Option<Tenant>,
    /// When what the client may see ends: with its token.
    pub(crate) until: Option<Instant>,
    pub(crate) stop: CancellationToken,
}

struct State {
    listener: Listener,
    greeted: bool,
    ready: VecDeque<EventView>,
    history: bool,
    ended: bool,
}

/// How soon a client that was cut off comes back.
const RECONNECT: Duration = Duration::from_secs(1);

impl Listener {
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        let history = self.after < self.subscription.from;
        let ready = VecDeque::new();
        let state = State { listener: self, greeted: false, ready, history, ended: false };
        stream::unfold(state, |mut state| async move {
            let event = state.next().await?;
            Some((Ok(event), state))
        })
    }
}

impl State {
    /// `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            // Also tells the client at once that it is connected.
            return Some(Event::default().retry(RECONNECT).comment("following"));
        }
        let stop = self.listener.stop.clone();
        let until = self.listener.until;
        let over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let (mut stopped, mut over) = (pin!(stop.cancelled()), pin!(over));
        loop {
            if self.ended {
                return None;
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(sse(&event));
            }
            tokio::select! {
                biased;
                // The client comes back to another replica, or with a newer token.
                () = &mut stopped => return None,
                () = &mut over => return None,
                told = self.advance() => match told {
                    Ok(Some(end)) => return Some(end),
                    Ok(None) => {}
                    Err(error) => {
                        warn!(error = %Chain(&error), "could not read events for a stream; ending it");
                        return None;
                    }
                },
            }
        }
    }

    /// Takes one step: a page of the past, or one thing the feed tells. Loses nothing when dropped.
    async fn advance(&mut self) -> Result<Option<Event>, BusError> {
        let listener = &mut self.listener;
        if self.history {
            let upto = listener.subscription.from;
            let page = listener
                .bus
                .events_between(listener.after, upto, listener.trace, listener.tenant.as_ref())
                .await?;
            self.history = page.more;
            listener.after =
                if page.more { page.events.last().map_or(upto, |event| event.id) } else { upto };
            self.ready.extend(page.events.into_iter().map(EventView::from));
            return Ok(None);
        }
        match listener.subscription.told.recv().await {
            Ok(Told::Event(event)) => {
                if listener.wants(&event) {
                    self.ready.push_back(EventView::from(EventRow::clone(&event)));
                }
                listener.after = listener.after.max(event.id);
                Ok(None)
            }
            Ok(Told::Over(scope)) if listener.follows(&scope) => {
                self.ended = true;
                let data = json!({ "trace_id": scope.trace }).to_string();
                Ok(Some(Event::default().event("end").data(data)))
            }
            Ok(Told::Over(_)) => Ok(None),
            Err(RecvError::Lagged(missed)) => {
                // It resumes from its last event, out of the table, at its own pace.
                debug!(missed, "a client reads more slowly than events come; ending its stream");
                self.ended = true;
                Ok(None)
            }
            Err(RecvError::Closed) => {
                self.ended = true;
                Ok(None)
            }
        }
    }
}

impl Listener {
    fn wants(&self, event: &Arc<EventRow>) -> bool {
        event.id > self.after
            && self.trace.is_none_or(|trace| event.trace_id == trace)
            && self.tenant.as_ref().is_none_or(|tenant| event.tenant == *tenant)
    }

    fn follows(&self, scope: &TraceScope) -> bool {
        self.trace == Some(scope.trace) && self.tenant == scope.tenant
    }
}

fn sse(event: &EventView) -> Event {
    // Without a name of its own, so that a browser's `onmessage` gets all of them.
    let data = serde_json::to_string(event).expect("an event can be written");
    Event::default().id(event.id.to_string()).data(data)
}
