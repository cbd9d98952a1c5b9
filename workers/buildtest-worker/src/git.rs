use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use artifacts::Bounds;
use attempt::{Trouble, clean, cut};
use child::{Child, Ended, How, Stream, Workspace};
use model::quote;
use tokio::sync::Notify;

use crate::build_test::Testing;
use crate::trouble::no_child;

/// Nothing that a repository or its server says makes git run a program, ask somebody, or read
/// another place.
const SETTINGS: [&str; 8] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "credential.helper=",
    "fetch.fsckObjects=true",
    "gc.auto=0",
    "init.defaultBranch=main",
    "submodule.recurse=false",
    "advice.detachedHead=false",
];

/// Puts exactly the tree of `at` into the workspace.
pub(crate) async fn fetch(
    testing: &Testing<'_>,
    workspace: &Workspace,
    url: &str,
    at: &str,
) -> Result<(), Trouble> {
    let allows_file = testing.yard.building.buildtest_git_file;
    let scheme = scheme(url, allows_file)?;
    check_ref(at)?;
    let git = Git { testing, workspace, folder: workspace.home().join("source.git") };
    git.prepare(allows_file)?;

    let fetch =
        ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", url, at];
    let mut child = git.child(&fetch, allows_file);
    match scheme {
        Scheme::File(path) => child.readable.push(path.into()),
        Scheme::Https | Scheme::Ssh => child.network = true,
    }
    let ended = git.run(child, |_, _| {}, std::future::pending()).await?;
    if !ended.succeeded() {
        return Err(fetch_failed(&ended, at));
    }
    git.check_size(allows_file).await?;
    let out = git.child(&["checkout", "--quiet", "--force", "FETCH_HEAD"], allows_file);
    let ended = git.run(out, |_, _| {}, std::future::pending()).await?;
    if !ended.succeeded() {
        return Err(Trouble::fail("git_failed", format!("git checkout: {}", said(&ended))));
    }
    // It is larger than the code, and the tests are not about it.
    fs::remove_dir_all(&git.folder)
        .map_err(|error| Trouble::retry_after("workspace_unavailable", &error))
}

struct Git<'a> {
    testing: &'a Testing<'a>,
    workspace: &'a Workspace,
    folder: PathBuf,
}

impl Git<'_> {
    /// An empty repository, and the one settings file git reads.
    fn prepare(&self, allows_file: bool) -> Result<(), Trouble> {
        let unavailable =
            |error: std::io::Error| Trouble::retry_after("workspace_unavailable", &error);
        for folder in ["objects", "refs", "info"] {
            fs::create_dir_all(self.folder.join(folder)).map_err(unavailable)?;
        }
        fs::write(self.folder.join("HEAD"), "ref: refs/heads/main\n").map_err(unavailable)?;
        // A repository on this machine need not belong to the user that children are.
        let trust = if allows_file { "[safe]\n\tdirectory = *\n" } else { "" };
        fs::write(self.workspace.home().join(".gitconfig"), trust).map_err(unavailable)?;
        self.workspace.hand_over().map_err(no_child)
    }

    fn child(&self, arguments: &[&str], allows_file: bool) -> Child {
        let mut argv: Vec<OsString> = vec!["git".into()];
        argv.extend(SETTINGS.iter().flat_map(|setting| ["-c".into(), setting.into()]));
        argv.extend(["--git-dir".into(), self.folder.clone().into()]);
        argv.extend(["--work-tree".into(), self.workspace.work().into()]);
        argv.extend(arguments.iter().map(Into::into));
        let mut child = Child::new(argv, self.workspace);
        let protocols = if allows_file { "https:ssh:file" } else { "https:ssh" };
        for (name, value) in [
            ("GIT_ALLOW_PROTOCOL", protocols),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_LFS_SKIP_SMUDGE", "1"),
            ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new"),
        ] {
            child.env.insert(name.into(), value.into());
        }
        child
    }

    async fn run(
        &self,
        mut child: Child,
        on_line: impl FnMut(Stream, &str) + Send,
        enough: impl Future<Output = ()> + Send,
    ) -> Result<Ended, Trouble> {
        let until = Instant::now() + self.testing.yard.building.buildtest_git_timeout;
        child.limits.time =
            until.min(self.testing.attempt.until()).saturating_duration_since(Instant::now());
        child.limits.file_size = self.testing.yard.building.bounds().bytes;
        let stop = async {
            tokio::select! {
                () = self.testing.attempt.cx().stopped() => {}
                () = enough => {}
            }
        };
        let ended = self.workspace.run(child, on_line, stop).await.map_err(no_child)?;
        if self.testing.attempt.cx().is_stopped() {
            return Err(Trouble::stopped());
        }
        if self.testing.attempt.is_over() {
            return Err(Trouble::ttl_exceeded());
        }
        match ended.how {
            How::TimedOut => Err(Trouble::retry("git_timed_out", "git took too long")),
            _ => Ok(ended),
        }
    }

    /// A few objects can stand for a tree without end, so it is looked at before it is written.
    async fn check_size(&self, allows_file: bool) -> Result<(), Trouble> {
        let bounds = self.testing.yard.building.bounds();
        let child = self.child(&["ls-tree", "-r", "-t", "-l", "FETCH_HEAD"], allows_file);
        let (mut entries, mut bytes) = (0_u64, 0_u64);
        let (enough, too_much) = (Notify::new(), AtomicBool::new(false));
        let on_line = |_: Stream, line: &str| {
            entries += 1;
            let size = line.split_ascii_whitespace().nth(3).and_then(|size| size.parse().ok());
            bytes = bytes.saturating_add(size.unwrap_or(0));
            if entries > bounds.entries || bytes > bounds.bytes {
                too_much.store(true, Ordering::Relaxed);
                enough.notify_one();
            }
        };
        let ended = self.run(child, on_line, enough.notified()).await?;
        if too_much.load(Ordering::Relaxed) {
            let Bounds { entries, bytes, .. } = bounds;
            let what =
                format!("the tree has more than {entries} files and folders, or {bytes} bytes");
            return Err(Trouble::fail("source_refused", what));
        }
        match ended.succeeded() {
            true => Ok(()),
            false => Err(Trouble::fail("git_failed", format!("git ls-tree: {}", said(&ended)))),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Scheme<'a> {
    Https,
    Ssh,
    File(&'a Path),
}

fn scheme(url: &str, allows_file: bool) -> Result<Scheme<'_>, Trouble> {
    // Never quoted: it may hold a password.
    let refuse = |why: &str| {
        let what = format!("`source.git.url` {why}");
        Err(Trouble::fail("source_refused", what))
    };
    if url.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return refuse("has spaces in it");
    }
    if let Some(path) = url.strip_prefix("file://") {
        return match path.starts_with('/') {
            _ if !allows_file => refuse(
                "is a file; this worker takes https:// and ssh://, and file:// only with \
                 BUILDTEST_GIT_FILE=true",
            ),
            true => Ok(Scheme::File(Path::new(path))),
            false => refuse("is not file:/// and a path"),
        };
    }
    let (scheme, rest) = match (url.strip_prefix("https://"), url.strip_prefix("ssh://")) {
        (Some(rest), _) => (Scheme::Https, rest),
        (None, Some(rest)) => (Scheme::Ssh, rest),
        (None, None) => return refuse("does not begin with https:// or ssh://"),
    };
    let host = rest.split('/').next().unwrap_or_default();
    let (user, host) = host.rsplit_once('@').unwrap_or(("", host));
    if user.contains(':') || (scheme == Scheme::Https && !user.is_empty()) {
        return refuse("has credentials in it, which messages must not carry");
    }
    if host.is_empty() || host.starts_with('-') || user.starts_with('-') {
        return refuse("names no host");
    }
    Ok(scheme)
}

