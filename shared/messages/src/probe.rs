use serde::{Deserialize, Serialize};

use crate::Payload;

/// Asks the bus to carry a text and do nothing else: the examples, `cogo doctor` and the tests
/// send it, so that none of them needs a real stage.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Probe {
    pub text: String,
}

impl Payload for Probe {
    const SERVICE: &'static str = "cogo";
    const ROLE: &'static str = "probe";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_a_text_on_its_own_stage() {
        assert_eq!(Probe::stage().to_string(), "cogo/probe");
        let probe = Probe { text: "hello".to_owned() };
        let wire = serde_json::to_string(&probe).unwrap();
        assert_eq!(wire, r#"{"text":"hello"}"#);
        assert_eq!(serde_json::from_str::<Probe>(&wire).unwrap(), probe);
    }
}
