use std::path::{Path, PathBuf};

use miette::Diagnostic;

/// A program that `make setup` brings along, because few machines have it.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    pub(crate) name: &'static str,
    /// Says where it is.
    pub(crate) variable: &'static str,
}

#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ToolMissing {
    #[error("{name} is not installed")]
    #[diagnostic(help("run `make setup`, or say where it is with {variable}=/path/to/{name}"))]
    Nowhere { name: &'static str, variable: &'static str },
    #[error("{variable} says {}, and that is no program", .path.display())]
    #[diagnostic(help("correct it, or unset it to use what is installed"))]
    NoProgram { variable: &'static str, path: PathBuf },
}

impl Tool {
    /// Where its variable says, else on the PATH, else where `make setup` puts it.
    #[expect(clippy::disallowed_methods, reason = "where programs are is not a setting of ours")]
    pub fn find(self) -> Result<PathBuf, ToolMissing> {
        let Self { name, variable } = self;
        if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
            let absolute = std::path::absolute(&path).ok().filter(|path| is_program(path));
            return absolute.ok_or(ToolMissing::NoProgram { variable, path });
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
        let ours = cache().map(|cache| cache.join("tools/bin"));
        let mut found = on_path.chain(ours).map(|folder| folder.join(name));
        found.find(|path| is_program(path)).ok_or(ToolMissing::Nowhere { name, variable })
    }
}

/// Where `make setup` keeps what it brings along.
#[expect(clippy::disallowed_methods, reason = "where caches are is not a setting of ours")]
pub(crate) fn cache() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())?;
    Some(home.join(".cache/cogo"))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}
