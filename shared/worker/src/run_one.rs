use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bus::{Lease, Outcome, Settle};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use crate::held::Held;
use crate::{Cx, Handlers};

/// How long a handler that was told to stop may take to clean up before it is dropped.
const CLEAN_UP: Duration = Duration::from_secs(5);

/// Runs one message through its handler, whatever happens there, and hands over what came of it.
pub(crate) async fn run_one(
    handlers: Arc<Handlers>,
    lease: Lease,
    cx: Cx,
    held: Held,
    abandon: CancellationToken,
    settled: mpsc::Sender<Outcome>,
) {
    let Lease { message, token, .. } = lease;
    let id = message.id;
    let span = info_span!("worker.handle", msg.id = %id, msg.route = %message.route,
        msg.attempt = message.attempt, trace.id = %message.trace);
    let stop = cx.stop.clone();
    // The call itself may panic, before it has made a future.
    let handling = async move { handlers.handle(message, cx).await };
    let handling = AssertUnwindSafe(handling.instrument(span.clone())).catch_unwind();

    let settle = tokio::select! {
        finished = handling => match finished {
            Ok(Ok(settle)) => settle,
            // It stopped because we told it to; that is not its failure.
            Ok(Err(_)) if held.is_cancelled(id) => Settle::cancelled(),
            Ok(Err(failure)) => failure.settle(),
            Err(panic) => {
                let what = text_of(&*panic);
                span.in_scope(|| warn!(error = what, "a handler panicked"));
                Settle::retry(format!("the handler panicked: {what}"))
            }
        },
        () = overdue(&stop) => {
            if held.is_cancelled(id) { Settle::cancelled() } else { Settle::release() }
        }
        () = abandon.cancelled() => Settle::release(),
    };
    if held.was_settled_by_handler(id) {
        held.let_go(id, token);
        return;
    }
    // The settler lives as long as any of us.
    let _ = settled.send(Outcome { id, lease: token, settle }).await;
}

async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(CLEAN_UP).await;
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}
