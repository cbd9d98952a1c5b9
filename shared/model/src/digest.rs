use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::quote;
use crate::text_type;

/// What some bytes are, an image or an artifact, whatever it is called: `sha256:` and 64 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a digest; write `sha256:` and 64 hexadecimal digits in lower case",
    quote(.0)
)]
pub struct InvalidDigest(String);

const ALGORITHM: &str = "sha256:";

impl Digest {
    /// What the check constraints in SQL say about digests; a test holds the two together.
    pub const PATTERN: &'static str = "^sha256:[0-9a-f]{64}$";

    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Without the name of the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl From<Sha256> for Digest {
    fn from(hash: Sha256) -> Self {
        Self(hash.finalize().into())
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = || InvalidDigest(text.to_owned());
        let digits = text.strip_prefix(ALGORITHM).ok_or_else(invalid)?;
        // One written form only, or the same bytes would have many names.
        if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(invalid());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| invalid())?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{ALGORITHM}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

text_type!(Digest);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of no bytes at all.
    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_the_sha256_of_some_bytes() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest::of(b"")));
        assert_eq!(format!("sha256:{}", Digest::of(b"").hex()), EMPTY);
    }

    #[test]
    fn only_64_lower_case_digits_of_sha256_are_a_digest() {
        let sha512 = format!("sha512:{}", "a".repeat(128));
        let upper = format!("sha256:{}", EMPTY["sha256:".len()..].to_uppercase());
        for text in [
            "",
            "sha256:",
            &EMPTY["sha256:".len()..],
            &EMPTY[..EMPTY.len() - 1],
            &format!("{EMPTY}0"),
            &format!("{EMPTY}\n"),
            &EMPTY.replace('e', "g"),
            &EMPTY.replace("sha256", "SHA256"),
            &upper,
            &sha512,
        ] {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn a_digest_prints_as_it_is_parsed(bytes: [u8; 32]) {
            let digest = Digest(bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }
    }
}
