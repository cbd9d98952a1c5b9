use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use attempt::Trouble;
use model::{nearest, quote};
use serde_json::{Map, Value};

use crate::template_set::{File, InvalidTemplates, Source, TemplateSet};

/// The template sets there are, by name.
#[derive(Default)]
pub(crate) struct Templates {
    sets: BTreeMap<String, TemplateSet>,
}

/// Of a folder of sets: an operator who names the wrong folder should hear of it.
const MOST_FILES: usize = 2_000;
const MOST_BYTES: usize = 64 * 1024 * 1024;

impl Templates {
    pub(crate) fn add(&mut self, name: &str, set: TemplateSet) {
        self.sets.insert(name.to_owned(), set);
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.sets.keys().map(String::as_str)
    }

    pub(crate) fn add_folder(&mut self, folder: &Path) -> Result<(), InvalidTemplates> {
        let mut left = (MOST_FILES, MOST_BYTES);
        for (name, path) in listed(folder)? {
            if !path.is_dir() {
                continue;
            }
            let schema = path.join("params.schema.json");
            let schema = fs::read_to_string(&schema)
                .map_err(|source| InvalidTemplates::Unreadable { path: schema, source })?;
            let mut sources = Vec::new();
            read(&path.join("files"), "", &mut sources, &mut left)?;
            self.add(&name, TemplateSet::new(&name, &schema, sources)?);
        }
        Ok(())
    }

    /// All files of a set with these parameters filled in.
    pub(crate) fn fill_in(
        &self,
        name: &str,
        params: &Map<String, Value>,
    ) -> Result<Vec<File>, Trouble> {
        let set = self.sets.get(name).ok_or_else(|| self.unknown(name))?;
        set.fill_in(params)
    }

    fn unknown(&self, name: &str) -> Trouble {
        let known = self.names().collect::<Vec<_>>().join(", ");
        let guess = nearest(name, self.names()).map(|near| format!("; did you mean `{near}`?"));
        let name = quote(name);
        Trouble::invalid(format!(
            "there is no template set {name} (there are {known}){}",
            guess.unwrap_or_default()
        ))
    }
}

/// Every file below, by its path from `folder` with `/` between the names.
fn read(
    folder: &Path,
    prefix: &str,
    sources: &mut Vec<Source>,
    left: &mut (usize, usize),
) -> Result<(), InvalidTemplates> {
    for (name, path) in listed(folder)? {
        let within = format!("{prefix}{name}");
        let unreadable = |source| InvalidTemplates::Unreadable { path: path.clone(), source };
        let meta = fs::symlink_metadata(&path).map_err(unreadable)?;
        if meta.is_dir() {
            read(&path, &format!("{within}/"), sources, left)?;
            continue;
        }
        if !meta.is_file() {
            return Err(InvalidTemplates::NoFile { path });
        }
        let content = fs::read(&path).map_err(unreadable)?;
        let room = left.0.checked_sub(1).zip(left.1.checked_sub(content.len()));
        *left = room.ok_or_else(|| InvalidTemplates::TooMuch { path: path.clone() })?;
        sources.push(Source { path: within, content });
    }
    Ok(())
}

/// In the order of their names, so that what is made of them never depends on a file system.
fn listed(folder: &Path) -> Result<BTreeMap<String, std::path::PathBuf>, InvalidTemplates> {
    let unreadable = |source| InvalidTemplates::Unreadable { path: folder.to_owned(), source };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| InvalidTemplates::NoFile { path: path.clone() })?.to_owned();
        found.insert(name, path);
    }
    Ok(found)
}
