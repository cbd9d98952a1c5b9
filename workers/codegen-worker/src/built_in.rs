use crate::template_set::{Source, TemplateSet};
use crate::templates::Templates;

/// A set whose files are in the program, by their paths below `templates/<name>/files`.
macro_rules! set {
    ($name:literal: $($file:literal),+ $(,)?) => {
        BuiltIn {
            name: $name,
            schema: include_str!(concat!("../templates/", $name, "/params.schema.json")),
            files: &[$((
                $file,
                include_str!(concat!("../templates/", $name, "/files/", $file)),
            )),+],
        }
    };
}

struct BuiltIn {
    name: &'static str,
    schema: &'static str,
    files: &'static [(&'static str, &'static str)],
}

const ALL: &[BuiltIn] = &[
    set!("hello": "Makefile", "hello.sh.j2", "test.sh.j2"),
    set!("rust":
        "Cargo.lock.j2",
        "Cargo.toml.j2",
        "README.md.j2",
        "src/lib.rs.j2",
        "src/main.rs.j2",
        "tests/order.rs.j2",
    ),
    set!("python":
        "README.md.j2",
        "pyproject.toml.j2",
        "tests/__init__.py",
        "tests/test_{{ name }}.py.j2",
        "{{ name }}.py.j2",
    ),
    set!("typescript":
        "README.md.j2",
        "package.json.j2",
        "src/main.mjs.j2",
        "src/{{ name }}.mjs.j2",
        "test/{{ name }}.test.mjs.j2",
        "tsconfig.json",
    ),
];

/// What every worker can make.
pub(crate) fn templates() -> Templates {
    let mut templates = Templates::default();
    for set in ALL {
        let sources = set.files.iter().map(|(path, text)| Source {
            path: (*path).to_owned(),
            content: text.as_bytes().to_vec(),
        });
        let set_made = TemplateSet::new(set.name, set.schema, sources.collect());
        templates.add(set.name, set_made.expect("a test makes all of them"));
    }
    templates
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_file_in_the_folder_is_in_the_program() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        for set in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap()) {
            let name = set.file_name().into_string().unwrap();
            let files = set.path().join("files");
            let mut found = Vec::new();
            let mut folders = vec![files.clone()];
            while let Some(folder) = folders.pop() {
                for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                    if path.is_dir() {
                        folders.push(path);
                    } else {
                        found.push(path.strip_prefix(&files).unwrap().to_str().unwrap().to_owned());
                    }
                }
            }
            found.sort();
            let known = ALL.iter().find(|one| one.name == name).expect(&name);
            let mut known: Vec<&str> = known.files.iter().map(|(path, _)| *path).collect();
            known.sort_unstable();
            assert_eq!(known, found, "{name}");
        }
        assert_eq!(templates().names().count(), ALL.len());
    }
}
