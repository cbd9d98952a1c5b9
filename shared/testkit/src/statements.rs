use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use db::Statement;

use crate::TestDb;

impl TestDb {
    /// Prepares each against the migrated schema, so that a slip of the pen fails in a test and not
    /// at night.
    ///
    /// # Panics
    /// When one cannot be prepared, or takes other parameters than it says.
    pub async fn prepares(&self, statements: &[&Statement]) {
        let client = self.client().await;
        for Statement { name, sql, types } in statements {
            let prepared = client.prepare_typed(sql, types).await;
            let prepared = prepared.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(prepared.params(), *types, "{name}");
        }
    }
}

/// Holds the list of a crate's statements against the folder of its sources: each that is written
/// there is in it, once, under a name that begins as all of the crate's do.
///
/// # Panics
/// When the list is another.
pub fn all_are_listed(statements: &[&Statement], prefix: &str, sources: &str) {
    let listed: Vec<&str> = statements.iter().map(|statement| statement.name).collect();
    let different: BTreeSet<&str> = listed.iter().copied().collect();
    let written = written(Path::new(sources));
    assert_eq!((listed.len(), different.len()), (written, written), "{listed:?}");
    assert!(listed.iter().all(|name| name.starts_with(prefix)), "{prefix}: {listed:?}");
}

fn written(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a crate has sources");
    let paths = entries.map(|entry| entry.expect("sources can be read").path());
    let counts = paths.map(|path| match path.is_dir() {
        true => written(&path),
        false => {
            let text = fs::read_to_string(&path).expect("sources can be read");
            text.matches(": Statement =").count()
        }
    });
    counts.sum()
}
