use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};

/// The client libraries as `package-lock.json` names them, installed once into a cache, and what
/// talks through them.
pub(crate) fn driver() -> PathBuf {
    let files = [
        ("package.json", include_str!("../js/package.json")),
        ("package-lock.json", include_str!("../js/package-lock.json")),
        ("driver.mjs", include_str!("../js/driver.mjs")),
    ];
    let hash = files.iter().fold(Sha256::new(), |hash, (_, text)| hash.chain_update(text));
    let hash = &hex::encode(hash.finalize())[..16];
    let cache = localstack::throwaway_folder().unwrap();
    let folder = cache.join(format!("npm-{hash}"));
    // One at a time; the others find it done.
    let lock = File::create(cache.join(format!("npm-{hash}.lock"))).unwrap();
    lock.lock().unwrap();
    let ready = folder.join("ready");
    if !ready.exists() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&folder);
        let output = npm.output().expect("npm is installed; `make setup` does that");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "npm could not install the client libraries:\n{told}");
        fs::write(ready, "").unwrap();
    }
    folder.join("driver.mjs")
}
