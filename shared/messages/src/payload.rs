use model::{Stage, Word};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::EventType;

/// What a message carries. The type names its stage, so a handler is registered by type alone and
/// nobody can publish `Generate` to the builders.
///
/// ```
/// use messages::Payload;
///
/// #[derive(serde::Deserialize, serde::Serialize)]
/// struct Greet {
///     name: String,
/// }
///
/// impl Payload for Greet {
///     const SERVICE: &'static str = "hello";
///     const ROLE: &'static str = "greet";
/// }
///
/// assert_eq!(Greet::stage().to_string(), "hello/greet");
/// ```
pub trait Payload: Serialize + DeserializeOwned + Send + 'static {
    const SERVICE: &'static str;
    const ROLE: &'static str;

    fn stage() -> Stage {
        // An impossible stage does not compile, instead of failing when its first message is sent.
        const {
            assert!(Word::is_valid(Self::SERVICE), "SERVICE is not a lower-case word");
            assert!(Word::is_valid(Self::ROLE), "ROLE is not a lower-case word");
        }
        let word = |text: &str| text.parse().expect("checked at compile time");
        Stage::new(word(Self::SERVICE), word(Self::ROLE))
    }
}

/// What a row of `bus_events` carries beyond its route and trace.
pub trait Event: Serialize {
    const TYPE: EventType;
}
