use std::time::Duration;

use tokio::time::timeout;

use crate::Trouble;
use crate::quietly::quietly;

/// Waits for an answer of Kubernetes, for so long and no longer.
pub(crate) async fn call<T>(
    name: &'static str,
    limit: Duration,
    asked: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Trouble> {
    match timeout(limit, quietly(asked)).await {
        Err(_) => Err(Trouble::TooSlow { call: name, limit }),
        Ok(answer) => answer.map_err(|error| Trouble::of(&error)),
    }
}
