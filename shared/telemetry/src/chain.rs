use std::error::Error;
use std::fmt;

/// Prints an error and its causes on one line, each told once: `could not claim: connection
/// closed`.
///
/// `warn!(error = %Chain(&error), "could not claim messages")`
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        out.write_str(&told)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many libraries print their cause too; told twice it reads like two failures.
            if !told.ends_with(&text) {
                write!(out, ": {text}")?;
                told = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, rest) = texts.split_first().expect("at least one layer");
        let source = (!rest.is_empty()).then(|| Box::new(layers(rest)));
        Layer { text, source }
    }

    #[test]
    fn every_cause_is_told_once() {
        for (texts, line) in [
            (&["could not claim"][..], "could not claim"),
            (&["could not claim", "connection closed"], "could not claim: connection closed"),
            (&["io: broken pipe", "broken pipe"], "io: broken pipe"),
            (&["db: io: broken pipe", "io: broken pipe", "broken pipe"], "db: io: broken pipe"),
            (&["a", "a: b", "b", "c"], "a: a: b: c"),
        ] {
            assert_eq!(Chain(&layers(texts)).to_string(), line);
        }
    }
}
