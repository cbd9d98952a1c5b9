use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use miette::Diagnostic;
use model::{nearest, quote};

/// The settings in a file of `NAME=value` lines.
pub(crate) struct SettingsFile {
    values: BTreeMap<String, String>,
}

/// Names the file and the line, and never quotes the value or the lines around it: one of them may
/// be a password. (So this is no miette label, which would print them.)
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum InvalidSettingsFile {
    #[error("could not read the settings in {}", path.display())]
    #[diagnostic(help("give --settings the path of a readable text file of NAME=value lines"))]
    Unreadable { path: PathBuf, source: io::Error },

    #[error("{}:{line}: this line is not NAME=value", path.display())]
    #[diagnostic(help("write one setting a line, as in BUS_LEASE=30s; a comment starts with #"))]
    NoAssignment { path: PathBuf, line: usize },

    #[error("{}:{line}: there is no setting {}", path.display(), quote(name))]
    Unknown {
        path: PathBuf,
        line: usize,
        name: String,
        #[help]
        help: String,
    },

    #[error("{}:{line}: {name} is set twice, first in line {first}", path.display())]
    #[diagnostic(help("remove one of the two lines"))]
    Twice { path: PathBuf, line: usize, first: usize, name: String },
}

impl SettingsFile {
    /// Reads the file; only settings that `command` or one of its subcommands has may be in it.
    pub(crate) fn read(path: &Path, command: &Command) -> Result<Self, InvalidSettingsFile> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| InvalidSettingsFile::Unreadable { path: path.to_owned(), source })?;
        let known = names(command);
        parse(path, &text, &known)
    }

    /// Makes the file's values the defaults of `command`: clap prefers flags, then the environment.
    ///
    /// To clap a default is not "given", so `requires` and `conflicts_with` do not see these
    /// values.
    pub(crate) fn apply(&self, command: Command) -> Command {
        command
            .mut_args(|arg| {
                let value = arg.get_env().and_then(|name| self.values.get(name.to_str()?));
                let Some(value) = value.cloned() else { return arg };
                // clap shows no default for a plain flag, and refuses to be told to hide it.
                let hide = arg.get_action().takes_values();
                arg.required(false).default_value(value).hide_default_value(hide)
            })
            .mut_subcommands(|subcommand| self.apply(subcommand))
    }
}

/// Every setting there is, by its name in files and in the environment.
pub(crate) fn names(command: &Command) -> Vec<String> {
    let mut names = Vec::new();
    collect_names(command, &mut names);
    names
}

fn collect_names(command: &Command, names: &mut Vec<String>) {
    let of_arguments = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str());
    // A file that names another file would be read too late.
    names.extend(of_arguments.filter(|name| *name != "COGO_SETTINGS").map(str::to_owned));
    command.get_subcommands().for_each(|subcommand| collect_names(subcommand, names));
}

fn parse(path: &Path, text: &str, known: &[String]) -> Result<SettingsFile, InvalidSettingsFile> {
    let mut values = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let path = path.to_owned();
        let Some((name, value)) = content.split_once('=') else {
            return Err(InvalidSettingsFile::NoAssignment { path, line });
        };
        let name = name.trim_end().to_owned();
        if !known.contains(&name) {
            let help = match nearest(&name, known.iter().map(String::as_str)) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => "--help lists every setting, as [env: NAME]".to_owned(),
            };
            return Err(InvalidSettingsFile::Unknown { path, line, name, help });
        }
        if let Some(first) = lines.insert(name.clone(), line) {
            return Err(InvalidSettingsFile::Twice { path, line, first, name });
        }
        values.insert(name, unquoted(value.trim()).to_owned());
    }
    Ok(SettingsFile { values })
}

/// `"value"` and `'value'` mean `value`, as in the .env files that lines are pasted from.
fn unquoted(value: &str) -> &str {
    let within = |mark| value.strip_prefix(mark)?.strip_suffix(mark);
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>, InvalidSettingsFile> {
        let known = ["BUS_LEASE", "DATABASE_URL"].map(str::to_owned);
        parse(Path::new("cogo.env"), text, &known).map(|file| file.values)
    }

    #[test]
    fn a_value_is_everything_after_the_first_equals_sign() {
        for (line, value) in [
            (
                "DATABASE_URL=postgres://db/cogo?sslmode=require",
                "postgres://db/cogo?sslmode=require",
            ),
            ("  DATABASE_URL = spaced # out  ", "spaced # out"),
            ("DATABASE_URL=\"quoted\"", "quoted"),
            ("DATABASE_URL='quoted'", "quoted"),
            ("DATABASE_URL='half", "'half"),
            ("DATABASE_URL='", "'"),
            ("DATABASE_URL=", ""),
        ] {
            assert_eq!(read(line).unwrap()["DATABASE_URL"], value, "{line}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_never_with_its_value() {
        for (text, message, help) in [
            (
                "# ours\n\nBUS_LEESE=hunter2",
                "cogo.env:3: there is no setting `BUS_LEESE`",
                "did you mean BUS_LEASE?",
            ),
            (
                "VAULT_TOKEN=hunter2",
                "cogo.env:1: there is no setting `VAULT_TOKEN`",
                "--help lists every setting, as [env: NAME]",
            ),
            (
                "hunter2",
                "cogo.env:1: this line is not NAME=value",
                "write one setting a line, as in BUS_LEASE=30s; a comment starts with #",
            ),
            (
                "BUS_LEASE=1s\nBUS_LEASE=2s",
                "cogo.env:2: BUS_LEASE is set twice, first in line 1",
                "remove one of the two lines",
            ),
        ] {
            let Err(error) = read(text) else { panic!("{text:?} was accepted") };
            assert_eq!(error.to_string(), message);
            assert_eq!(error.help().unwrap().to_string(), help);
            assert!(!format!("{:?}", miette::Report::new(error)).contains("hunter2"));
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = SettingsFile::read(Path::new("/nowhere/cogo.env"), &Command::new("cogo"));
        let Err(error) = missing else { panic!("a file that is not there was read") };
        assert_eq!(error.to_string(), "could not read the settings in /nowhere/cogo.env");
    }
}
