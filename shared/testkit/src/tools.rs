use std::ffi::OsString;

/// What PATH should be for the programs that `make setup` brings along. Ours come first: the kubectl of
/// a distribution may be too old.
#[expect(clippy::disallowed_methods, reason = "where programs are is not a setting of ours")]
pub fn tools_path() -> OsString {
    let ours = std::env::home_dir().map(|home| home.join(".cache/cogo/tools/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = ours.into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(folders).expect("what was in PATH may be in it again")
}
