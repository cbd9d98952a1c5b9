use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{Diagnostic, NamedSource, SourceSpan};
use model::nearest;
use serde_saphyr::{Error as YamlError, SnippetMode};

/// What is wrong with an executors file, and in which line.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum InvalidExecutors {
    #[error("could not read {}", path.display())]
    #[diagnostic(help("give CODEGEN_EXECUTORS the path of a readable YAML file"))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{what}")]
    Mistake {
        what: String,
        #[source_code]
        file: Arc<NamedSource<String>>,
        #[label("here")]
        at: Option<SourceSpan>,
        #[help]
        help: Option<String>,
    },
}

impl InvalidExecutors {
    pub(crate) fn new(path: &Path, text: &str, error: &YamlError) -> Self {
        let error = error.without_snippet();
        let at = error.location().and_then(|location| {
            let lines = text.split_inclusive('\n');
            let line = usize::try_from(location.line()).ok()?.checked_sub(1)?;
            let start: usize = lines.clone().take(line).map(str::len).sum();
            let whole = lines.clone().nth(line).unwrap_or_default().trim_end();
            let column = usize::try_from(location.column()).ok()?.checked_sub(1)?;
            let within = whole.char_indices().nth(column).map_or(whole.len(), |(at, _)| at);
            Some(SourceSpan::from((start + within, word_length(&whole[within..]))))
        });
        let (what, help) = told(error);
        let file = NamedSource::new(path.display().to_string(), without_secrets(text));
        Self::Mistake { what, file: Arc::new(file), at, help }
    }
}

fn word_length(rest: &str) -> usize {
    rest.find([':', ' ', ',', '}', ']']).unwrap_or(rest.len())
}

fn told(error: &YamlError) -> (String, Option<String>) {
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            (format!("there is no key `{field}` here"), guess(field, expected))
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("`{variant}` is none of what can be here"), guess(variant, expected))
        }
        YamlError::SerdeMissingField { field, .. } => {
            (format!("the key `{field}` is missing here"), None)
        }
        YamlError::Unexpected { expected, .. } if expected.contains("sequence") => {
            ("a list is expected here, as in [a, b]".to_owned(), None)
        }
        YamlError::Unexpected { expected, .. } if expected.contains("mapping") => {
            ("keys and their values are expected here".to_owned(), None)
        }
        YamlError::Message { msg, .. } => (msg.clone(), None),
        other => (
            other.render_with_options(serde_saphyr::render_options! { snippets: SnippetMode::Off }),
            None,
        ),
    }
}

fn guess(name: &str, expected: &[&str]) -> Option<String> {
    let known = || format!("known are {}", expected.join(", "));
    Some(match nearest(name, expected.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => known(),
    })
}

/// The lines around a mistake are shown. Secrets are to be given by reference, and this is the file
/// of somebody who may not have known.
fn without_secrets(text: &str) -> String {
    let hidden = |line: &str| {
        let lower = line.to_lowercase();
        let about = ["key", "token", "secret", "password"].iter().any(|word| lower.contains(word));
        match line.split_once(':') {
            Some((name, value)) if about && !value.contains("env:") && !value.trim().is_empty() => {
                // As long as it was, or the label would point elsewhere.
                let stars = "*".repeat(value.trim_end().len().saturating_sub(1));
                let end = &value[value.trim_end().len()..];
                format!("{name}: {stars}{end}")
            }
            _ => line.to_owned(),
        }
    };
    text.split_inclusive('\n').map(hidden).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_hidden_and_nothing_moves() {
        let text =
            "a:\n  API_KEY: sk-hunter2\r\n  TOKEN: env:TOKEN\nb: {password: hunter2}\nsecrets:\n";
        let shown = without_secrets(text);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("TOKEN: env:TOKEN"));
        let lengths = |text: &str| text.lines().map(str::len).collect::<Vec<_>>();
        assert_eq!(lengths(&shown), lengths(text));
    }
}
