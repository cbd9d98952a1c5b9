use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use miette::{Context, IntoDiagnostic};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long blocking calls may still take once the work has returned; then they are abandoned.
const LAST_BLOCKING_CALLS: Duration = Duration::from_secs(1);

/// What a shell reports for a program ended by Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

/// Runs `work` on a new runtime. SIGTERM and Ctrl-C cancel the token it is given; a second one ends
/// the process at once.
pub fn block_on_with_stop<T, F, Fut>(
    name: &'static str,
    threads: NonZeroUsize,
    work: F,
) -> miette::Result<T>
where
    F: FnOnce(CancellationToken) -> Fut,
    Fut: Future<Output = T>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.get())
        .thread_name(name)
        .enable_all()
        .build()
        .into_diagnostic()
        .wrap_err("could not start the runtime")?;

    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals =
            Signals::listen().into_diagnostic().wrap_err("could not listen for signals")?;
        // A task of its own, so that a second Ctrl-C works even when `work` blocks its thread.
        let mut watch = JoinSet::new();
        watch.spawn(signals.obey(stop.clone()));
        tokio::select! {
            result = work(stop) => Ok(result),
            Some(Err(died)) = watch.join_next() => panic!("nobody watches for signals: {died}"),
        }
    });
    runtime.shutdown_timeout(LAST_BLOCKING_CALLS);
    result
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn obey(mut self, stop: CancellationToken) {
        let first = self.next().await;
        info!("{first}: stopping; a second one exits at once");
        stop.cancel();
        let second = self.next().await;
        warn!("{second} again: exiting without waiting for what still runs");
        std::process::exit(EXIT_INTERRUPTED);
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
