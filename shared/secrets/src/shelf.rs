use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::SecretPlace;
use rand::RngExt;
use tokio::time::Instant;
use tracing::warn;

use crate::backoff::Backoff;
use crate::found::Found;
use crate::{Clock, Trouble};

/// What has been read, until its lease ends. Each place is read by one caller at a time, whose
/// answer is everybody's, and left alone for a while when it fails.
pub(crate) struct Shelf {
    clock: Clock,
    longest: Duration,
    slots: Mutex<HashMap<SecretPlace, Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    /// Held by who reads.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    failing: Option<Backoff>,
}

struct Kept {
    found: Arc<Found>,
    /// When to look for a newer one.
    due: Instant,
    ends: Instant,
}

/// Why there is nothing, and how long it stays so without being asked for again.
pub(crate) type Nothing = (Trouble, Option<Duration>);

/// Whoever may name secrets may name many that do not exist; the forgotten ones are swept out.
const MANY: usize = 1024;

impl Shelf {
    /// Nothing is kept for longer than `longest`, whatever its lease.
    pub(crate) fn new(clock: Clock, longest: Duration) -> Self {
        Self { clock, longest, slots: Mutex::default() }
    }

    /// What lies at `place`: as it was read before, or as `read` finds it now.
    pub(crate) async fn get(
        &self,
        place: &SecretPlace,
        read: impl AsyncFnOnce() -> Result<Found, Trouble>,
    ) -> Result<Arc<Found>, Nothing> {
        let slot = self.slot(place);
        if let Some(found) = slot.lock().fresh(self.clock.now()) {
            return Ok(found);
        }
        let _turn = match slot.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                // While somebody looks for a newer one, the one before is still good.
                if let Some(found) = slot.lock().valid(self.clock.now()) {
                    return Ok(found);
                }
                slot.turn.lock().await
            }
        };
        if let Some(known) = slot.lock().known(self.clock.now()) {
            return known;
        }
        let outcome = read().await;
        slot.lock().note(outcome, self.clock.now(), self.longest)
    }

    fn slot(&self, place: &SecretPlace) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(place) {
            return slot.clone();
        }
        if slots.len() >= MANY {
            let now = self.clock.now();
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.lock().matters(now));
        }
        slots.entry(place.clone()).or_default().clone()
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn fresh(&self, now: Instant) -> Option<Arc<Found>> {
        self.kept.as_ref().filter(|kept| now < kept.due).map(|kept| kept.found.clone())
    }

    fn valid(&self, now: Instant) -> Option<Arc<Found>> {
        self.kept.as_ref().filter(|kept| now < kept.ends).map(|kept| kept.found.clone())
    }

    /// What needs no reading.
    fn known(&self, now: Instant) -> Option<Result<Arc<Found>, Nothing>> {
        if let Some(found) = self.fresh(now) {
            return Some(Ok(found));
        }
        let (last, left) = self.failing.as_ref()?.holds(now)?;
        Some(self.valid(now).ok_or_else(|| (last.clone(), Some(left))))
    }

    fn note(
        &mut self,
        outcome: Result<Found, Trouble>,
        now: Instant,
        longest: Duration,
    ) -> Result<Arc<Found>, Nothing> {
        let trouble = match outcome {
            Ok(found) => {
                let lease = found.lease.unwrap_or(longest).min(longest);
                // Not all at the same moment, though they may have been read at the same one.
                let due = now + lease.mul_f64(rand::rng().random_range(0.6..=0.7));
                let found = Arc::new(found);
                *self = Self {
                    kept: Some(Kept { found: found.clone(), due, ends: now + lease }),
                    failing: None,
                };
                return Ok(found);
            }
            Err(trouble) => trouble,
        };
        self.failing = Some(Backoff::after(self.failing.as_ref(), trouble.clone(), now));
        // That it was deleted or is forbidden now is an answer; that nobody answers is none.
        let valid = self.valid(now).filter(|_| trouble.passes());
        match valid {
            Some(found) => {
                warn!(error = %trouble, "could not look for a newer version of a secret; using the last one until its lease ends");
                Ok(found)
            }
            None => {
                self.kept = None;
                Err((trouble, None))
            }
        }
    }

    /// Forgetting it would change what somebody is answered.
    fn matters(&self, now: Instant) -> bool {
        let failing = self.failing.as_ref().is_some_and(|backoff| backoff.holds(now).is_some());
        failing || self.valid(now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::Through;
    use crate::found::Field;
    use model::{CredentialRef, Secret};
    use tokio::time::sleep;

    /// A keeper that counts how often it is asked.
    #[derive(Default)]
    struct Keeper {
        asked: AtomicU32,
        trouble: Mutex<Option<Trouble>>,
        lease: Option<Duration>,
    }

    impl Keeper {
        async fn read(&self) -> Result<Found, Trouble> {
            let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
            sleep(Duration::from_millis(100)).await;
            if let Some(trouble) = lock(&self.trouble).clone() {
                return Err(trouble);
            }
            let value = Field::Text(Secret::new(asked.to_string()));
            let through = Through { keeper: "Vault", server: None, namespace: None, login: None };
            Ok(Found {
                fields: BTreeMap::from([("key".to_owned(), value)]),
                version: None,
                lease: self.lease,
                through: Arc::new(through),
            })
        }

        fn asked(&self) -> u32 {
            self.asked.load(Ordering::Relaxed)
        }

        fn fail(&self, trouble: Option<Trouble>) {
            *lock(&self.trouble) = trouble;
        }
    }

    fn place() -> SecretPlace {
        "vault:kv/a".parse::<CredentialRef>().unwrap().place().clone()
    }

    fn shelf() -> Shelf {
        Shelf::new(Clock::default(), Duration::from_secs(300))
    }

    async fn get(shelf: &Shelf, keeper: &Keeper) -> Result<String, Nothing> {
        let found = shelf.get(&place(), async || keeper.read().await).await?;
        Ok(found.field(None).unwrap().expose().to_owned())
    }

    async fn advance(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_who_ask_at_once_cost_one_question_also_when_it_fails() {
        let (shelf, keeper) = (shelf(), Keeper::default());
        let ask = |_| get(&shelf, &keeper);
        let answers = futures_util::future::join_all((0..100).map(ask)).await;
        assert!(answers.iter().all(|answer| answer.as_deref() == Ok("1")));
        assert_eq!(keeper.asked(), 1);

        keeper.fail(Some(Trouble::Denied));
        advance(301).await;
        let answers = futures_util::future::join_all((0..100).map(ask)).await;
        assert!(answers.iter().all(|answer| matches!(answer, Err((Trouble::Denied, _)))));
        assert_eq!(keeper.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_read_again_before_its_lease_ends_and_never_used_after() {
        let lease = Some(Duration::from_secs(60));
        let (shelf, keeper) = (shelf(), Keeper { lease, ..Keeper::default() });
        assert_eq!(get(&shelf, &keeper).await.unwrap(), "1");
        advance(35).await;
        assert_eq!(get(&shelf, &keeper).await.unwrap(), "1");
        advance(8).await;
        assert_eq!(get(&shelf, &keeper).await.unwrap(), "2", "at two thirds of it");

        keeper.fail(Some(Trouble::Sealed));
        advance(50).await;
        assert_eq!(get(&shelf, &keeper).await.unwrap(), "2", "nobody answers: still good");
        advance(11).await;
        let (trouble, _) = get(&shelf, &keeper).await.unwrap_err();
        assert_eq!(trouble, Trouble::Sealed, "its lease is over");
        keeper.fail(None);
        advance(60).await;
        assert_eq!(get(&shelf, &keeper).await.unwrap(), keeper.asked().to_string());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_away_is_not_used_until_its_lease_ends() {
        let (shelf, keeper) = (shelf(), Keeper::default());
        get(&shelf, &keeper).await.unwrap();
        keeper.fail(Some(Trouble::Denied));
        advance(250).await;
        assert_eq!(get(&shelf, &keeper).await, Err((Trouble::Denied, None)));
        let (trouble, again_in) = get(&shelf, &keeper).await.unwrap_err();
        assert_eq!((trouble, again_in.is_some()), (Trouble::Denied, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_lease_does_not_hide_a_change_for_longer_than_the_cache() {
        let lease = Some(Duration::from_secs(2_764_800));
        let (shelf, keeper) = (shelf(), Keeper { lease, ..Keeper::default() });
        get(&shelf, &keeper).await.unwrap();
        advance(300).await;
        assert_eq!(get(&shelf, &keeper).await.unwrap(), "2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_reference_is_asked_for_ever_more_seldom() {
        let (shelf, keeper) = (shelf(), Keeper::default());
        keeper.fail(Some(Trouble::NoSecret));
        for _ in 0..3600 {
            let _ = get(&shelf, &keeper).await;
            sleep(Duration::from_secs(1)).await;
        }
        let asked = keeper.asked();
        assert!((60..=100).contains(&asked), "{asked} times in an hour, of 3600");
        keeper.fail(None);
        advance(61).await;
        get(&shelf, &keeper).await.unwrap();
        keeper.fail(Some(Trouble::NoSecret));
        advance(301).await;
        get(&shelf, &keeper).await.unwrap_err();
        advance(2).await;
        let before = keeper.asked();
        get(&shelf, &keeper).await.unwrap_err();
        assert_eq!(keeper.asked(), before + 1, "a success begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_while_reading_leaves_the_turn_to_the_next() {
        let (shelf, keeper) = (shelf(), Keeper::default());
        let gone = tokio::time::timeout(Duration::from_millis(50), get(&shelf, &keeper)).await;
        assert!(gone.is_err());
        assert_eq!(get(&shelf, &keeper).await.unwrap(), "2");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_swept_out() {
        let (shelf, keeper) = (shelf(), Keeper::default());
        keeper.fail(Some(Trouble::NoSecret));
        for number in 0..MANY + 10 {
            let reference: CredentialRef = format!("vault:kv/{number}").parse().unwrap();
            let read = async || keeper.read().await;
            let _ = shelf.get(reference.place(), read).await;
        }
        assert!(lock(&shelf.slots).len() < 50);
    }
}
