//! What goes over a socket, in both versions of the protocol: texts, and for broadcasts in version
//! 2.0.0 binary frames with a header of lengths.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Objects.
    V1,
    /// Arrays, and binary broadcasts.
    V2,
}

/// What a client says. References are given back as they came.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) join_ref: Value,
    pub(crate) reference: Value,
    pub(crate) topic: String,
    pub(crate) event: String,
    pub(crate) payload: Payload,
}

#[derive(Debug)]
pub(crate) enum Payload {
    Json(Box<RawValue>),
    /// From a binary frame.
    Broadcast {
        event: String,
        body: Body,
    },
}

/// What somebody broadcasts.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Json(Box<RawValue>),
    /// Only for clients that speak version 2.0.0.
    Binary(Bytes),
}

/// A broadcast on its way to clients.
#[derive(Clone, Debug)]
pub(crate) struct Broadcast {
    pub(crate) event: String,
    pub(crate) body: Body,
    pub(crate) meta: Option<Meta>,
    /// What was sent over HTTP, and what is replayed, comes as text in either version.
    pub(crate) as_text: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Meta {
    pub(crate) id: Uuid,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) replayed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a text frame must be {{topic, event, payload, ref, join_ref}}")]
    Object,
    #[error("a text frame must be [join_ref, ref, topic, event, payload]")]
    Array,
    #[error("version 1.0.0 has no binary frames")]
    Unexpected,
    #[error("a binary frame must be a broadcast: kind 3, six lengths, and what they count")]
    Binary,
}

const BROADCAST_PUSH: u8 = 3;
const BROADCAST: u8 = 4;
const BINARY: u8 = 0;
const JSON: u8 = 1;

#[derive(Deserialize)]
struct Object {
    topic: String,
    event: String,
    payload: Option<Box<RawValue>>,
    #[serde(default, rename = "ref")]
    reference: Value,
    #[serde(default)]
    join_ref: Value,
}

impl Version {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "1.0.0" => Some(Self::V1),
            "2.0.0" => Some(Self::V2),
            _ => None,
        }
    }

    pub(crate) fn read_text(self, text: &str) -> Result<Said, Malformed> {
        type Array = (Value, Value, String, String, Option<Box<RawValue>>);
        let object = match self {
            Self::V1 => serde_json::from_str(text).map_err(|_| Malformed::Object)?,
            Self::V2 => {
                let (join_ref, reference, topic, event, payload): Array =
                    serde_json::from_str(text).map_err(|_| Malformed::Array)?;
                Object { topic, event, payload, reference, join_ref }
            }
        };
        let Object { topic, event, payload, reference, join_ref } = object;
        let payload = Payload::Json(payload.unwrap_or_default());
        Ok(Said { join_ref, reference, topic, event, payload })
    }

    pub(crate) fn read_binary(self, frame: &Bytes) -> Result<Said, Malformed> {
        if self == Self::V1 {
            return Err(Malformed::Unexpected);
        }
        let [BROADCAST_PUSH, join_ref, reference, topic, event, meta, encoding, ..] = frame[..]
        else {
            return Err(Malformed::Binary);
        };
        let mut at = 7;
        let mut take = |length: u8| {
            let text = frame.get(at..at + usize::from(length)).ok_or(Malformed::Binary)?;
            at += usize::from(length);
            std::str::from_utf8(text).map_err(|_| Malformed::Binary)
        };
        let (join_ref, reference) = (take(join_ref)?, take(reference)?);
        let (topic, event, _meta) = (take(topic)?, take(event)?, take(meta)?);
        let body = frame.slice(at..);
        let body = match encoding {
            JSON => Body::Json(serde_json::from_slice(&body).map_err(|_| Malformed::Binary)?),
            BINARY => Body::Binary(body),
            _ => return Err(Malformed::Binary),
        };
        let name = |text: &str| if text.is_empty() { Value::Null } else { Value::from(text) };
        Ok(Said {
            join_ref: name(join_ref),
            reference: name(reference),
            topic: topic.to_owned(),
            event: "broadcast".to_owned(),
            payload: Payload::Broadcast { event: event.to_owned(), body },
        })
    }

    /// A message of one channel.
    pub(crate) fn write(
        self,
        join_ref: &Value,
        reference: &Value,
        topic: &str,
        event: &str,
        payload: &impl Serialize,
    ) -> Message {
        #[derive(Serialize)]
        struct Object<'a, P> {
            topic: &'a str,
            event: &'a str,
            payload: &'a P,
            #[serde(rename = "ref")]
            reference: &'a Value,
            #[serde(skip_serializing_if = "Value::is_null")]
            join_ref: &'a Value,
        }
        let text = match self {
            Self::V1 => {
                serde_json::to_string(&Object { topic, event, payload, reference, join_ref })
            }
            Self::V2 => serde_json::to_string(&(join_ref, reference, topic, event, payload)),
        };
        Message::Text(Utf8Bytes::from(text.expect("texts, JSON and maps with texts as keys")))
    }

    /// `None` if a client that speaks this version cannot be told.
    pub(crate) fn write_broadcast(self, topic: &str, broadcast: &Broadcast) -> Option<Message> {
        if self == Self::V2
            && !broadcast.as_text
            && let Some(frame) = binary(topic, broadcast)
        {
            return Some(Message::Binary(frame));
        }
        let Body::Json(body) = &broadcast.body else { return None };
        #[derive(Serialize)]
        struct Text<'a> {
            r#type: &'static str,
            event: &'a str,
            payload: &'a RawValue,
            #[serde(skip_serializing_if = "Option::is_none")]
            meta: Option<Meta>,
        }
        let Broadcast { event, meta, .. } = broadcast;
        let payload = Text { r#type: "broadcast", event, payload: body, meta: *meta };
        Some(self.write(&Value::Null, &Value::Null, topic, "broadcast", &payload))
    }
}

