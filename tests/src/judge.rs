use std::collections::BTreeMap;
use std::fmt;

use messages::{EventType, Payload};
use model::MessageId;

use crate::account::{Account, Accounts};
use crate::act::{Act, Echo, Effects, Part, REFUSED, acted};
use crate::history::{History, Receipt, Story};
use crate::plan::Planned;

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub kind: Kind,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message, its effect or the record of its end is not there.
    Lost,
    /// A message has not ended, or something still waits for it.
    Stuck,
    /// Something was done more often than once, out of its turn, or although it should not be.
    Doubled,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.kind, self.what)
    }
}

/// Compares what was planned and acknowledged with what the tables say.
pub(crate) fn judge(
    plan: &BTreeMap<i64, Planned>,
    accounts: &Accounts,
    history: &History,
) -> Vec<Finding> {
    let mut trial = Trial { plan, accounts, history, findings: Vec::new() };
    trial.publishing();
    for (id, story) in &history.stories {
        trial.place(*id, story);
        trial.end(*id, story);
    }
    trial.follow_ups();
    trial.order();
    trial.findings
}

struct Trial<'a> {
    plan: &'a BTreeMap<i64, Planned>,
    accounts: &'a Accounts,
    history: &'a History,
    findings: Vec<Finding>,
}

