use model::Secret;
use std::fmt;

const INSTEAD: &[u8] = b"***";

/// A line of a secret of several lines is hidden on its own if it is at least this long: shorter
/// ones, such as a brace, would hide what is no secret.
const LINE: usize = 8;

/// Replaces secrets in a stream of bytes, also those that arrive in pieces.
pub(crate) struct Redact {
    secrets: Vec<Secret>,
    /// What may be the beginning of a secret, and is not passed on yet.
    held: Vec<u8>,
}

impl Redact {
    pub(crate) fn new(secrets: &[Secret]) -> Self {
        let mut all: Vec<Secret> = Vec::new();
        for secret in secrets {
            let lines = secret.expose().lines().map(str::trim).filter(|line| line.len() >= LINE);
            all.extend(lines.map(|line| Secret::new(line.to_owned())));
            all.push(secret.clone());
        }
        all.retain(|secret| !secret.expose().is_empty());
        // The longest first: one secret may begin with another.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        Self { secrets: all, held: Vec::new() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.secrets.is_empty() {
            return bytes.to_vec();
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            if let Some(found) = self.secrets().find(|secret| rest.starts_with(secret)) {
                out.extend_from_slice(INSTEAD);
                at += found.len();
            } else if self.secrets().any(|secret| secret.starts_with(rest)) {
                self.held = rest.to_vec();
                return out;
            } else {
                out.push(text[at]);
                at += 1;
            }
        }
        out
    }

    /// The stream has ended, or somebody waits for what is held back.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.secrets.iter().map(|secret| secret.expose().as_bytes())
    }
}

impl fmt::Debug for Redact {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Redact(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(secrets: &[&str], chunks: &[&str]) -> String {
        let secrets: Vec<Secret> = secrets.iter().map(|s| Secret::new((*s).to_owned())).collect();
        let mut redact = Redact::new(&secrets);
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend(redact.push(chunk.as_bytes()));
        }
        out.extend(redact.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secrets_are_replaced_wherever_the_stream_is_cut() {
        let text = "a hunter2 b hunter22 hunthunter2";
        for cut in 0..=text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(through(&["hunter2"], &[left, right]), "a *** b ***2 hunt***", "{cut}");
        }
        let pieces: Vec<String> = text.chars().map(String::from).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        assert_eq!(through(&["hunter2"], &pieces), "a *** b ***2 hunt***");
    }

    #[test]
    fn the_longest_secret_wins_and_empty_ones_hide_nothing() {
        assert_eq!(through(&["key", "key-and-more", ""], &["key-and-more key"]), "*** ***");
        assert_eq!(through(&["secret"], &["sec"]), "sec");
    }

    #[test]
    fn the_lines_of_a_secret_are_secrets() {
        let pem = "-----BEGIN-----\nMIIEvQIBADANBg\n}\n";
        assert_eq!(through(&[pem], &["> MIIEvQIBADANBg <\n}"]), "> *** <\n}");
    }
}
