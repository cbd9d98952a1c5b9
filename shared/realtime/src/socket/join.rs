use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{Secret, quote};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

/// The server keeps what a replay can tell for 72 hours, and tells at most so many.
const MOST_REPLAYED: u8 = 25;
/// Binary frames count a topic's bytes in one byte, and `realtime:` belongs to it.
const LONGEST_TOPIC: usize = 255 - PREFIX.len();
const PREFIX: &str = "realtime:";
/// How far two machines' clocks may be apart when we ask for what we missed.
const SKEW: Duration = Duration::from_secs(60);

/// What to hear on a channel.
#[derive(Clone, Debug, Default)]
pub struct JoinOptions {
    /// Who may join is decided by the policies on `realtime.messages`.
    pub private: bool,
    /// Our own broadcasts are told to us too.
    pub broadcast_self: bool,
    /// [`send`](super::Channel::send) waits until the server confirms the broadcast.
    pub ack: bool,
    /// `Ready` waits until the server reads broadcasts from the database.
    pub replication_ready: bool,
    /// Tell broadcasts from before the join; only on private channels.
    pub replay: Option<Replay>,
    pub postgres_changes: Vec<ChangeFilter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    pub since: SystemTime,
    /// The newest so many, at most 25.
    pub limit: u8,
}

/// Which writes to hear of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    pub event: ChangeEvent,
    pub schema: String,
    /// None means every table of the schema.
    pub table: Option<String>,
    /// As in `service=eq.codegen`.
    pub filter: Option<String>,
    /// Only these columns; none means all.
    pub select: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangeEvent {
    #[default]
    All,
    Insert,
    Update,
    Delete,
}

/// Why a channel cannot even be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum InvalidJoin {
    #[error("a channel needs a topic")]
    #[diagnostic(help("name one, as in `bus:codegen/generate`"))]
    NoTopic,
    #[error("the topic {} is longer than {LONGEST_TOPIC} bytes", quote(.0))]
    #[diagnostic(help("choose a shorter one; the wire has no room for it"))]
    LongTopic(String),
    #[error("the topic {} has control characters in it", quote(.0))]
    #[diagnostic(help("use letters, digits and punctuation"))]
    UnreadableTopic(String),
    #[error("the topic {} begins with `{PREFIX}`", quote(.0))]
    #[diagnostic(help("leave `{PREFIX}` out; it is added on the wire"))]
    PrefixedTopic(String),
    #[error("the channel {} is already joined on this connection", quote(.0))]
    #[diagnostic(help("share the channel, or drop it first: the server keeps one per topic"))]
    Twice(String),
    #[error("a replay needs a private channel")]
    #[diagnostic(help("set `private`, or leave `replay` out"))]
    PublicReplay,
    #[error("a replay of {0} broadcasts is not possible")]
    #[diagnostic(help("ask for 1 to {MOST_REPLAYED}"))]
    ReplayLimit(u8),
    #[error("filter {0} of the join names no schema")]
    #[diagnostic(help("name one, as in `public`"))]
    NoSchema(usize),
    #[error("filter {0} of the join has conditions or columns but no table")]
    #[diagnostic(help("name the table that they are about"))]
    NoTable(usize),
}

pub(crate) fn check(topic: &str, options: &JoinOptions) -> Result<(), InvalidJoin> {
    let named = || topic.to_owned();
    if topic.is_empty() {
        return Err(InvalidJoin::NoTopic);
    }
    if topic.len() > LONGEST_TOPIC {
        return Err(InvalidJoin::LongTopic(named()));
    }
    if topic.chars().any(char::is_control) {
        return Err(InvalidJoin::UnreadableTopic(named()));
    }
    if topic.starts_with(PREFIX) {
        return Err(InvalidJoin::PrefixedTopic(named()));
    }
    if let Some(replay) = options.replay {
        if !options.private {
            return Err(InvalidJoin::PublicReplay);
        }
        if !(1..=MOST_REPLAYED).contains(&replay.limit) {
            return Err(InvalidJoin::ReplayLimit(replay.limit));
        }
    }
    for (number, filter) in options.postgres_changes.iter().enumerate() {
        if filter.schema.is_empty() {
            return Err(InvalidJoin::NoSchema(number));
        }
        if filter.table.is_none() && (filter.filter.is_some() || !filter.select.is_empty()) {
            return Err(InvalidJoin::NoTable(number));
        }
    }
    Ok(())
}

/// The topic as the wire knows it.
pub(crate) fn wire_topic(topic: &str) -> String {
    format!("{PREFIX}{topic}")
}

