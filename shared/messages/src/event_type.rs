use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use model::{quote, text_type};

/// What happened, as `<stage>_<what>`: `codegen_done`. The bus's own events need no stage:
/// `reclaimed`.
///
/// A word rather than an enum, because people's own stages report their own events. Those Cogo
/// itself writes are constants here, so that none is ever spelled by hand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(Cow<'static, str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not an event type; write at most 63 lower-case letters and digits, words joined by \
     `_`, as in `codegen_done`",
    quote(.0)
)]
pub struct InvalidEventType(String);

/// Writes each known type once: its constant, its text, and its meaning for people.
macro_rules! known {
    ($($(#[doc = $meaning:literal])+ $name:ident = $text:literal;)+) => {
        impl EventType {
            $($(#[doc = $meaning])+ pub const $name: EventType = EventType(Cow::Borrowed($text));)+

            /// Every type Cogo itself writes, with what it means.
            pub const KNOWN: &'static [(EventType, &'static str)] =
                &[$((EventType::$name, concat!($($meaning),+).trim_ascii())),+];
        }
    };
}

known! {
    /// It was decided what becomes of an intent.
    ORCHESTRATE_DECISION = "orchestrate_decision";
    /// The execution that an intent asks for was published.
    ORCHESTRATE_ENQUEUED = "orchestrate_enqueued";

    /// An execution was forwarded to its target.
    EXECUTE_ENQUEUED = "execute_enqueued";
    /// An execution waits, or its target tries again; the reason says why.
    EXECUTE_RETRY = "execute_retry";
    /// An execution was refused, or its target's message failed or was cancelled.
    EXECUTE_FAILED = "execute_failed";
    /// The target's message is done.
    EXECUTE_DONE = "execute_done";
    /// So many executions at a target failed that the next ones wait.
    CIRCUIT_OPENED = "circuit_opened";
    /// Executions at a target go on.
    CIRCUIT_CLOSED = "circuit_closed";

    /// An executor began to make code.
    CODEGEN_STARTED = "codegen_started";
    /// What an executor said on its way.
    CODEGEN_PROGRESS = "codegen_progress";
    /// Artifacts were written and the next stage published.
    CODEGEN_DONE = "codegen_done";
    /// An attempt to make code failed.
    CODEGEN_FAILED = "codegen_failed";

    /// A build began.
    BUILDTEST_STARTED = "buildtest_started";
    /// What a build said on its way.
    BUILDTEST_PROGRESS = "buildtest_progress";
    /// Everything was built and every test passed.
    BUILDTEST_DONE = "buildtest_done";
    /// A build or its tests failed.
    BUILDTEST_FAILED = "buildtest_failed";

    /// A tag was recorded as a release of an agent.
    ROLLOUT_RECORDED = "rollout_recorded";
    /// Somebody asked for a release to run.
    ROLLOUT_PROMOTED = "rollout_promoted";
    /// The registry has said which image a release is.
    ROLLOUT_RESOLVED = "rollout_resolved";
    /// A release is the next to be deployed.
    ROLLOUT_QUEUED = "rollout_queued";
    /// A release cannot be tried; the reason says why, and nothing was touched.
    ROLLOUT_REJECTED = "rollout_rejected";
    /// A newer release took the place of one that was not active yet.
    ROLLOUT_SUPERSEDED = "rollout_superseded";
    /// A release is deployed for one shard or tenant.
    ROLLOUT_CANARY_DEPLOYING = "rollout_canary_deploying";
    /// A release that serves one shard or tenant is watched.
    ROLLOUT_CANARY_VERIFYING = "rollout_canary_verifying";
    /// A release is deployed.
    ROLLOUT_DEPLOYING = "rollout_deploying";
    /// A deployed release is watched.
    ROLLOUT_VERIFYING = "rollout_verifying";
    /// A release runs as it should.
    ROLLOUT_ACTIVE = "rollout_active";
    /// A release does not run as it should; the reason says why.
    ROLLOUT_FAILED = "rollout_failed";
    /// What ran before a failed release is deployed again.
    ROLLOUT_ROLLING_BACK = "rollout_rolling_back";
    /// What ran before a failed release runs again.
    ROLLOUT_ROLLED_BACK = "rollout_rolled_back";
    /// What ran before a failed release does not run either: somebody must look.
    ROLLOUT_ROLLBACK_FAILED = "rollout_rollback_failed";
    /// Nothing had run before a failed release, so nothing runs now.
    ROLLOUT_SCALED_DOWN = "rollout_scaled_down";
    /// An agent was added to the catalogue.
    AGENT_ADDED = "agent_added";
    /// An agent of the catalogue was changed, paused or resumed.
    AGENT_CHANGED = "agent_changed";
    /// An agent was taken out of the catalogue.
    AGENT_REMOVED = "agent_removed";
    /// An account at a registry was added.
    ACCOUNT_ADDED = "account_added";
    /// An account at a registry was changed.
    ACCOUNT_CHANGED = "account_changed";
    /// An account at a registry was removed.
    ACCOUNT_REMOVED = "account_removed";
    /// A pull secret was linked to an account.
    PULL_SECRET_ADDED = "pull_secret_added";
    /// A link between a pull secret and an account was changed.
    PULL_SECRET_CHANGED = "pull_secret_changed";
    /// A link between a pull secret and an account was removed.
    PULL_SECRET_REMOVED = "pull_secret_removed";
    /// A pull secret was written with what its account has now.
    PULL_SECRET_SYNCED = "pull_secret_synced";
    /// A pull secret could not be written.
    PULL_SECRET_FAILED = "pull_secret_failed";

    /// A message asked for what its assignment does not allow.
    GATE_VIOLATION = "gate_violation";
    /// The work waits for a person's answer.
    HUMAN_RESPONSE_REQUIRED = "human_response_required";

    /// A probe arrived: the bus works from end to end.
    PROBE_DONE = "probe_done";

    /// An attempt failed, and another follows; what went wrong is in the payload.
    RETRIED = "retried";
    /// A worker lost its lease; the message went back to the queue.
    RECLAIMED = "reclaimed";
    /// A message failed for good; the reason is in the dead letters.
    DEAD_LETTERED = "dead_lettered";
    /// A message outlived its `expires_at` before anybody finished it.
    EXPIRED = "expired";
    /// Somebody cancelled a message.
    CANCELLED = "cancelled";
    /// A finished message was sent again as a new one.
    REPLAYED = "replayed";
    /// A route stopped handing out messages.
    ROUTE_PAUSED = "route_paused";
    /// A route hands out messages again.
    ROUTE_RESUMED = "route_resumed";
}

impl EventType {
    /// What the check constraint in SQL says, beside a length of at most [`EventType::LONGEST`].
    pub const PATTERN: &'static str = "^[a-z][a-z0-9]*(_[a-z0-9]+)*$";
    pub const LONGEST: usize = 63;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it means, if it is one of ours.
    pub fn meaning(&self) -> Option<&'static str> {
        Self::KNOWN.iter().find(|(known, _)| known == self).map(|(_, meaning)| *meaning)
    }
}

impl FromStr for EventType {
    type Err = InvalidEventType;

    fn from_str(text: &str) -> Result<Self, InvalidEventType> {
        let valid = text.len() <= Self::LONGEST
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.split('_').all(|part| {
                !part.is_empty() && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'))
            });
        if valid {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(InvalidEventType(text.to_owned()))
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

text_type!(EventType);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_event_type_is_snake_case() {
        let (longest, too_long) = ("e".repeat(63), "e".repeat(64));
        for text in ["reclaimed", "codegen_done", "a_1", "v2_done", &longest] {
            assert_eq!(text.parse::<EventType>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "_",
            "_done",
            "codegen_",
            "codegen__done",
            "1_done",
            "Done",
            "a-b",
            "a b",
            &too_long,
        ] {
            assert_eq!(text.parse::<EventType>(), Err(InvalidEventType(text.to_owned())));
        }
    }

    #[test]
    fn every_known_type_is_valid_unique_and_explained() {
        let mut seen = BTreeSet::new();
        for (known, meaning) in EventType::KNOWN {
            assert_eq!(known.as_str().parse().as_ref(), Ok(known));
            assert!(seen.insert(known), "{known} is listed twice");
            assert!(meaning.ends_with('.'), "{known}: {meaning:?} is no sentence");
        }
        assert_eq!(
            EventType::RECLAIMED.meaning(),
            Some("A worker lost its lease; the message went back to the queue.")
        );
        assert_eq!("deploy_done".parse::<EventType>().unwrap().meaning(), None);
    }

    proptest! {
        #[test]
        fn whatever_the_pattern_makes_is_an_event_type_unless_it_is_too_long(
            // proptest does not know `^` and `$`.
            text in EventType::PATTERN.trim_matches(['^', '$'])
        ) {
            match text.parse::<EventType>() {
                Ok(parsed) => prop_assert_eq!(parsed.to_string(), text),
                Err(_) => prop_assert!(text.len() > EventType::LONGEST),
            }
        }
    }
}
