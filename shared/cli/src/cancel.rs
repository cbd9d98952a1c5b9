use bus::{Cancelled, CancelledTrace};
use clap::Args;
use model::{MessageId, TraceId};
use serde::Serialize;

use crate::connection::Connection;
use crate::ended::Ended;
use crate::subject::Subject;

/// Cancel a message, or all of a trace: at once what is queued; the workers of the rest are asked
/// to stop.
///
/// Exits with 1 if everything had already ended.
#[derive(Args)]
pub(crate) struct Cancel {
    /// The message's number, or the trace's id.
    #[arg(value_name = "MESSAGE OR TRACE")]
    subject: Subject,

    /// Why, as a code, for the record.
    #[arg(long, default_value = "cancelled")]
    reason: String,
}

#[derive(Serialize)]
struct Answer {
    id: MessageId,
    /// cancelled, asked, or the state in which it had ended before.
    state: &'static str,
    ended_before: bool,
}

#[derive(Serialize)]
struct TraceAnswer {
    trace_id: TraceId,
    /// Messages that are cancelled now.
    cancelled: i32,
    /// Messages whose workers were asked to stop.
    asked: i32,
}

impl Cancel {
    pub(crate) async fn run(self, to: &Connection) -> miette::Result<Ended> {
        match self.subject {
            Subject::Message(id) => message(to, id, &self.reason).await,
            Subject::Trace(trace) => all_of(to, trace, &self.reason).await,
        }
    }
}

async fn message(to: &Connection, id: MessageId, reason: &str) -> miette::Result<Ended> {
    let (state, ended_before) = match to.bus()?.cancel(id, reason).await? {
        Cancelled::Now => ("cancelled", false),
        Cancelled::Asked => ("asked", false),
        Cancelled::Ended(state) => (state, true),
    };
    to.out().answer(&Answer { id, state, ended_before }, |answer| {
        let Answer { id, state, ended_before } = answer;
        match (*state, ended_before) {
            (state, true) => format!("message {id} had already ended: {state}"),
            ("asked", false) => {
                format!("message {id} is being worked on; its worker was asked to stop")
            }
            _ => format!("message {id} is cancelled"),
        }
    })?;
    Ok(if ended_before { Ended::Badly } else { Ended::Well })
}

async fn all_of(to: &Connection, trace_id: TraceId, reason: &str) -> miette::Result<Ended> {
    let CancelledTrace { cancelled, asked } = to.bus()?.cancel_trace(trace_id, reason).await?;
    let nothing = cancelled + asked == 0;
    to.out().answer(&TraceAnswer { trace_id, cancelled, asked }, |_| {
        if nothing {
            return format!("everything of trace {trace_id} had already ended");
        }
        format!(
            "{cancelled} messages of trace {trace_id} are cancelled, and the workers of {asked} \
             were asked to stop"
        )
    })?;
    Ok(if nothing { Ended::Badly } else { Ended::Well })
}
