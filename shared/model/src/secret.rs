use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use zeroize::Zeroizing;

/// A value nobody may see by accident: it cannot be displayed or serialised, and zeroes itself.
///
/// [`Secret::expose`] is the one way out, so a search for it lists every place a credential leaves
/// us.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even the length: it tells a token from a password.
        out.write_str("Secret(..)")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

/// For clap. It cannot fail, so clap never quotes the value in an error.
impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(value: &str) -> Result<Self, Infallible> {
        Ok(Self::new(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_hides_itself_and_is_exposed_on_purpose() {
        let secret: Secret = "hunter2".parse().unwrap();
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)).matches("hunter2").count(), 0);
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(serde_json::from_str::<Secret>(r#""hunter2""#).unwrap().expose(), "hunter2");
    }
}
