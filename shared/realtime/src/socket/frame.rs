//! What goes over the wire: text frames of both protocol versions, and the binary broadcasts of the
//! newer one. Pure: bytes in, frames out.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How frames are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `1.0.0`: objects, text only. Broadcasts with a binary payload never arrive.
    V1,
    /// `2.0.0`: arrays, and broadcasts from the database as binary frames.
    #[default]
    V2,
}

impl Protocol {
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::V1 => "1.0.0",
            Self::V2 => "2.0.0",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Which join of the channel this belongs to.
    pub(crate) join_ref: Option<String>,
    /// Which frame of ours this answers.
    pub(crate) reference: Option<String>,
    pub(crate) topic: String,
    pub(crate) event: String,
    pub(crate) payload: Box<RawValue>,
}

/// A broadcast, whichever way it came.
#[derive(Clone, Debug)]
pub struct Broadcast {
    pub event: String,
    pub payload: Payload,
    /// Given by the database to what it broadcasts; clients' broadcasts have none.
    pub id: Option<String>,
    /// It was sent before we joined and is told again because the join asked for it.
    pub replayed: bool,
}

#[derive(Clone, Debug)]
pub enum Payload {
    Json(Box<RawValue>),
    Binary(Vec<u8>),
}

impl Payload {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(json) => json.get().len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Incoming {
    Frame(Frame),
    Broadcast { topic: String, broadcast: Broadcast },
}

/// Never quotes the frame: it may hold somebody's data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it is not the JSON that protocol {0} is made of")]
    Text(&'static str),
    #[error("its payload is not that of a {0}")]
    Payload(&'static str),
    #[error("binary frames of kind {0} are unknown")]
    Kind(u8),
    #[error("payload encoding {0} is unknown")]
    Encoding(u8),
    #[error("it is shorter than it says")]
    Short,
    #[error("its {0} is not UTF-8")]
    NotText(&'static str),
    #[error("its {0} is not JSON")]
    NotJson(&'static str),
}

#[derive(Deserialize, Serialize)]
struct Object {
    topic: String,
    event: String,
    payload: Box<RawValue>,
    #[serde(rename = "ref", default)]
    reference: Option<String>,
    #[serde(default)]
    join_ref: Option<String>,
}

pub(crate) fn encode(protocol: Protocol, frame: &Frame) -> String {
    let text = match protocol {
        Protocol::V2 => serde_json::to_string(&(
            &frame.join_ref,
            &frame.reference,
            &frame.topic,
            &frame.event,
            &frame.payload,
        )),
        Protocol::V1 => serde_json::to_string(&Object {
            topic: frame.topic.clone(),
            event: frame.event.clone(),
            payload: frame.payload.clone(),
            reference: frame.reference.clone(),
            join_ref: frame.join_ref.clone(),
        }),
    };
    text.expect("strings and JSON can be written as JSON")
}

pub(crate) fn decode_text(protocol: Protocol, text: &str) -> Result<Frame, Malformed> {
    let malformed = |_| Malformed::Text(protocol.version());
    match protocol {
        Protocol::V2 => {
            let (join_ref, reference, topic, event, payload) =
                serde_json::from_str(text).map_err(malformed)?;
            Ok(Frame { join_ref, reference, topic, event, payload })
        }
        // An array would be taken for the members of an object in their order.
        Protocol::V1 if !text.trim_start().starts_with('{') => {
            Err(Malformed::Text(protocol.version()))
        }
        Protocol::V1 => {
            let Object { topic, event, payload, reference, join_ref } =
                serde_json::from_str(text).map_err(malformed)?;
            Ok(Frame { join_ref, reference, topic, event, payload })
        }
    }
}

/// Kind, four lengths and encodings, then topic, event, what is known about it, and the payload.
const USER_BROADCAST: u8 = 4;
const JSON: u8 = 1;
const BINARY: u8 = 0;

pub(crate) fn decode_binary(bytes: &[u8]) -> Result<Incoming, Malformed> {
    let (&kind, rest) = bytes.split_first().ok_or(Malformed::Short)?;
    if kind != USER_BROADCAST {
        return Err(Malformed::Kind(kind));
    }
    let (&[topic, event, meta, encoding], mut rest) =
        rest.split_first_chunk::<4>().ok_or(Malformed::Short)?;
    let mut part = |name, length: u8| {
        let (part, after) = rest.split_at_checked(length.into()).ok_or(Malformed::Short)?;
        rest = after;
        std::str::from_utf8(part).map_err(|_| Malformed::NotText(name))
    };
    let topic = part("topic", topic)?.to_owned();
    let event = part("event", event)?.to_owned();
    let meta = match part("metadata", meta)? {
        "" => Meta::default(),
        text => serde_json::from_str(text).map_err(|_| Malformed::NotJson("metadata"))?,
    };
    let payload = match encoding {
        JSON => {
            Payload::Json(serde_json::from_slice(rest).map_err(|_| Malformed::NotJson("payload"))?)
        }
        BINARY => Payload::Binary(rest.to_owned()),
        other => return Err(Malformed::Encoding(other)),
    };
    let Meta { id, replayed } = meta;
    Ok(Incoming::Broadcast { topic, broadcast: Broadcast { event, payload, id, replayed } })
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    replayed: bool,
}

/// The payload of a text frame whose event is `broadcast`.
pub(crate) fn broadcast(payload: &RawValue) -> Result<Broadcast, Malformed> {
    #[derive(Deserialize)]
    struct Envelope {
        event: String,
        #[serde(default)]
        payload: Option<Box<RawValue>>,
        #[serde(default)]
        meta: Option<Meta>,
    }
    let Envelope { event, payload, meta } =
        serde_json::from_str(payload.get()).map_err(|_| Malformed::Payload("broadcast"))?;
    let Meta { id, replayed } = meta.unwrap_or_default();
    let payload = Payload::Json(payload.unwrap_or_else(|| RawValue::NULL.to_owned()));
    Ok(Broadcast { event, payload, id, replayed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn told(frame: &Frame) -> (Option<&str>, Option<&str>, &str, &str, &str) {
        let Frame { join_ref, reference, topic, event, payload } = frame;
        (join_ref.as_deref(), reference.as_deref(), topic, event, payload.get())
    }

    /// A kind 4 frame as the server writes it.
    fn kind_4(topic: &str, event: &str, meta: &str, encoding: u8, payload: &[u8]) -> Vec<u8> {
        let length = |text: &str| u8::try_from(text.len()).unwrap();
        let mut bytes = vec![4, length(topic), length(event), length(meta), encoding];
        for part in [topic.as_bytes(), event.as_bytes(), meta.as_bytes(), payload] {
            bytes.extend_from_slice(part);
        }
        bytes
    }

    #[test]
    fn text_frames_are_read_in_both_versions() {
        let reply = (Some("1"), Some("1"), "realtime:work", "phx_reply", r#"{"status":"ok"}"#);
        let pushed = (None, None, "realtime:work", "broadcast", "{}");
        for (protocol, text, expected) in [
            (Protocol::V2, r#"["1","1","realtime:work","phx_reply",{"status":"ok"}]"#, reply),
            (Protocol::V2, r#"[null,null,"realtime:work","broadcast",{}]"#, pushed),
            (
                Protocol::V1,
                r#"{"ref":"1","join_ref":"1","topic":"realtime:work","event":"phx_reply","payload":{"status":"ok"}}"#,
                reply,
            ),
            (
                Protocol::V1,
                r#"{"ref":null,"topic":"realtime:work","event":"broadcast","payload":{},"new":1}"#,
                pushed,
            ),
        ] {
            assert_eq!(told(&decode_text(protocol, text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_text_frame_is_refused() {
        for text in ["", "null", "[]", "{}", r#"["1","1","t","e"]"#, r#"[1,1,"t","e",{}]"#, "[[[["]
        {
            for protocol in [Protocol::V1, Protocol::V2] {
                let malformed = Malformed::Text(protocol.version());
                assert_eq!(decode_text(protocol, text).unwrap_err(), malformed, "{text}");
            }
        }
    }

    #[test]
    fn binary_broadcasts_are_read_with_both_encodings() {
        let meta = r#"{"id":"5e1c","replayed":true}"#;
        for (bytes, event, payload, id, replayed) in [
            (kind_4("t", "work", meta, 1, b"{\"n\":1}"), "work", &b"{\"n\":1}"[..], "5e1c", true),
            (kind_4("t", "work", meta, 0, &[0, 255]), "work", &[0, 255], "5e1c", true),
            (kind_4("t", "", "", 0, b""), "", b"", "", false),
            (kind_4("t", "\u{e9}", "{}", 1, b"null"), "\u{e9}", b"null", "", false),
        ] {
            let Incoming::Broadcast { topic, broadcast } = decode_binary(&bytes).unwrap() else {
                panic!("{bytes:?} is a broadcast");
            };
            assert_eq!((topic.as_str(), broadcast.event.as_str()), ("t", event));
            match &broadcast.payload {
                Payload::Json(json) => assert_eq!(json.get().as_bytes(), payload),
                Payload::Binary(bytes) => assert_eq!(bytes, payload),
            }
            assert_eq!(broadcast.id.as_deref().unwrap_or_default(), id);
            assert_eq!(broadcast.replayed, replayed);
        }
    }

    #[test]
    fn a_broken_binary_frame_says_what_is_wrong_with_it() {
        for (bytes, malformed) in [
            (vec![], Malformed::Short),
            (vec![4, 1, 1], Malformed::Short),
            (vec![4, 200, 1, 1, 1, b't'], Malformed::Short),
            (vec![0, 1, 1, 1], Malformed::Kind(0)),
            (kind_4("t", "e", "", 7, b"{}"), Malformed::Encoding(7)),
            (kind_4("t", "e", "[", 1, b"{}"), Malformed::NotJson("metadata")),
            (kind_4("t", "e", "", 1, b"{"), Malformed::NotJson("payload")),
            (vec![4, 1, 0, 0, 0, 255], Malformed::NotText("topic")),
        ] {
            assert_eq!(decode_binary(&bytes).unwrap_err(), malformed, "{bytes:?}");
        }
    }

    #[test]
    fn only_the_envelope_names_a_broadcast() {
        let mine = raw(r#"{"type":"broadcast","event":"x","payload":{"id":"mine"}}"#);
        let envelope = broadcast(&mine).unwrap();
        assert_eq!((envelope.id, envelope.replayed), (None, false));
        let theirs = raw(r#"{"event":"x","meta":{"id":"a","replayed":true}}"#);
        let envelope = broadcast(&theirs).unwrap();
        assert_eq!((envelope.id.as_deref(), envelope.replayed), (Some("a"), true));
        assert_eq!(broadcast(&raw("[]")).unwrap_err(), Malformed::Payload("broadcast"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            join_ref in proptest::option::of(".*"),
            reference in proptest::option::of(".*"),
            topic in ".*",
            event in ".*",
            payload in ".*",
        ) {
            let payload = serde_json::value::to_raw_value(&payload).unwrap();
            let frame = Frame { join_ref, reference, topic, event, payload };
            for protocol in [Protocol::V1, Protocol::V2] {
                let read = decode_text(protocol, &encode(protocol, &frame)).unwrap();
                prop_assert_eq!(told(&read), told(&frame));
            }
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>, text in ".*") {
            let _ = decode_binary(&bytes);
            let mut broadcast_like = vec![4];
            broadcast_like.extend_from_slice(&bytes);
            let _ = decode_binary(&broadcast_like);
            for protocol in [Protocol::V1, Protocol::V2] {
                let _ = decode_text(protocol, &text);
                let _ = decode_text(protocol, &format!(r#"["1",{text},"#));
            }
        }

        #[test]
        fn a_cut_frame_never_panics(cut in 0_usize..64, flip in 0_usize..64, to: u8) {
            let mut bytes = kind_4("realtime:t", "work", r#"{"id":"1"}"#, 1, b"{\"n\":1}");
            let flipped = flip % bytes.len();
            bytes[flipped] = to;
            bytes.truncate(cut);
            let _ = decode_binary(&bytes);
        }
    }
}
