use std::time::Duration;

use tokio::time::timeout;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} took longer than {limit:?}")]
pub struct TimedOut {
    pub what: &'static str,
    pub limit: Duration,
}

/// Waits for `work`, but no longer than `limit`; the error says which wait was too long.
pub async fn within<T>(
    what: &'static str,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, TimedOut> {
    timeout(limit, work).await.map_err(|_| TimedOut { what, limit })
}
