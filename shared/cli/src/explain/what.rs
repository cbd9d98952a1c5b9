use std::str::FromStr;

use model::{AgentName, MessageId, TraceId, quote};
use uuid::Uuid;

/// A thing that can be explained, by what people have at hand of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Message(MessageId),
    Event(i64),
    Trace(TraceId),
    Release(Uuid),
    /// Its latest release, unless a tag is named.
    Agent(AgentName),
    Worker(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidWhat {
    #[error(
        "{} is nothing that can be explained: a message's number, a release's id, an agent's name, \
         event:<number>, a trace id (32 hex digits), or worker:<id>",
        quote(.0)
    )]
    Nothing(String),
    #[error("{} is no {kind}: {needs}", quote(.text))]
    Wrong { kind: &'static str, text: String, needs: &'static str },
}

impl FromStr for What {
    type Err = InvalidWhat;

    fn from_str(text: &str) -> Result<Self, InvalidWhat> {
        if let Some((kind, rest)) = text.split_once(':') {
            let wrong = |kind, needs| InvalidWhat::Wrong { kind, text: rest.to_owned(), needs };
            return match kind {
                "message" => rest
                    .parse()
                    .map(Self::Message)
                    .map_err(|_| wrong("message", "write a whole number from 1")),
                "event" => rest
                    .parse()
                    .ok()
                    .filter(|number| *number > 0)
                    .map(Self::Event)
                    .ok_or_else(|| wrong("event", "write a whole number from 1")),
                "trace" => rest
                    .parse()
                    .map(Self::Trace)
                    .map_err(|_| wrong("trace", "write its 32 hex digits")),
                "release" => hyphenated(rest)
                    .map(Self::Release)
                    .ok_or_else(|| wrong("release", "write its id, or its agent and its tag")),
                "agent" => rest
                    .parse()
                    .map(Self::Agent)
                    .map_err(|_| wrong("agent", "it is called cogo-<domain>-<role>")),
                "worker" if !rest.is_empty() => Ok(Self::Worker(rest.to_owned())),
                _ => Err(InvalidWhat::Nothing(text.to_owned())),
            };
        }
        // A trace id may consist of decimal digits alone, but no message number is that long.
        let trace = text.parse().map(Self::Trace).ok();
        let message = || text.parse().map(Self::Message).ok();
        let release = || hyphenated(text).map(Self::Release);
        let agent = || text.parse().map(Self::Agent).ok();
        let what = trace.or_else(message).or_else(release).or_else(agent);
        what.ok_or_else(|| InvalidWhat::Nothing(text.to_owned()))
    }
}

/// Without its hyphens it would be a trace id.
fn hyphenated(text: &str) -> Option<Uuid> {
    text.contains('-').then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_thing_is_told_by_how_it_is_written() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let release = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let message = |number: &str| What::Message(number.parse().unwrap());
        let agent = || What::Agent("cogo-codegen-worker".parse().unwrap());
        for (text, what) in [
            ("42", message("42")),
            ("message:42", message("42")),
            ("event:7", What::Event(7)),
            (trace, What::Trace(trace.parse().unwrap())),
            ("trace:4bf92f3577b34da6a3ce929d0e0e4736", What::Trace(trace.parse().unwrap())),
            (release, What::Release(release.parse().unwrap())),
            (
                "release:67e55044-10b1-426f-9247-bb680e5fe0c8",
                What::Release(release.parse().unwrap()),
            ),
            ("cogo-codegen-worker", agent()),
            ("agent:cogo-codegen-worker", agent()),
            ("worker:host:8080", What::Worker("host:8080".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(what), "{text}");
        }
    }

    #[test]
    fn what_is_nothing_is_refused_with_what_there_is() {
        for (text, says) in [
            ("", "a message's number"),
            ("0", "a message's number"),
            ("codegen-worker", "a message's number"),
            ("worker:", "a message's number"),
            ("thing:1", "a message's number"),
            ("event:0", "is no event"),
            ("event:x", "is no event"),
            ("trace:4bf9", "is no trace"),
            ("release:4bf92f3577b34da6a3ce929d0e0e4736", "is no release"),
            ("agent:codegen", "is no agent"),
            ("message:-1", "is no message"),
        ] {
            let error = text.parse::<What>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_more_than_it_can_bear(text in ".{0,80}") {
            let _ = text.parse::<What>();
            let _ = format!("event:{text}").parse::<What>();
        }
    }
}
