use bus::{Explained, OwnEvent, Place};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One attempt at a message, as far as rows tell of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) number: i32,
    pub(super) worker: Option<String>,
    pub(super) began: Option<OffsetDateTime>,
    pub(super) ended: Option<OffsetDateTime>,
    /// Since when it could be claimed.
    pub(super) ready: Option<OffsetDateTime>,
    pub(super) how: How,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Its worker is at it.
    Running,
    Done,
    /// It failed, and the next one was to begin then.
    Retried {
        error: Option<String>,
        again: Option<OffsetDateTime>,
    },
    /// Its worker stopped renewing its lease.
    Lost,
    /// It failed, and was the last.
    Failed,
    Cancelled,
    /// Its event is gone, or was never written: before this version, only the last attempt was.
    Forgotten,
}

/// Every attempt that was counted, in order.
pub(super) fn attempts(of: &Explained) -> Vec<Attempt> {
    let mut known: Vec<Attempt> = of.facts.events.iter().filter_map(told).collect();
    if let (Place::Ended, Some(receipt)) = (of.facts.place, &of.facts.receipt)
        // Without this, it ended while nobody had it.
        && let Some(began) = receipt.claimed_at
    {
        let how = match (receipt.status.as_str(), receipt.reason.as_deref()) {
            ("done", _) => How::Done,
            ("cancelled", _) => How::Cancelled,
            (_, Some("lease_lost")) => How::Lost,
            _ => How::Failed,
        };
        known.push(Attempt {
            number: receipt.attempts,
            worker: receipt.worker.clone(),
            began: Some(began),
            ended: Some(receipt.done_at),
            ready: None,
            how,
        });
    }
    if let Some(lease) = &of.facts.lease {
        known.push(Attempt {
            number: of.message.attempts,
            worker: Some(lease.worker.clone()),
            began: Some(lease.claimed_at),
            ended: None,
            ready: None,
            how: How::Running,
        });
    }
    let mut all = Vec::new();
    let mut ready = Some(first_ready(of));
    for number in 1..=of.message.attempts {
        let mut attempt = match known.iter().position(|attempt| attempt.number == number) {
            Some(place) => known.swap_remove(place),
            None => Attempt {
                number,
                worker: None,
                began: None,
                ended: None,
                ready: None,
                how: How::Forgotten,
            },
        };
        attempt.ready = ready;
        ready = match &attempt.how {
            How::Retried { again, .. } => *again,
            How::Lost => attempt.ended,
            _ => None,
        };
        all.push(attempt);
    }
    all
}

/// Its producer may have asked for a later moment, which the first retry overwrites.
fn first_ready(of: &Explained) -> OffsetDateTime {
    let created = of.message.created_at;
    let untouched = of.facts.events.iter().all(|event| event.event_type != "retried");
    let asked = of.message.retry_at.filter(|_| untouched);
    asked.map_or(created, |asked| asked.max(created))
}

fn told(event: &OwnEvent) -> Option<Attempt> {
    let text = |name: &str| event.payload.get(name).and_then(Value::as_str);
    let moment = |name: &str| OffsetDateTime::parse(text(name)?, &Rfc3339).ok();
    let how = match event.event_type.as_str() {
        "retried" => {
            How::Retried { error: text("error").map(str::to_owned), again: moment("retry_at") }
        }
        "reclaimed" => How::Lost,
        _ => return None,
    };
    let number = event.payload.get("attempts").and_then(Value::as_i64)?;
    Some(Attempt {
        number: i32::try_from(number).ok()?,
        worker: text("worker").map(str::to_owned),
        began: moment("claimed_at"),
        ended: Some(event.created_at),
        ready: None,
        how,
    })
}
