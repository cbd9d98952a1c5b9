use std::time::Duration;

use crate::quote;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a length of time; write numbers with units, as in `500ms`, `30s` or `1h 30m`",
    quote(.0)
)]
pub struct InvalidDuration(String);

/// Reads the lengths of time that settings are written in, as in `30s`.
///
/// For clap: `#[arg(long, env, default_value = "30s", value_parser = model::duration)]`.
pub fn duration(text: &str) -> Result<Duration, InvalidDuration> {
    humantime::parse_duration(text).map_err(|_| InvalidDuration(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_needs_its_unit() {
        for (text, milliseconds) in
            [("30s", 30_000), ("500ms", 500), ("1h 30m", 5_400_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "30", "-1s", "soon", "1.5.2s", "99999999999999999999s"] {
            assert_eq!(duration(text), Err(InvalidDuration(text.to_owned())));
        }
    }
}