/// The payload of `phx_join`. `down_since` is when we stopped hearing, if we ever heard.
pub(crate) fn payload(
    options: &JoinOptions,
    down_since: Option<SystemTime>,
    token: Option<&Secret>,
) -> Box<RawValue> {
    let mut broadcast = json!({ "self": options.broadcast_self, "ack": options.ack });
    if options.replication_ready {
        broadcast["replication_ready"] = json!(true);
    }
    if let Some(Replay { since, limit }) = options.replay {
        let missed = down_since.and_then(|down| down.checked_sub(SKEW));
        let since = missed.map_or(since, |missed| missed.max(since));
        broadcast["replay"] = json!({ "since": unix_ms(since), "limit": limit });
    }
    let mut payload = json!({ "config": {
        "broadcast": broadcast,
        "presence": { "enabled": false, "key": "" },
        "private": options.private,
        "postgres_changes": options.postgres_changes.iter().map(filter).collect::<Vec<_>>(),
    }});
    if let Some(token) = token {
        payload["access_token"] = json!(token.expose());
    }
    to_raw_value(&payload).expect("a JSON value can be written as JSON")
}

/// The payload of `access_token`: who we are from now on.
pub(crate) fn token_payload(token: &Secret) -> Box<RawValue> {
    let payload = to_raw_value(&json!({ "access_token": token.expose() }));
    payload.expect("a JSON value can be written as JSON")
}

fn filter(filter: &ChangeFilter) -> Value {
    let mut wanted = json!({
        "event": match filter.event {
            ChangeEvent::All => "*",
            ChangeEvent::Insert => "INSERT",
            ChangeEvent::Update => "UPDATE",
            ChangeEvent::Delete => "DELETE",
        },
        "schema": filter.schema,
    });
    if let Some(table) = &filter.table {
        wanted["table"] = json!(table);
    }
    if let Some(condition) = &filter.filter {
        wanted["filter"] = json!(condition);
    }
    if !filter.select.is_empty() {
        wanted["select"] = json!(filter.select);
    }
    wanted
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn replaying() -> JoinOptions {
        let replay = Some(Replay { since: at(1_000), limit: 25 });
        JoinOptions { private: true, replay, ..JoinOptions::default() }
    }

    #[test]
    fn a_join_says_what_it_wants_to_hear() {
        let secret = Secret::new("a-token".to_owned());
        let insert = ChangeFilter {
            event: ChangeEvent::Insert,
            schema: "public".to_owned(),
            table: Some("agent_messages".to_owned()),
            filter: Some("service=eq.codegen".to_owned()),
            select: vec!["id".to_owned()],
        };
        let all = ChangeFilter { schema: "public".to_owned(), ..ChangeFilter::default() };
        let options = JoinOptions {
            replication_ready: true,
            postgres_changes: vec![insert, all],
            ..replaying()
        };
        let joined: Value =
            serde_json::from_str(payload(&options, None, Some(&secret)).get()).unwrap();
        let expected = json!({
            "access_token": "a-token",
            "config": {
                "private": true,
                "presence": { "enabled": false, "key": "" },
                "broadcast": {
                    "self": false, "ack": false, "replication_ready": true,
                    "replay": { "since": 1_000_000, "limit": 25 },
                },
                "postgres_changes": [
                    { "event": "INSERT", "schema": "public", "table": "agent_messages",
                      "filter": "service=eq.codegen", "select": ["id"] },
                    { "event": "*", "schema": "public" },
                ],
            },
        });
        assert_eq!(joined, expected);
        assert!(!payload(&options, None, None).get().contains("access_token"));
    }

    #[test]
    fn a_rejoin_asks_for_what_was_missed() {
        for (down_since, since) in
            [(None, 1_000_000), (Some(at(1_030)), 1_000_000), (Some(at(2_060)), 2_000_000)]
        {
            let payload: Value =
                serde_json::from_str(payload(&replaying(), down_since, None).get()).unwrap();
            assert_eq!(payload["config"]["broadcast"]["replay"]["since"], since);
        }
    }

    #[test]
    fn what_cannot_be_joined_is_refused_before_it_is_sent() {
        let plain = JoinOptions::default;
        let with = |filter| JoinOptions { postgres_changes: vec![filter], ..plain() };
        let public = || ChangeFilter { schema: "public".to_owned(), ..ChangeFilter::default() };
        let limit =
            |limit| JoinOptions { replay: Some(Replay { since: at(0), limit }), ..replaying() };
        let long = "x".repeat(LONGEST_TOPIC + 1);
        for (topic, options, expected) in [
            ("", plain(), InvalidJoin::NoTopic),
            (long.as_str(), plain(), InvalidJoin::LongTopic(long.clone())),
            ("a\nb", plain(), InvalidJoin::UnreadableTopic("a\nb".to_owned())),
            ("realtime:a", plain(), InvalidJoin::PrefixedTopic("realtime:a".to_owned())),
            ("a", JoinOptions { private: false, ..replaying() }, InvalidJoin::PublicReplay),
            ("a", limit(0), InvalidJoin::ReplayLimit(0)),
            ("a", limit(26), InvalidJoin::ReplayLimit(26)),
            ("a", with(ChangeFilter::default()), InvalidJoin::NoSchema(0)),
            (
                "a",
                with(ChangeFilter { filter: Some("a=eq.1".to_owned()), ..public() }),
                InvalidJoin::NoTable(0),
            ),
        ] {
            assert_eq!(check(topic, &options), Err(expected));
        }
        assert_eq!(check(&long[1..], &with(public())), Ok(()));
    }
}
