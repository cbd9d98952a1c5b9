use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use attempt::Trouble;
use model::{Word, nearest, quote};
use serde::{Deserialize, Deserializer, de};
use tracing::warn;

use crate::env_reference::{EnvReference, INVALID_NAME, is_name};
use crate::figures::Output;
use crate::mistake::InvalidExecutors;
use crate::placeholders::Placeholders;

/// The commands that may make code, as `executors.example.yaml` explains.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Executors {
    #[serde(deserialize_with = "named")]
    executors: BTreeMap<String, CommandSpec>,
}

/// One command, as an operator describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct CommandSpec {
    pub(crate) command: Vec<Placeholders>,
    pub(crate) prompt: PromptTo,
    pub(crate) model: Option<String>,
    pub(crate) env: EnvSpec,
    pub(crate) timeout: Duration,
    pub(crate) network: bool,
    pub(crate) readable: Vec<PathBuf>,
    pub(crate) leave_out: Vec<String>,
    pub(crate) output: Output,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    command: Vec<Placeholders>,
    #[serde(default)]
    prompt: PromptTo,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    env: EnvSpec,
    #[serde(default = "ten_minutes", deserialize_with = "duration")]
    timeout: Duration,
    #[serde(default)]
    network: bool,
    #[serde(default)]
    readable: Vec<PathBuf>,
    #[serde(default = "git", deserialize_with = "names_of_files")]
    leave_out: Vec<String>,
    #[serde(default)]
    output: Output,
}

/// How a command gets its prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PromptTo {
    #[default]
    Stdin,
    /// In a file beside the workspace, for `{prompt_file}`.
    File,
    /// For `{prompt}`.
    Argument,
}

/// All the variables it has beside PATH, HOME and the like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EnvSpec {
    /// As this worker has them.
    #[serde(deserialize_with = "names_of_variables")]
    pub(crate) copy: Vec<String>,
    pub(crate) set: BTreeMap<VariableName, Placeholders>,
    pub(crate) secrets: BTreeMap<VariableName, EnvReference>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct VariableName(pub(crate) String);

impl TryFrom<String> for VariableName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if is_name(&text) { Ok(Self(text)) } else { Err(INVALID_NAME) }
    }
}

impl Executors {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, InvalidExecutors> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| InvalidExecutors::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, InvalidExecutors> {
        serde_saphyr::from_str(text).map_err(|error| InvalidExecutors::new(path, text, &error))
    }

    /// In the order of the alphabet.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.executors.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Result<&CommandSpec, Trouble> {
        self.executors.get(name).ok_or_else(|| {
            let known = || std::iter::once(TEMPLATE).chain(self.names());
            let near = nearest(name, known()).map(|near| format!("; did you mean `{near}`?"));
            let all = known().collect::<Vec<_>>().join(", ");
            let name = quote(name);
            let near = near.unwrap_or_default();
            Trouble::invalid(format!("there is no executor {name} here (there are {all}){near}"))
        })
    }

    /// One that lacks its secret may still never be asked for, so this is no reason not to start.
    pub(crate) fn warn_of_missing(&self) {
        for (name, spec) in &self.executors {
            for reference in spec.env.secrets.values() {
                if reference.resolve().is_none() {
                    let variable = reference.name();
                    warn!(executor = %name, "{name} will not work: {variable} is not set");
                }
            }
        }
    }
}

/// The executor that is always there.
pub(crate) const TEMPLATE: &str = "template";

fn named<'de, D: Deserializer<'de>>(source: D) -> Result<BTreeMap<String, CommandSpec>, D::Error> {
    let named = BTreeMap::<Word, CommandSpec>::deserialize(source)?;
    if named.keys().any(|name| name.as_str() == TEMPLATE) {
        return Err(de::Error::custom("`template` is the name of the built-in executor"));
    }
    Ok(named.into_iter().map(|(name, spec)| (name.to_string(), spec)).collect())
}

impl TryFrom<Written> for CommandSpec {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let Written { command, prompt, model, env, timeout, network, readable, leave_out, output } =
            written;
        let has = |name| command.iter().any(|argument: &Placeholders| argument.has(name));
        if command.is_empty() {
            return Err("`command` needs a program, and its arguments one by one");
        }
        if has("prompt") != (prompt == PromptTo::Argument) {
            return Err("`prompt: argument` and {prompt} in `command` go together");
        }
        if has("prompt_file") != (prompt == PromptTo::File) {
            return Err("`prompt: file` and {prompt_file} in `command` go together");
        }
        if model.as_deref().is_some_and(|model| !is_model(model)) {
            return Err("`model` has letters, digits and any of . _ : / @ -, and begins with one \
                        of the first two");
        }
        if readable.iter().any(|path| !path.is_absolute()) {
            return Err("the paths in `readable` are absolute");
        }
        Ok(Self { command, prompt, model, env, timeout, network, readable, leave_out, output })
    }
}

/// Narrow, since it becomes an argument: what begins with `-` would be an option.
pub(crate) fn is_model(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/@-".contains(&b))
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

fn git() -> Vec<String> {
    vec![".git".to_owned()]
}

fn duration<'de, D: Deserializer<'de>>(source: D) -> Result<Duration, D::Error> {
    model::duration(&String::deserialize(source)?).map_err(de::Error::custom)
}

fn names_of_variables<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<VariableName>::deserialize(source)?;
    Ok(names.into_iter().map(|VariableName(name)| name).collect())
}

/// Plain names only: with a path, what a command made could lead us out of the workspace.
fn names_of_files<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(source)?;
    let wrong =
        names.iter().find(|name| name.contains('/') || [".", "..", ""].contains(&name.as_str()));
    match wrong {
        Some(name) => Err(de::Error::custom(format!(
            "{} is no plain name of a file or folder in the workspace",
            quote(name)
        ))),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_right() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("executors.example.yaml");
        let example = Executors::read(&path).map_err(miette::Report::new).unwrap();
        assert_eq!(
            example.names().collect::<Vec<_>>(),
            ["aider", "claude", "codex", "opencode", "script"]
        );
        let claude = example.get("claude").unwrap();
        assert_eq!(claude.prompt, PromptTo::Stdin);
        assert_eq!(claude.env.secrets.len(), 1);
        assert!(claude.network);
        let said = example.get("cluade").unwrap_err().what;
        assert!(said.ends_with("did you mean `claude`?"), "{said}");
    }

    #[test]
    fn a_model_is_no_option() {
        for model in ["gpt-5", "openai/o3", "claude-opus-4@20250101", "a"] {
            assert!(is_model(model), "{model}");
        }
        for model in ["", "-x", "--dangerously", "a b", "a;b", "$(a)", "/a", &"a".repeat(129)] {
            assert!(!is_model(model), "{model}");
        }
    }
}
