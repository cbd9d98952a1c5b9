//! Builds the list of migrations into the crate, so that a binary carries those it was made for.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

#[expect(clippy::disallowed_methods, reason = "cargo says where to write in no other way")]
fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    // Cargo looks into the folder, so a new file is noticed as well as a changed one.
    println!("cargo:rerun-if-changed={}", folder.display());

    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("the workspace has a folder of migrations")
        .map(|entry| entry.expect("a folder can be read").file_name())
        .filter_map(|name| {
            name.to_str().and_then(|name| name.strip_suffix(".sql")).map(str::to_owned)
        })
        .collect();
    names.sort();

    let mut list = "&[\n".to_owned();
    for name in &names {
        let (version, purpose) = name.split_once('_').unwrap_or((name, ""));
        let numbered = version.len() == 14 && version.bytes().all(|byte| byte.is_ascii_digit());
        assert!(
            numbered && !purpose.is_empty(),
            "migrations/{name}.sql must be named <14 digits>_<purpose>.sql"
        );
        let path = folder.join(format!("{name}.sql"));
        let _ = writeln!(
            list,
            "    Migration {{ version: {version:?}, name: {purpose:?}, sql: include_str!({path:?}) }},"
        );
    }
    for pair in names.windows(2) {
        assert!(pair[0][..14] != pair[1][..14], "{} and {} share a version", pair[0], pair[1]);
    }
    list.push_str("]\n");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("migrations.rs"), list).expect("cargo made the folder");
}
