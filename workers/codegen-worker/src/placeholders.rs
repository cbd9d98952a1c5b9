use serde::Deserialize;

/// An argument or a variable's value, in which names in braces stand for what each message brings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Placeholders(String);

/// What stands for what.
#[derive(Clone, Copy)]
pub(crate) struct Filling<'a> {
    pub(crate) model: Option<&'a str>,
    pub(crate) prompt: Option<&'a str>,
    pub(crate) prompt_file: Option<&'a str>,
}

const KNOWN: [&str; 3] = ["model", "prompt", "prompt_file"];

#[derive(Debug, thiserror::Error)]
#[error("there is no placeholder {{{0}}}; there are {{model}}, {{prompt}} and {{prompt_file}}")]
pub(crate) struct UnknownPlaceholder(String);

impl Placeholders {
    pub(crate) fn has(&self, name: &str) -> bool {
        parts(&self.0).any(|part| part == Part::Name(name))
    }

    /// `None` if something is asked for that is not there. What is filled in is not looked at again.
    pub(crate) fn fill(&self, filling: &Filling<'_>) -> Option<String> {
        parts(&self.0)
            .map(|part| match part {
                Part::Text(text) => Some(text),
                Part::Name("model") => filling.model,
                Part::Name("prompt") => filling.prompt,
                Part::Name(_) => filling.prompt_file,
            })
            .collect()
    }
}

impl TryFrom<String> for Placeholders {
    type Error = UnknownPlaceholder;

    fn try_from(text: String) -> Result<Self, UnknownPlaceholder> {
        let unknown = parts(&text).find_map(|part| match part {
            Part::Name(name) if !KNOWN.contains(&name) => Some(name.to_owned()),
            _ => None,
        });
        match unknown {
            Some(name) => Err(UnknownPlaceholder(name)),
            None => Ok(Self(text)),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// Only lower-case words in braces are names, so that an argument may be JSON.
fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(name) = name_at_start(rest) {
            rest = &rest[name.len() + 2..];
            return Some(Part::Name(name));
        }
        let next = rest.match_indices('{').map(|(at, _)| at);
        let end = next.filter(|at| *at > 0).find(|at| name_at_start(&rest[*at..]).is_some());
        let (text, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(Part::Text(text))
    })
}

fn name_at_start(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLING: Filling<'_> =
        Filling { model: Some("m{prompt}"), prompt: Some("p {model}"), prompt_file: None };

    #[test]
    fn names_in_braces_are_filled_in_once() {
        for (text, filled) in [
            ("plain", Some("plain")),
            ("", Some("")),
            ("{model}", Some("m{prompt}")),
            ("--m={model}:{prompt}!", Some("--m=m{prompt}:p {model}!")),
            (r#"{"a": {}}"#, Some(r#"{"a": {}}"#)),
            ("{{model}}", Some("{m{prompt}}")),
            ("{model", Some("{model")),
            ("{prompt_file}", None),
        ] {
            let parsed = Placeholders::try_from(text.to_owned()).unwrap();
            assert_eq!(parsed.fill(&FILLING).as_deref(), filled, "{text}");
        }
    }

    #[test]
    fn a_misspelt_name_is_refused() {
        let said = Placeholders::try_from("-m {modle}".to_owned()).unwrap_err().to_string();
        assert_eq!(
            said,
            "there is no placeholder {modle}; there are {model}, {prompt} and {prompt_file}"
        );
    }
}
