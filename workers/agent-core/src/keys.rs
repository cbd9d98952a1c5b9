use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::settings::AuthSettings;

/// The secret keys of servers, as digests: what we compare has one length, and no key stays in our
/// memory for longer than it takes to read the settings.
#[derive(Clone)]
pub(crate) struct Keys(Vec<[u8; 32]>);

impl Keys {
    pub(crate) fn new(settings: &AuthSettings) -> Self {
        Self(settings.keys().map(|(_, key)| digest(key.expose().trim())).collect())
    }

    /// Which of them it is, in a name fit for limits and logs. Takes as long for every answer.
    pub(crate) fn find(&self, given: &str) -> Option<String> {
        let given = digest(given);
        let (mut found, mut place) = (Choice::from(0), 0_u32);
        for (number, key) in (0..).zip(&self.0) {
            let same = key.ct_eq(&given);
            place.conditional_assign(&number, same);
            found |= same;
        }
        bool::from(found).then(|| format!("key {place}"))
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Secret;

    #[test]
    fn each_key_is_found_and_nothing_near_it() {
        let secret = |text: &str| Secret::new(text.to_owned());
        let keys = Keys::new(&AuthSettings {
            supabase_secret_key: Some(secret("sb_secret_one")),
            agent_core_secret_keys: vec![secret("two"), secret(" three ")],
            ..AuthSettings::default()
        });
        assert_eq!(keys.find("sb_secret_one").as_deref(), Some("key 0"));
        assert_eq!(keys.find("two").as_deref(), Some("key 1"));
        assert_eq!(keys.find("three").as_deref(), Some("key 2"));
        for other in ["", "sb_secret_on", "sb_secret_one ", "TWO", "two,three"] {
            assert_eq!(keys.find(other), None, "{other}");
        }
    }
}
