use std::fmt;
use std::str::FromStr;

use model::{nearest, quote};
use tracing_subscriber::filter::{LevelFilter, Targets};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What is logged: a level for all, and others for parts, as in `info,bus=debug`.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    text: String,
    targets: Targets,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a level ({}){}; write one for all and others for parts, as in `info,bus=debug`",
    quote(.0), LEVELS.join(", "), did_you_mean(.0))]
pub struct InvalidLevels(String);

impl Levels {
    pub(crate) fn targets(&self) -> Targets {
        self.targets.clone()
    }
}

impl FromStr for Levels {
    type Err = InvalidLevels;

    fn from_str(text: &str) -> Result<Self, InvalidLevels> {
        let mut targets = Targets::new();
        // Read here rather than by `Targets`, to which a misspelled level is a part's name: the
        // process would start, and say nothing at all.
        for directive in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            targets = match directive.split_once('=') {
                Some((part, name)) => targets.with_target(part, level(name)?),
                None => targets.with_default(level(directive)?),
            };
        }
        Ok(Self { text: text.to_owned(), targets })
    }
}

fn level(name: &str) -> Result<LevelFilter, InvalidLevels> {
    let invalid = || InvalidLevels(name.to_owned());
    // `LevelFilter` also takes numbers and the empty text; only the words are documented.
    let word = LEVELS.iter().find(|level| level.eq_ignore_ascii_case(name)).ok_or_else(invalid)?;
    word.parse().map_err(|_| invalid())
}

fn did_you_mean(name: &str) -> String {
    nearest(name, LEVELS).map_or_else(String::new, |level| format!(", did you mean `{level}`?"))
}

impl fmt::Display for Levels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_part_may_be_louder_than_the_rest() {
        let targets = "info,bus=debug".parse::<Levels>().unwrap().targets();
        for (part, level, logged) in [
            ("worker", Level::INFO, true),
            ("worker", Level::DEBUG, false),
            ("bus", Level::DEBUG, true),
            ("bus::claim", Level::DEBUG, true),
            ("bus", Level::TRACE, false),
        ] {
            assert_eq!(targets.would_enable(part, &level), logged, "{part} at {level}");
        }
    }

    #[test]
    fn a_misspelled_level_is_refused_with_the_nearest_one() {
        for (text, wrong) in
            [("debgu", "debgu"), ("info,bus=loud", "loud"), ("bus=", ""), ("3", "3")]
        {
            assert_eq!(text.parse::<Levels>(), Err(InvalidLevels(wrong.to_owned())), "{text}");
        }
        assert_eq!(
            "debgu".parse::<Levels>().unwrap_err().to_string(),
            "`debgu` is not a level (off, error, warn, info, debug, trace), did you mean `debug`?; \
             write one for all and others for parts, as in `info,bus=debug`",
        );
    }

    #[test]
    fn levels_print_as_they_are_parsed() {
        for text in ["info", "warn,bus=debug", "OFF", "bus=trace"] {
            assert_eq!(text.parse::<Levels>().unwrap().to_string(), text);
        }
    }
}
