use miette::IntoDiagnostic;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;

/// As an operator stops a worker; returns when it has drained.
pub(crate) async fn stop(worker: &mut Child) -> miette::Result<()> {
    if let Some(pid) = worker.id().and_then(|pid| i32::try_from(pid).ok()) {
        kill(Pid::from_raw(pid), Signal::SIGTERM).into_diagnostic()?;
    }
    worker.wait().await.into_diagnostic()?;
    Ok(())
}
