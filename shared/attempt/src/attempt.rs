use std::time::{Duration, Instant};

use bus::{InvalidPayload, Message, NewEvent};
use messages::{Assignment, Event};
use telemetry::Chain;
use time::OffsetDateTime;
use tracing::warn;
use worker::Cx;

/// One attempt at a message under an assignment, from its begin.
pub struct Attempt<'a> {
    message: &'a Message,
    assignment: &'a Assignment,
    cx: &'a Cx,
    began: Instant,
    until: Instant,
}

impl<'a> Attempt<'a> {
    pub fn begin(message: &'a Message, assignment: &'a Assignment, cx: &'a Cx) -> Self {
        let until = until(message.created_at, assignment.ttl());
        Self { message, assignment, cx, began: Instant::now(), until }
    }

    pub fn cx(&self) -> &'a Cx {
        self.cx
    }

    /// When the assignment's time is over.
    pub fn until(&self) -> Instant {
        self.until
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// As of the agent that the assignment names.
    pub fn event<E: Event>(&self, event: &E) -> Result<NewEvent, InvalidPayload> {
        let event = NewEvent::of(event)?;
        Ok(match &self.assignment.agent_id {
            Some(agent) => event.agent(agent),
            None => event,
        })
    }

    /// Tells it now, and not with the settle; `what` names it in a log. If it cannot be told, the
    /// work itself may still come to an end that can.
    pub async fn tell(&self, what: &str, event: Result<NewEvent, InvalidPayload>) {
        let told = match event {
            Ok(event) => self.cx.bus().emit(&[event.message(self.message.id)]).await,
            Err(error) => return warn!(error = %Chain(&error), "could not write down {what}"),
        };
        if let Err(error) = told {
            warn!(error = %Chain(&error), "could not tell of {what}");
        }
    }
}

/// From what an assignment says to a moment of our own clock.
fn until(created_at: OffsetDateTime, ttl: Duration) -> Instant {
    let age = OffsetDateTime::now_utc() - created_at;
    // The clock of the database may be ahead of ours.
    let age = Duration::try_from(age).unwrap_or_default();
    Instant::now() + ttl.saturating_sub(age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_counts_from_the_publishing() {
        let now = OffsetDateTime::now_utc();
        let hour = Duration::from_secs(3600);
        assert!(until(now - hour, hour / 2) <= Instant::now());
        assert!(until(now - hour, hour * 2) > Instant::now() + hour / 2);
        assert!(until(now + hour, hour) <= Instant::now() + hour);
    }
}