/// A branch, a tag, or a commit: never an option, a pattern, or a place to write to.
fn check_ref(at: &str) -> Result<(), Trouble> {
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "._/-+@#=,".contains(letter);
    let is_ref = !at.is_empty()
        && at.len() <= 250
        && at.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && at.chars().all(fine)
        && !at.contains("..")
        && !at.contains("@{");
    if is_ref {
        return Ok(());
    }
    let what = format!("{} is not a branch, a tag or a commit", quote(at));
    Err(Trouble::fail("source_refused", what))
}

fn fetch_failed(ended: &Ended, at: &str) -> Trouble {
    let said = said(ended);
    let is_missing = ["couldn't find remote ref", "not our ref", "no such remote ref"]
        .iter()
        .any(|words| said.contains(words));
    match is_missing {
        true => Trouble::fail("ref_not_found", format!("the repository has no {}", quote(at))),
        false => Trouble::retry("git_failed", format!("git fetch: {said}")),
    }
}

/// The last words of git.
fn said(ended: &Ended) -> String {
    let text = clean(&ended.stderr.text());
    let last: Vec<&str> =
        text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    match last.is_empty() {
        true => format!("{:?}", ended.how),
        false => cut(&last.join("; "), 500).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_schemes_that_run_nothing_are_taken() {
        assert_eq!(scheme("https://git.example/a.git", false).unwrap(), Scheme::Https);
        assert_eq!(scheme("ssh://git@git.example:22/a.git", false).unwrap(), Scheme::Ssh);
        assert_eq!(scheme("file:///srv/a", true).unwrap(), Scheme::File(Path::new("/srv/a")));
        for url in [
            "",
            "ext::sh -c id",
            "ext::sh",
            "--upload-pack=id",
            "-oProxyCommand=id",
            "http://git.example/a.git",
            "git://git.example/a.git",
            "git@git.example:a.git",
            "/srv/a",
            "file:///srv/a",
            "https://",
            "https://user:word@git.example/a.git",
            "https://token@git.example/a.git",
            "ssh://-oProxyCommand=id/a",
            "ssh://-x@host/a",
            "https://git.example/a b",
            "https://git.example/a\n--x",
        ] {
            let trouble = scheme(url, false).unwrap_err();
            assert_eq!(trouble.reason, "source_refused", "{url}");
            assert!(!trouble.what.contains("word"), "{}", trouble.what);
        }
        assert!(scheme("file://host/a", true).is_err());
    }

    #[test]
    fn a_ref_is_a_name_and_nothing_else() {
        for at in ["main", "refs/heads/main", "v1.2.3", "feature/a-b_c", "0123abcd"] {
            assert!(check_ref(at).is_ok(), "{at}");
        }
        for at in
            ["", "-f", "--upload-pack=id", "+main", "a:b", "a b", "a..b", "a^", "a~1", "*", "@{u}"]
        {
            assert_eq!(check_ref(at).unwrap_err().reason, "source_refused", "{at}");
        }
    }
}
