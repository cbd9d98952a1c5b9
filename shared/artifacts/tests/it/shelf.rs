use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use artifacts::{About, ArtifactSettings, Store};
use tempfile::TempDir;

/// A store in a folder, and room for trees.
pub(crate) struct Shelf {
    pub(crate) store: Store,
    folder: TempDir,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("store");
        let settings = ArtifactSettings::at(base.to_str().unwrap());
        Self { store: Store::connect(&settings).unwrap(), folder }
    }

    pub(crate) fn base(&self) -> PathBuf {
        self.folder.path().join("store").canonicalize().unwrap()
    }

    /// A folder of these files; those whose path ends in `!` may be run.
    pub(crate) fn tree(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = self.folder.path().join(name);
        fs::create_dir_all(&root).unwrap();
        for (path, text) in files {
            let file = root.join(path.trim_end_matches('!'));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            let mode = if path.ends_with('!') { 0o700 } else { 0o640 };
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        root
    }

    /// Not there yet.
    pub(crate) fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Everything there is beside the store, to see that nothing else was written.
    pub(crate) fn beside(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "store")
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn about() -> About {
    About::from([("executor".to_owned(), "template".to_owned())])
}

/// Path, mode and text of every file below.
pub(crate) fn listed(root: &Path) -> BTreeMap<String, (u32, String)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
            found.insert(name, (mode, fs::read_to_string(&path).unwrap()));
        }
    }
    found
}
