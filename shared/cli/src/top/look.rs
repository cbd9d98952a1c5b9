use std::time::Duration;

use bus::{Activity, Bus, LetterFilter, MessageState, WorkerSeen};
use model::{Route, Stage};
use registry::{Registry, Release};
use serde::Serialize;

use crate::connection::Connection;
use crate::explain::{self, What};

/// Everything that is shown, at one moment.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Look {
    #[serde(flatten)]
    pub(super) activity: Activity,
    pub(super) workers: Vec<WorkerSeen>,
    /// The newest releases, those under way first.
    pub(super) rollouts: Vec<Release>,
}

/// The way to what is shown.
#[derive(Clone)]
pub(super) struct Reader {
    bus: Bus,
    registry: Registry,
    window: Duration,
}

const RELEASES: i32 = 50;
/// Of each kind.
pub(super) const MESSAGES: u32 = 100;
/// Of one press of a key.
pub(super) const LETTERS: u32 = 1_000;

impl Reader {
    pub(super) fn new(to: &Connection, window: Duration) -> miette::Result<Self> {
        Ok(Self { bus: to.bus()?, registry: to.registry()?, window })
    }

    /// Where it looks; shows no credential.
    pub(super) fn place(&self) -> String {
        self.bus.db().server().to_string()
    }

    pub(super) async fn look(&self) -> miette::Result<Look> {
        let activity = self.bus.activity(self.window).await?;
        let mut workers = self.bus.fleet().await?;
        workers.retain(|worker| worker.state != "gone");
        let mut rollouts = self.registry.releases(None, RELEASES).await?;
        rollouts.sort_by_key(|release| release.phase.is_over() || !release.wanted);
        Ok(Look { activity, workers, rollouts })
    }

    pub(super) async fn messages(&self, route: &Route) -> miette::Result<Vec<MessageState>> {
        Ok(self.bus.standing(route, MESSAGES).await?)
    }

    /// The lines of a thing's story.
    pub(super) async fn explain(&self, what: &What) -> miette::Result<String> {
        let told = explain::told(&self.bus, &self.registry, what, None).await?;
        Ok(told.story.text())
    }

    pub(super) async fn pause(&self, stage: &Stage, paused: bool) -> miette::Result<()> {
        match paused {
            true => self.bus.pause(stage).await?,
            false => self.bus.resume(stage).await?,
        }
        Ok(())
    }

    /// Replays the dead letters of a route that nobody has replayed, the oldest first; how many.
    pub(super) async fn replay(&self, route: &Route) -> miette::Result<usize> {
        let filter = LetterFilter {
            stage: Some(route.stage().clone()),
            reason: None,
            tenant: None,
            open_only: true,
            limit: LETTERS,
        };
        let letters = self.bus.dead_letters(&filter).await?;
        let mut replayed = 0;
        for letter in letters.iter().rev().filter(|one| one.route.shard() == route.shard()) {
            self.bus.replay(letter.message_id).await?;
            replayed += 1;
        }
        Ok(replayed)
    }
}
