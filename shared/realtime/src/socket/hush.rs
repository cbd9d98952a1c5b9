use std::fmt;
use std::sync::{Mutex, PoisonError};

use model::Secret;
use url::form_urlencoded::byte_serialize;

/// A server may repeat what we sent it, our key included.
const LONGEST: usize = 200;
/// The key, and the tokens of the last two refreshes: nothing older is still accepted by anybody.
const REMEMBERED: usize = 3;

/// Takes our secrets out of what others say, before it gets into an error or a log line.
pub(crate) struct Hush {
    secrets: Mutex<Vec<Secret>>,
}

impl Hush {
    pub(crate) fn new(key: &Secret) -> Self {
        Self { secrets: Mutex::new(vec![key.clone()]) }
    }

    pub(crate) fn also(&self, token: &Secret) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if secrets.iter().any(|known| known.expose() == token.expose()) {
            return;
        }
        if secrets.len() == REMEMBERED {
            secrets.remove(1);
        }
        secrets.push(token.clone());
    }

    /// One short line without our secrets.
    pub(crate) fn said(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let plain = secret.expose();
            let encoded: String = byte_serialize(plain.as_bytes()).collect();
            text = text.replace(plain, "…").replace(&encoded, "…");
        }
        let mut line: String = text
            .chars()
            .take(LONGEST)
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        if text.chars().nth(LONGEST).is_some() {
            line.push('…');
        }
        line.trim().to_owned()
    }
}

impl fmt::Debug for Hush {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Hush(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn what_others_say_is_told_on_one_line_without_our_secrets() {
        let hush = Hush::new(&secret("a+b/c="));
        hush.also(&secret("token-1"));
        for (said, told) in [
            ("no a+b/c= here", "no … here"),
            ("?apikey=a%2Bb%2Fc%3D&x", "?apikey=…&x"),
            ("token-1 token-1", "… …"),
            ("two\nlines\u{1b}[31m", "two lines [31m"),
        ] {
            assert_eq!(hush.said(said), told);
        }
        assert_eq!(hush.said(&"x".repeat(1000)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn the_key_is_never_forgotten() {
        let hush = Hush::new(&secret("key"));
        for number in 0..10 {
            hush.also(&secret(&format!("token-{number}")));
        }
        assert_eq!(hush.said("key token-9 token-8 token-1"), "… … … token-1");
    }
}