impl Trial<'_> {
    /// What was acknowledged is there once, and what was rolled back is not.
    fn publishing(&mut self) {
        let mut copies: BTreeMap<i64, Vec<MessageId>> = BTreeMap::new();
        for (id, story) in &self.history.stories {
            if let Some(n) = story.n {
                copies.entry(n).or_default().push(*id);
            }
        }
        for n in self.plan.keys() {
            let copies = copies.remove(n).unwrap_or_default();
            match self.accounts.published.get(n) {
                Some(Account::Acknowledged(id)) => {
                    if !copies.contains(id) {
                        self.lost(format!("act {n} was acknowledged as message {id}"));
                    }
                    if copies.iter().any(|copy| copy != id) {
                        self.doubled(format!("act {n} was published as {copies:?}"));
                    }
                }
                Some(Account::InDoubt) if copies.len() > 1 => {
                    self.doubled(format!("act {n}, sent once, was published as {copies:?}"));
                }
                Some(Account::InDoubt) => {}
                Some(Account::RolledBack) if copies.is_empty() => {}
                Some(Account::RolledBack) => {
                    self.doubled(format!("act {n} was rolled back, and is there as {copies:?}"));
                }
                None => self.lost(format!("nobody accounts for act {n}")),
            }
        }
        for (n, copies) in copies {
            self.doubled(format!("nobody planned act {n}, and it is there as {copies:?}"));
        }
        for n in &self.accounts.disagreed {
            self.doubled(format!("one idempotency key of act {n} was answered with two messages"));
        }
        for id in &self.accounts.cancelled {
            let status = self.history.stories.get(id).and_then(Story::status);
            if status != Some("cancelled") {
                self.doubled(format!("message {id} was cancelled, and then {status:?}"));
            }
        }
        for orphan in &self.history.orphans {
            self.doubled(orphan.clone());
        }
    }

    /// A message is in one state, and that is a final one.
    fn place(&mut self, id: MessageId, story: &Story) {
        let places = &story.places;
        match places.as_slice() {
            [] => self.lost(format!("message {id} is in no state at all")),
            [place] if place == "receipts" => {}
            [place] => self.stuck(format!("message {id} is still in {place}")),
            _ => self.doubled(format!("message {id} is in {places:?} at once")),
        }
        if story.receipt.is_some() && story.in_stream {
            self.stuck(format!("message {id} has ended and still holds its place in a stream"));
        }
    }

    /// It ended in a way it may end, with everything that belongs to that end, once.
    fn end(&mut self, id: MessageId, story: &Story) {
        let Some(receipt) = &story.receipt else { return };
        let part = self.part(story);
        let label = format!("message {id} ({part:?})");
        if receipt.attempts > story.max_attempts {
            let (made, allowed) = (receipt.attempts, story.max_attempts);
            self.doubled(format!("{label} took {made} attempts of {allowed}"));
        }
        let reclaimed = story.events(EventType::RECLAIMED.as_str()).len();
        if i64::try_from(reclaimed).is_ok_and(|reclaimed| reclaimed > receipt.attempts.into()) {
            let attempts = receipt.attempts;
            self.doubled(format!("{label} was reclaimed {reclaimed} times in {attempts} attempts"));
        }

        let failed = receipt.status == "failed";
        let expired = receipt.reason.as_deref() == Some("expired");
        let done = receipt.status == "done";
        match receipt.status.as_str() {
            "done" if part.effects().is_none() => {
                self.doubled(format!("{label} is done, which is impossible"));
            }
            "failed" => self.failure(&label, part, story, receipt),
            "cancelled" if self.planned(story).is_none_or(|one| one.cancel_after.is_none()) => {
                self.lost(format!("{label} was cancelled by nobody"));
            }
            _ => {}
        }
        let owed = if done { part.effects().unwrap_or_default() } else { Effects::default() };
        self.count(&label, "effect", story.effects.len(), owed.rows);
        self.count(&label, "event", story.events(acted().as_str()).len(), owed.events);
        for (event, due) in [
            (EventType::DEAD_LETTERED, failed && !expired),
            (EventType::EXPIRED, failed && expired),
            (EventType::CANCELLED, receipt.status == "cancelled"),
        ] {
            let there = story.events(event.as_str()).len();
            self.count(&label, event.as_str(), there, usize::from(due));
        }
        self.count(&label, "dead letter", story.letters.len(), usize::from(failed));
    }

    fn failure(&mut self, label: &str, part: Part, story: &Story, receipt: &Receipt) {
        let exhausted = receipt.attempts == story.max_attempts;
        let reason = receipt.reason.as_deref().unwrap_or("nothing");
        let may = match reason {
            "expired" => story.expires,
            "lease_lost" | "attempts_exhausted" => exhausted,
            "payload_invalid" => part == Part::Garbled,
            REFUSED => part == Part::Refuses,
            _ => false,
        };
        if !may {
            let attempts = receipt.attempts;
            self.lost(format!("{label} failed because of {reason}, in {attempts} attempts"));
        }
        if receipt.error.as_deref().is_none_or(str::is_empty) {
            self.lost(format!("{label} failed without a word"));
        }
        for letter in &story.letters {
            if letter.reason != reason || letter.attempts != receipt.attempts {
                self.lost(format!("{label} failed because of {reason}, but {letter:?} says"));
            }
        }
    }

    /// Each done parent has its follow-up, once and in its own trace; nobody else has one.
    fn follow_ups(&mut self) {
        let mut children: BTreeMap<MessageId, usize> = BTreeMap::new();
        for (id, story) in &self.history.stories {
            if story.role != Echo::ROLE {
                continue;
            }
            let parent = story.parent.and_then(|parent| self.history.stories.get(&parent));
            match (story.parent, parent) {
                (Some(number), Some(parent)) => {
                    *children.entry(number).or_default() += 1;
                    if parent.belongs_to != story.belongs_to {
                        self.lost(format!("echo {id} left the trace or tenant of {number}"));
                    }
                }
                _ => self.lost(format!("echo {id} has no parent")),
            }
        }
        for (id, story) in &self.history.stories {
            if story.role != Act::ROLE {
                continue;
            }
            let done = story.status() == Some("done");
            let effects = self.part(story).effects().filter(|_| done).unwrap_or_default();
            let there = children.get(id).copied().unwrap_or(0);
            self.count(&format!("message {id}"), "follow-up", there, effects.follow_ups);
        }
    }

    /// Within an ordering key one came after another, in the order of publishing.
    fn order(&mut self) {
        let mut streams: BTreeMap<&str, Vec<(MessageId, &Story)>> = BTreeMap::new();
        for (id, story) in &self.history.stories {
            if let Some(key) = &story.ordering_key {
                streams.entry(key).or_default().push((*id, story));
            }
        }
        for (key, stories) in streams {
            let numbers: Vec<i64> = stories.iter().filter_map(|(_, story)| story.n).collect();
            if !numbers.is_sorted() {
                self.doubled(format!("the ids of {key} are not in the order of publishing"));
            }
            self.turns(key, &stories);
        }
    }

    fn turns(&mut self, key: &str, stories: &[(MessageId, &Story)]) {
        // What nobody claimed (it expired, or was cancelled in the queue) had no turn to take.
        let settled: Vec<_> = stories
            .iter()
            .filter_map(|(id, story)| Some((id, story.receipt.as_ref()?)))
            .filter(|(_, receipt)| receipt.worker.is_some())
            .collect();
        for pair in settled.windows(2) {
            let [(before, first), (after, second)] = pair else { continue };
            if second.done_at < first.done_at {
                self.doubled(format!("{key}: message {after} ended before {before}"));
            }
        }
        let effects: Vec<_> = stories
            .iter()
            .flat_map(|(id, story)| story.effects.iter().map(move |effect| (id, effect)))
            .collect();
        for pair in effects.windows(2) {
            let [(before, first), (after, second)] = pair else { continue };
            if before != after && second.began < first.ended {
                self.doubled(format!("{key}: message {after} began before {before} had ended"));
            }
        }
    }

    fn planned(&self, story: &Story) -> Option<&Planned> {
        story.n.and_then(|n| self.plan.get(&n))
    }

    fn part(&self, story: &Story) -> Part {
        match (self.planned(story), story.parent) {
            (Some(planned), _) => planned.part,
            (None, Some(parent)) => Echo::part(parent),
            (None, None) => Part::Row,
        }
    }

    fn count(&mut self, label: &str, what: &str, there: usize, due: usize) {
        if there < due {
            self.lost(format!("{label} has {there} {what} and should have {due}"));
        }
        if there > due {
            self.doubled(format!("{label} has {there} {what} and should have {due}"));
        }
    }

    fn lost(&mut self, what: String) {
        self.findings.push(Finding { kind: Kind::Lost, what });
    }

    fn stuck(&mut self, what: String) {
        self.findings.push(Finding { kind: Kind::Stuck, what });
    }

    fn doubled(&mut self, what: String) {
        self.findings.push(Finding { kind: Kind::Doubled, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Effect, Letter};
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use time::OffsetDateTime;

    /// One act that writes a row, published, done, its row written.
    fn innocent() -> (BTreeMap<i64, Planned>, Accounts, History) {
        let sendings = crate::plan::plan(&mut StdRng::seed_from_u64(1), 1);
        let planned = Planned {
            part: Part::Row,
            ordering_key: None,
            cancel_after: None,
            ..sendings[0].messages[0].clone()
        };
        let receipt = Receipt {
            status: "done".to_owned(),
            attempts: 1,
            reason: None,
            error: None,
            worker: Some("worker-0".to_owned()),
            done_at: OffsetDateTime::UNIX_EPOCH,
        };
        let story = Story {
            role: Act::ROLE.to_owned(),
            n: Some(0),
            max_attempts: 3,
            places: vec!["receipts".to_owned()],
            receipt: Some(receipt),
            effects: vec![effect(0, 1)],
            ..Story::default()
        };
        let mut history = History::default();
        history.stories.insert(id(7), story);
        let mut accounts = Accounts::default();
        accounts.published.insert(0, Account::Acknowledged(id(7)));
        (BTreeMap::from([(0, planned)]), accounts, history)
    }

    fn id(number: i64) -> MessageId {
        number.try_into().unwrap()
    }

    fn effect(began: i64, ended: i64) -> Effect {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        Effect { began: at(began), ended: at(ended) }
    }

    /// What the judge finds when one thing is not as it should be.
    fn found(spoil: impl FnOnce(&mut Accounts, &mut Story)) -> Vec<Kind> {
        let (plan, mut accounts, mut history) = innocent();
        spoil(&mut accounts, history.stories.get_mut(&id(7)).unwrap());
        judge(&plan, &accounts, &history).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn nothing_is_found_where_nothing_is_wrong() {
        assert_eq!(found(|_, _| {}), []);
    }

    #[test]
    fn an_acknowledged_message_that_is_not_there_is_lost() {
        let (plan, accounts, _) = innocent();
        let findings = judge(&plan, &accounts, &History::default());
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].kind, Kind::Lost);
    }

    #[test]
    fn each_kind_of_wrong_is_told_by_its_name() {
        assert_eq!(found(|_, story| story.effects.clear()), [Kind::Lost]);
        assert_eq!(found(|_, story| story.effects.push(effect(2, 3))), [Kind::Doubled]);
        let rolled_back = |accounts: &mut Accounts| {
            accounts.published.insert(0, Account::RolledBack);
        };
        assert_eq!(found(|accounts, _| rolled_back(accounts)), [Kind::Doubled]);
        assert_eq!(found(|_, story| story.places.push("leases".to_owned())), [Kind::Doubled]);
        assert_eq!(found(|_, story| story.in_stream = true), [Kind::Stuck]);
        let queued = |story: &mut Story| {
            story.places = vec!["ready".to_owned()];
            story.receipt = None;
            story.effects.clear();
        };
        assert_eq!(found(|_, story| queued(story)), [Kind::Stuck]);
        let tried = |story: &mut Story| story.receipt.as_mut().unwrap().attempts = 4;
        assert_eq!(found(|_, story| tried(story)), [Kind::Doubled]);
    }

    #[test]
    fn a_failure_needs_a_reason_that_fits_and_a_dead_letter() {
        let failed = |reason: &str, attempts| {
            let reason = reason.to_owned();
            found(move |_, story| {
                let receipt = story.receipt.as_mut().unwrap();
                receipt.status = "failed".to_owned();
                receipt.attempts = attempts;
                receipt.reason = Some(reason.clone());
                receipt.error = Some("why".to_owned());
                story.effects.clear();
                story.letters.push(Letter { reason, attempts });
                story.events.insert("dead_lettered".to_owned(), vec![1]);
            })
        };
        assert_eq!(failed("lease_lost", 3), []);
        assert_eq!(failed("lease_lost", 2), [Kind::Lost]);
        assert_eq!(failed("payload_invalid", 1), [Kind::Lost]);
    }
}
