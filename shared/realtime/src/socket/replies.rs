use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::frame::Malformed;

/// The payload of `phx_reply`.
#[derive(Deserialize)]
pub(crate) struct Reply {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) response: Option<Box<RawValue>>,
}

/// The payload of `system`: a source is up, or something failed after the join.
#[derive(Deserialize)]
pub(crate) struct System {
    #[serde(default)]
    pub(crate) extension: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) message: Value,
}

pub(crate) fn read<T: DeserializeOwned>(
    payload: &RawValue,
    of: &'static str,
) -> Result<T, Malformed> {
    serde_json::from_str(payload.get()).map_err(|_| Malformed::Payload(of))
}

/// What the answer to a join calls each filter.
pub(crate) fn filter_ids(response: &RawValue) -> Vec<i64> {
    #[derive(Default, Deserialize)]
    struct Joined {
        #[serde(default)]
        postgres_changes: Vec<Filter>,
    }
    #[derive(Deserialize)]
    struct Filter {
        id: i64,
    }
    let joined: Joined = serde_json::from_str(response.get()).unwrap_or_default();
    joined.postgres_changes.into_iter().map(|filter| filter.id).collect()
}

/// `{"reason": "…"}`, or whatever it is instead.
pub(crate) fn reason(response: &RawValue) -> String {
    let Ok(response) = serde_json::from_str::<Value>(response.get()) else {
        return response.get().to_owned();
    };
    text(response.get("reason").unwrap_or(&response))
}

pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn blames_the_token(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    ["token", "jwt", "expired", "unauthorized"].iter().any(|word| said.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn a_refusal_gives_its_reason_in_whatever_shape() {
        for (response, expected) in [
            (r#"{"reason":"Unauthorized: no"}"#, "Unauthorized: no"),
            (r#"{"reason":{"code":1}}"#, r#"{"code":1}"#),
            (r#"{"other":1}"#, r#"{"other":1}"#),
            (r#""no""#, "no"),
        ] {
            assert_eq!(reason(&raw(response)), expected);
        }
    }

    #[test]
    fn filters_are_known_by_their_order() {
        for (response, ids) in [
            (r#"{"postgres_changes":[{"id":7,"event":"*"},{"id":-1}]}"#, &[7, -1][..]),
            (r#"{}"#, &[]),
            (r#"{"postgres_changes":[{"id":"x"}]}"#, &[]),
            ("null", &[]),
        ] {
            assert_eq!(filter_ids(&raw(response)), ids);
        }
    }

    #[test]
    fn a_token_is_blamed_for_what_tokens_do() {
        for (said, blamed) in [
            ("Token has expired 12 seconds ago", true),
            ("InvalidJWTToken: …", true),
            ("Unauthorized: You do not have permissions to read from this Channel topic", true),
            ("Unable to subscribe to changes with given parameters", false),
        ] {
            assert_eq!(blames_the_token(said), blamed, "{said}");
        }
    }
}
