use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use artifacts::{Bounds, Place};
use attempt::Trouble;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use model::quote;
use serde_json::{Map, Value};
use telemetry::Chain;

use crate::params::Params;

/// Templates that make one small program together, and the schema of what is filled in.
pub(crate) struct TemplateSet {
    params: Params,
    files: Vec<Template>,
    templates: Environment<'static>,
}

/// A file of a set, as an operator wrote it: its name is a template, and so is its text if the name
/// ends in `.j2`.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
}

/// A file as it is made.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) place: Place,
    pub(crate) content: Vec<u8>,
}

struct Template {
    /// For people.
    path: String,
    content: Content,
}

enum Content {
    Filled,
    AsItIs(Vec<u8>),
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InvalidTemplates {
    #[error("could not read {}", path.display())]
    #[diagnostic(help(
        "a set of templates is a folder with a params.schema.json and a folder named files"
    ))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is no plain file with a plain name", path.display())]
    #[diagnostic(help("links and special files cannot be templates; copy what it stands for"))]
    NoFile { path: PathBuf },
    #[error("there are too many files, or they are too large, up to {}", path.display())]
    #[diagnostic(help("at most 2000 files and 64 MiB; is this the right folder?"))]
    TooMuch { path: PathBuf },
    #[error("the params.schema.json of the set `{set}` is no JSON Schema: {why}")]
    Schema { set: String, why: String },
    #[error("the template {path} of the set `{set}` cannot be read")]
    Syntax { set: String, path: String, source: minijinja::Error },
}

/// Steps of one template's rendering: a loop over all that fits into a payload ends well before.
const FUEL: u64 = 2_000_000;
/// Of all files that are made together.
const MOST_BYTES: usize = 64 * 1024 * 1024;

impl TemplateSet {
    pub(crate) fn new(
        set: &str,
        schema: &str,
        sources: Vec<Source>,
    ) -> Result<Self, InvalidTemplates> {
        let params = Params::new(schema)
            .map_err(|why| InvalidTemplates::Schema { set: set.to_owned(), why })?;
        let mut templates = environment();
        let mut files = Vec::new();
        for Source { path, content } in sources {
            let syntax = |source| InvalidTemplates::Syntax {
                set: set.to_owned(),
                path: path.clone(),
                source,
            };
            let name = path.strip_suffix(".j2").unwrap_or(&path).to_owned();
            templates.add_template_owned(name_of(&path), name).map_err(syntax)?;
            let content = match path.ends_with(".j2") {
                true => {
                    let text = String::from_utf8_lossy(&content).into_owned();
                    templates.add_template_owned(path.clone(), text).map_err(syntax)?;
                    Content::Filled
                }
                false => Content::AsItIs(content),
            };
            files.push(Template { path, content });
        }
        Ok(Self { params, files, templates })
    }

    pub(crate) fn fill_in(&self, given: &Map<String, Value>) -> Result<Vec<File>, Trouble> {
        let params = self.params.complete(given)?;
        let params = minijinja::Value::from(Serde(&params));
        let mut left = MOST_BYTES;
        let mut places = BTreeSet::new();
        let mut made = Vec::with_capacity(self.files.len());
        for template in &self.files {
            let name = self.render(&name_of(&template.path), &params, &mut left)?;
            let place = Place::parse(&name, &Bounds::default());
            let place = place.map_err(|error| broken(&template.path, &Chain(&error)))?;
            let nothing = || broken(&template.path, &"its name comes out empty");
            let place = place.ok_or_else(nothing)?;
            if !places.insert(place.clone()) {
                let said = format!("another file is called {} too", quote(place.as_str()));
                return Err(broken(&template.path, &said));
            }
            let content = match &template.content {
                Content::Filled => self.render(&template.path, &params, &mut left)?,
                Content::AsItIs(content) => content.clone(),
            };
            made.push(File { place, content });
        }
        Ok(made)
    }

    fn render(
        &self,
        name: &str,
        params: &minijinja::Value,
        left: &mut usize,
    ) -> Result<Vec<u8>, Trouble> {
        let template =
            self.templates.get_template(name).map_err(|error| broken(name, &Chain(&error)))?;
        let mut out = Bounded { bytes: Vec::new(), left: *left };
        let rendered = template.render_captured_to(params.clone(), &mut out);
        rendered.map(drop).map_err(|error| broken(name, &Chain(&error)))?;
        *left = out.left;
        Ok(out.bytes)
    }
}

