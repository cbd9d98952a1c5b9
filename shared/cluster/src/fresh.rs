use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use crate::Trouble;
use crate::facts::{Deployment, Pod, ReplicaSet};

/// A namespace as it was read past the watches.
pub(crate) struct Fresh {
    /// When reading began: what is in here is no older.
    pub(crate) at: Instant,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) replica_sets: Vec<ReplicaSet>,
    pub(crate) pods: Vec<Pod>,
}

/// One reading for all who ask while the one before is under way: a list costs the API server as much
/// as the namespace is large, and a hundred releases that come to their deadline together would each
/// want one.
pub(crate) struct Readings(Mutex<Option<Reading>>);

struct Reading {
    began: Instant,
    came: Result<Arc<Fresh>, Trouble>,
}

impl Readings {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// What was read since then, by somebody else or now.
    pub(crate) async fn since(
        &self,
        asked: Instant,
        read: impl AsyncFnOnce() -> Result<Fresh, Trouble>,
    ) -> Result<Arc<Fresh>, Trouble> {
        let mut last = self.0.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.began >= asked) {
            return last.came.clone();
        }
        let began = Instant::now();
        let came = read().await.map(Arc::new);
        *last = Some(Reading { began, came: came.clone() });
        came
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn who_asks_together_shares_a_reading_that_began_after_all_of_them() {
        let (readings, times) = (Readings::new(), AtomicUsize::new(0));
        let ask = async |fails: bool| {
            let asked = Instant::now();
            let came = readings.since(asked, async || {
                let at = Instant::now();
                times.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
                let (deployments, replica_sets, pods) = (Vec::new(), Vec::new(), Vec::new());
                let fresh = Fresh { at, deployments, replica_sets, pods };
                if fails { Err(Trouble::NotFound) } else { Ok(fresh) }
            });
            let came = came.await;
            assert!(
                came.as_ref().map_or(true, |fresh| fresh.at >= asked),
                "nobody gets older news"
            );
            came.is_ok()
        };
        assert_eq!(join_all((0..50).map(|_| ask(false))).await, [true; 50]);
        assert!(times.load(Ordering::Relaxed) <= 2);
        ask(false).await;
        assert!(times.load(Ordering::Relaxed) >= 2, "who comes later has it read anew");
        times.store(0, Ordering::Relaxed);
        assert_eq!(join_all((0..50).map(|_| ask(true))).await, [false; 50]);
        assert!(times.load(Ordering::Relaxed) <= 2, "what failed is not tried by each in turn");
    }
}
