use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What every child may read: the system, and the toolchains that PATH names.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) readable: Vec<PathBuf>,
    /// Where cargo keeps what it has downloaded, and rustup its toolchains.
    pub(crate) cargo: Option<PathBuf>,
    pub(crate) rustup: Option<PathBuf>,
}

const SYSTEM: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store"];

/// Of `/etc`, where also secrets are kept, only what programs cannot do without.
const ETC: [&str; 16] = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "gitconfig",
    "group",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "nsswitch.conf",
    "passwd",
    "pki",
    "protocols",
    "resolv.conf",
    "ssl",
];

impl View {
    pub(crate) fn of(path: &OsStr, more: &[PathBuf]) -> Self {
        let etc = ETC.iter().map(|name| Path::new("/etc").join(name));
        let readable = SYSTEM.iter().map(PathBuf::from).chain(etc).chain(java()).collect();
        let mut view = Self { readable, cargo: None, rustup: None };
        for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
            view.add_toolchain(&folder);
        }
        view.readable.extend(more.iter().cloned());
        view.readable.retain(|path| path.exists());
        view.readable.sort();
        // What is inside of another is shown with it.
        view.readable.dedup_by(|inner, outer| inner.starts_with(outer));
        view
    }

    fn add_toolchain(&mut self, folder: &Path) {
        self.readable.push(folder.to_owned());
        let Some(home) = folder.parent().filter(|_| folder.ends_with("bin")) else {
            // Its programs are scripts that look for the rest.
            let pyenv = folder.ancestors().find(|above| above.ends_with(".pyenv"));
            self.readable.extend(pyenv.map(Path::to_owned));
            return;
        };
        if folder.join("cargo").exists() && home.join("registry").exists() {
            // Not all of it: it may hold tokens for registries.
            self.readable.extend(["registry", "git"].map(|part| home.join(part)));
            self.cargo.get_or_insert_with(|| home.to_owned());
        }
        if folder.join("rustup").exists() {
            let beside = [".rustup", "rustup"].map(|name| home.with_file_name(name));
            let found = beside.into_iter().find(|path| path.join("toolchains").exists());
            self.readable.extend(found.clone());
            self.rustup = self.rustup.take().or(found);
        }
        self.readable.extend(["lib", "libexec", "include"].map(|part| home.join(part)));
    }
}

/// The JVM's settings, in a folder named by version.
fn java() -> impl Iterator<Item = PathBuf> {
    let found = std::fs::read_dir("/etc").into_iter().flatten().flatten();
    found
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"java"))
        .map(|e| e.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_is_shown_and_the_home_around_it_is_not() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        for folder in [".cargo/bin", ".cargo/registry", ".rustup/toolchains", ".pyenv/shims"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        for file in [".cargo/bin/cargo", ".cargo/bin/rustup", ".cargo/credentials.toml"] {
            std::fs::write(at(file), "").unwrap();
        }
        let path = std::env::join_paths([at(".cargo/bin"), at(".pyenv/shims")]).unwrap();
        let view = View::of(&path, &[at("absent")]);

        let ours: Vec<_> =
            view.readable.iter().filter_map(|path| path.strip_prefix(home.path()).ok()).collect();
        let expected = [".cargo/bin", ".cargo/registry", ".pyenv", ".rustup"];
        assert_eq!(ours, expected.map(Path::new));
        assert_eq!((view.cargo, view.rustup), (Some(at(".cargo")), Some(at(".rustup"))));
    }
}