/// It would be broken for every attempt: the set itself is wrong, or the parameters are such that
/// its author did not think of.
fn broken(path: &str, why: &dyn std::fmt::Display) -> Trouble {
    Trouble::fail("template_invalid", format!("the template {}: {why}", quote(path)))
}

/// A template and its name are two templates.
fn name_of(path: &str) -> String {
    format!("the name of {path}")
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // A misspelt name must not make an empty space.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    // What is made is code and not a web page: nothing is escaped by the ending of its name.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the default delimiters are right"));
    environment
}

/// Fuel counts steps and not what one step writes.
struct Bounded {
    bytes: Vec<u8>,
    left: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or_else(|| io::Error::other("it makes more than 64 MiB"))?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(files: &[(&str, &str)]) -> Result<TemplateSet, InvalidTemplates> {
        let sources = files.iter().map(|(path, text)| Source {
            path: (*path).to_owned(),
            content: text.as_bytes().to_vec(),
        });
        TemplateSet::new("mine", "{}", sources.collect())
    }

    fn made(files: &[(&str, &str)], params: &Value) -> Result<Vec<(String, String)>, String> {
        let filled = set(files).unwrap().fill_in(params.as_object().unwrap());
        let text =
            |file: File| (file.place.as_str().to_owned(), String::from_utf8(file.content).unwrap());
        filled.map(|files| files.into_iter().map(text).collect()).map_err(|trouble| trouble.what)
    }

    #[test]
    fn names_and_texts_are_filled_in_and_other_files_copied() {
        let files = [("{{ a }}/x.txt.j2", "{{ a }} {{ b }}\n"), ("copy.txt", "{{ a }}")];
        let made = made(&files, &json!({"a": "<&>", "b": [1, 2]})).unwrap();
        assert_eq!(made[0], ("<&>/x.txt".to_owned(), "<&> [1, 2]\n".to_owned()));
        assert_eq!(made[1], ("copy.txt".to_owned(), "{{ a }}".to_owned()));
    }

    #[test]
    fn a_parameter_is_never_a_template_itself() {
        let made = made(&[("x.j2", "{{ a }}")], &json!({"a": "{{ 7 * 7 }}"})).unwrap();
        assert_eq!(made[0].1, "{{ 7 * 7 }}");
    }

    #[test]
    fn a_name_that_leads_out_is_refused() {
        for name in ["../x", "/etc/x", "a/../../x", "", "a\nb"] {
            let said = made(&[("{{ a }}", "")], &json!({"a": name})).unwrap_err();
            assert!(said.starts_with("the template `{{ a }}`: "), "{name}: {said}");
        }
        let said = made(&[("{{ a }}", ""), ("b", "")], &json!({"a": "./b"})).unwrap_err();
        assert_eq!(said, "the template `b`: another file is called `b` too");
    }

    #[test]
    fn what_is_not_defined_is_an_error_and_not_an_empty_space() {
        let said = made(&[("x.j2", "line\n{{ nam }}")], &json!({"name": 1})).unwrap_err();
        assert!(said.contains("undefined value") && said.contains("x.j2:2"), "{said}");
    }

    #[test]
    fn a_template_that_never_ends_or_never_stops_writing_is_stopped() {
        let endless =
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        let said = made(&[("x.j2", endless)], &json!({})).unwrap_err();
        assert!(said.contains("fuel"), "{said}");
        let large = "{% for a in range(99) %}{{ a_megabyte }}{% endfor %}";
        let megabyte = json!({"a_megabyte": "x".repeat(1024 * 1024)});
        let said = made(&[("x.j2", large)], &megabyte).unwrap_err();
        assert!(said.contains("more than 64 MiB"), "{said}");
    }

    #[test]
    fn a_set_with_a_mistake_is_refused_when_it_is_read() {
        let Err(error) = set(&[("x.j2", "{{ a ")]) else { panic!("it was accepted") };
        assert_eq!(error.to_string(), "the template x.j2 of the set `mine` cannot be read");
        assert!(set(&[("{{ a", "")]).is_err());
    }
}
