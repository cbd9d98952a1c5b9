use std::time::{Duration, UNIX_EPOCH};

use model::Secret;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use crate::binding::Binding;

/// What a client asks for when it joins a channel. What it leaves out is off.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Join {
    pub(crate) config: Config,
    pub(crate) access_token: Option<Secret>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) private: bool,
    pub(crate) broadcast: Wishes,
    pub(crate) presence: Presence,
    /// As the client said them: it compares them with what we give back.
    pub(crate) postgres_changes: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wishes {
    /// Whether the sender of a broadcast hears it, too.
    #[serde(rename = "self")]
    pub(crate) own: bool,
    /// Whether a broadcast is answered.
    pub(crate) ack: bool,
    pub(crate) replication_ready: bool,
    pub(crate) replay: Option<Replay>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Presence {
    pub(crate) enabled: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Replay {
    /// In milliseconds since 1970.
    pub(crate) since: i64,
    #[serde(default = "most")]
    pub(crate) limit: i64,
}

/// Of all messages since a time, the newest so many.
const MOST: i64 = 25;

fn most() -> i64 {
    MOST
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidJoin {
    #[error("UnmatchedTopic: a channel is called realtime:<name>, where the name is not empty")]
    Topic,
    #[error("InvalidJoinPayload: {0}")]
    Payload(String),
    #[error("InvalidReplayParams: Replay is for private channels only")]
    PublicReplay,
    #[error("InvalidReplayParams: since must be a time in milliseconds, limit from 1 to {MOST}")]
    Replay,
}

impl Join {
    pub(crate) fn parse(payload: &str) -> Result<Self, InvalidJoin> {
        // What serde says quotes what it refuses, and a token is among it.
        let told = |error: serde_json::Error| {
            InvalidJoin::Payload(match error.classify() {
                serde_json::error::Category::Data => {
                    format!("a value has the wrong type, at column {}", error.column())
                }
                _ => "it is no JSON object".to_owned(),
            })
        };
        let join: Option<Self> = serde_json::from_str(payload).map_err(told)?;
        let join = join.unwrap_or_default();
        if let Some(replay) = &join.config.broadcast.replay {
            if !join.config.private {
                return Err(InvalidJoin::PublicReplay);
            }
            if !(1..=MOST).contains(&replay.limit) || replay.since().is_none() {
                return Err(InvalidJoin::Replay);
            }
        }
        Ok(join)
    }

    /// What is after `realtime:`.
    pub(crate) fn name(topic: &str) -> Result<&str, InvalidJoin> {
        let name = topic.strip_prefix("realtime:").filter(|name| !name.is_empty());
        name.ok_or(InvalidJoin::Topic)
    }

    /// With the id that changes will carry. What cannot be subscribed to is told after the join.
    pub(crate) fn answer(&self) -> Value {
        let bindings = self.config.postgres_changes.iter().map(|asked| {
            let mut told = asked.clone();
            if let Value::Object(told) = &mut told {
                told.insert("id".to_owned(), Binding::id(asked).into());
            }
            told
        });
        serde_json::json!({ "postgres_changes": bindings.collect::<Vec<_>>() })
    }
}

impl Replay {
    pub(crate) fn since(&self) -> Option<OffsetDateTime> {
        let since = Duration::from_millis(u64::try_from(self.since).ok()?);
        let since = UNIX_EPOCH.checked_add(since)?;
        // Postgres has no later year; time's own limit is below.
        let latest = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        (since <= latest).then(|| since.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_left_out_is_off() {
        for text in ["{}", "null", r#"{"config":{}}"#, r#"{"config":{"broadcast":{}},"more":1}"#] {
            let join = Join::parse(text).unwrap();
            assert!(!join.config.private && !join.config.broadcast.own, "{text}");
            assert!(join.config.broadcast.replay.is_none() && join.access_token.is_none());
        }
        let text = r#"{"config":{"private":true,"broadcast":{"self":true,"ack":true,
            "replication_ready":true,"replay":{"since":1000}}},"access_token":"t"}"#;
        let join = Join::parse(text).unwrap();
        let broadcast = join.config.broadcast;
        assert!(broadcast.own && broadcast.ack && broadcast.replication_ready);
        let replay = broadcast.replay.unwrap();
        assert_eq!((replay.limit, replay.since().unwrap().unix_timestamp()), (25, 1));
    }

    #[test]
    fn a_wrong_join_is_refused_with_a_reason_and_without_its_token() {
        let replay = |private: bool, replay: &str| {
            format!(r#"{{"config":{{"private":{private},"broadcast":{{"replay":{replay}}}}}}}"#)
        };
        for (text, why) in [
            ("[".to_owned(), "no JSON object"),
            (r#"{"config":{"private":"yes"}}"#.to_owned(), "wrong type, at column 26"),
            (r#"{"access_token":{"a":"hunter2"}}"#.to_owned(), "wrong type"),
            (replay(false, r#"{"since":1}"#), "private channels only"),
            (replay(true, r#"{"since":1,"limit":26}"#), "from 1 to 25"),
            (replay(true, r#"{"since":1,"limit":0}"#), "from 1 to 25"),
            (replay(true, r#"{"since":-1}"#), "from 1 to 25"),
            (replay(true, r#"{"since":9223372036854775807}"#), "from 1 to 25"),
        ] {
            let error = Join::parse(&text).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
        }
        for topic in ["", "realtime:", "phoenix", "Realtime:a"] {
            assert_eq!(Join::name(topic), Err(InvalidJoin::Topic), "{topic}");
        }
        assert_eq!(Join::name("realtime:a:b"), Ok("a:b"));
    }

    proptest! {
        #[test]
        fn no_payload_makes_parsing_panic(since: i64, limit: i64, text in "\\PC{0,40}") {
            let _ = Join::parse(&text);
            let _ = Join::parse(&format!(
                r#"{{"config":{{"private":true,"broadcast":{{"replay":{{"since":{since},"limit":{limit}}}}}}}}}"#
            ));
        }
    }
}