/// `None` if a length does not fit into its byte.
fn binary(topic: &str, broadcast: &Broadcast) -> Option<Bytes> {
    let meta = broadcast.meta.map_or_else(String::new, |meta| json!(meta).to_string());
    let (encoding, body) = match &broadcast.body {
        Body::Json(json) => (JSON, json.get().as_bytes()),
        Body::Binary(bytes) => (BINARY, &bytes[..]),
    };
    let length = |text: &str| u8::try_from(text.len()).ok();
    let event = &broadcast.event;
    let mut frame = vec![BROADCAST, length(topic)?, length(event)?, length(&meta)?, encoding];
    for text in [topic, event, &meta] {
        frame.extend_from_slice(text.as_bytes());
    }
    frame.extend_from_slice(body);
    Some(frame.into())
}

/// What has no better shape than the value itself.
pub(crate) fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("texts, JSON and maps with texts as keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(message: Message) -> String {
        message.into_text().unwrap().as_str().to_owned()
    }

    #[test]
    fn texts_are_objects_in_version_one_and_arrays_in_version_two() {
        let object =
            r#"{"topic":"realtime:a","event":"e","payload":{"x":1},"ref":"2","join_ref":"1"}"#;
        let array = r#"["1","2","realtime:a","e",{"x":1}]"#;
        for (version, frame) in [(Version::V1, object), (Version::V2, array)] {
            let said = version.read_text(frame).unwrap();
            let Payload::Json(payload) = &said.payload else { panic!("{said:?}") };
            assert_eq!((said.topic.as_str(), said.event.as_str()), ("realtime:a", "e"));
            assert_eq!(payload.get(), r#"{"x":1}"#);
            let payload: Value = serde_json::from_str(payload.get()).unwrap();
            let written =
                version.write(&said.join_ref, &said.reference, &said.topic, &said.event, &payload);
            assert_eq!(text(written), frame);
        }
        // What is not said is null.
        let said = Version::V1.read_text(r#"{"topic":"phoenix","event":"heartbeat"}"#).unwrap();
        assert_eq!((said.join_ref, said.reference), (Value::Null, Value::Null));
    }

    #[test]
    fn broadcasts_are_texts_or_frames_with_lengths() {
        let id = Uuid::from_u128(7);
        let mut broadcast = Broadcast {
            event: "ev".to_owned(),
            body: Body::Json(raw(&json!({ "a": 1 }))),
            meta: Some(Meta { id, replayed: false }),
            as_text: false,
        };
        let inner = format!(
            r#"{{"type":"broadcast","event":"ev","payload":{{"a":1}},"meta":{{"id":"{id}"}}}}"#
        );
        let one = Version::V1.write_broadcast("realtime:t", &broadcast).unwrap();
        assert_eq!(
            text(one),
            format!(r#"{{"topic":"realtime:t","event":"broadcast","payload":{inner},"ref":null}}"#)
        );
        let two = Version::V2.write_broadcast("realtime:t", &broadcast).unwrap().into_data();
        let meta = format!(r#"{{"id":"{id}"}}"#);
        let expected = [
            &[4, 10, 2, u8::try_from(meta.len()).unwrap(), 1][..],
            b"realtime:tev",
            meta.as_bytes(),
            br#"{"a":1}"#,
        ];
        assert_eq!(two[..], expected.concat());
        broadcast.as_text = true;
        let two = Version::V2.write_broadcast("realtime:t", &broadcast).unwrap();
        assert_eq!(text(two), format!(r#"[null,null,"realtime:t","broadcast",{inner}]"#));
        // A topic too long for the frame's header still arrives.
        broadcast.as_text = false;
        let long = format!("realtime:{}", "x".repeat(300));
        assert!(Version::V2.write_broadcast(&long, &broadcast).unwrap().is_text());
        // Bytes are for version two alone.
        broadcast.body = Body::Binary(Bytes::from_static(&[0, 255]));
        assert!(Version::V1.write_broadcast("realtime:t", &broadcast).is_none());
        let two = Version::V2.write_broadcast("realtime:t", &broadcast).unwrap().into_data();
        assert_eq!((two[4], &two[two.len() - 2..]), (0, &[0, 255][..]));
    }

    #[test]
    fn a_binary_push_is_read_as_its_header_says() {
        let frame = [&[3, 1, 2, 10, 2, 2, 1][..], b"112realtime:tev{}{\"a\":1}"].concat();
        let said = Version::V2.read_binary(&frame.into()).unwrap();
        assert_eq!((said.join_ref, said.reference), (json!("1"), json!("12")));
        assert_eq!((said.topic.as_str(), said.event.as_str()), ("realtime:t", "broadcast"));
        let Payload::Broadcast { event, body: Body::Json(body) } = said.payload else { panic!() };
        assert_eq!((event.as_str(), body.get()), ("ev", "{\"a\":1}"));
    }

    #[test]
    fn what_is_no_message_is_refused_with_what_one_looks_like() {
        for (version, text, why) in [
            (Version::V1, "[]", Malformed::Object),
            (Version::V1, "{\"topic\":1}", Malformed::Object),
            (Version::V2, "{}", Malformed::Array),
            (Version::V2, "[1,2,\"t\"]", Malformed::Array),
            (Version::V2, "", Malformed::Array),
        ] {
            assert_eq!(version.read_text(text).unwrap_err(), why, "{text}");
        }
        let read = |frame: &'static [u8]| Version::V2.read_binary(&Bytes::from_static(frame));
        assert_eq!(Version::V1.read_binary(&Bytes::new()).unwrap_err(), Malformed::Unexpected);
        for frame in
            [&[][..], &[4, 0, 0, 0, 0, 0, 0], &[3, 9, 0, 0, 0, 0, 0], &[3, 0, 0, 0, 0, 0, 7]]
        {
            assert_eq!(read(frame).unwrap_err(), Malformed::Binary, "{frame:?}");
        }
    }

    proptest! {
        #[test]
        fn no_frame_makes_reading_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "\\PC*", kind in 0_u8..5
        ) {
            let _ = Version::V1.read_text(&text);
            let _ = Version::V2.read_text(&text);
            let mut frame = vec![kind];
            frame.extend(bytes);
            let _ = Version::V2.read_binary(&frame.into());
        }
    }
}
