//! Code from repositories on this machine.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use messages::Source;

use crate::yard::{Yard, asking, write};

const MAKEFILE: &str = "test:\n\ttest -f file && test ! -e .git && cat file\n";

async fn open() -> Yard {
    Yard::with(&["--buildtest-git-file", "--buildtest-source-entries", "100"]).await
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn repository(yard: &Yard, files: &[(&str, &str)]) -> PathBuf {
    let folder = yard.folder.path().join("repository");
    write(&folder, files);
    git(&folder, &["init", "-q"]);
    git(&folder, &["add", "-A"]);
    git(&folder, &["commit", "-qm", "first"]);
    folder
}

fn from(folder: &Path, at: &str) -> Source {
    Source::Git { url: format!("file://{}", folder.display()), at: at.to_owned() }
}

#[tokio::test]
async fn a_branch_a_tag_and_a_commit_are_built() {
    let yard = open().await;
    let attributes = "file export-ignore\n";
    let files = [("Makefile", MAKEFILE), ("file", "one"), (".gitattributes", attributes)];
    let folder = repository(&yard, &files);
    git(&folder, &["tag", "v1"]);
    let first = git(&folder, &["rev-parse", "HEAD"]);
    write(&folder, &[("file", "two")]);
    git(&folder, &["commit", "-qam", "second"]);
    // A server that gives single commits, as the well-known ones do.
    git(&folder, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    for (at, says) in [("main", "two"), ("v1", "one"), ("refs/heads/main", "two"), (&first, "one")]
    {
        let built = yard.ask(&asking(from(&folder, at))).await;
        assert_eq!(built.figures(), (true, 0, 0), "{at}: {:#}", built.whole);
        let out = built.whole["commands"][0]["stdout"].as_str().unwrap();
        assert!(out.ends_with(says), "{at}: {out}");
    }
}

#[tokio::test]
async fn what_is_not_allowed_or_not_there_fails_for_good() {
    let yard = open().await;
    let folder = repository(&yard, &[("Makefile", MAKEFILE)]);
    let built = yard.ask(&asking(from(&folder, "absent"))).await;
    assert_eq!(built.reason(), "ref_not_found");
    for (url, at) in [
        ("ext::sh -c touch% /tmp/x", "main"),
        ("--upload-pack=touch /tmp/x", "main"),
        ("http://localhost/a.git", "main"),
        (&format!("file://{}", folder.display()), "--upload-pack=id"),
    ] {
        let source = Source::Git { url: url.to_owned(), at: at.to_owned() };
        assert_eq!(yard.ask(&asking(source)).await.reason(), "source_refused", "{url}");
    }
    let closed = Yard::new().await;
    let built = closed.ask(&asking(from(&folder, "main"))).await;
    assert_eq!(built.reason(), "source_refused");
    assert!(built.error.contains("BUILDTEST_GIT_FILE"), "{}", built.error);
}

#[tokio::test]
async fn links_out_and_trees_without_end_are_refused_and_hooks_do_not_run() {
    let yard = open().await;
    let folder = repository(&yard, &[("Makefile", MAKEFILE), ("file", "one"), ("a/b", "")]);
    symlink("../file", folder.join("a/link")).unwrap();
    write(&folder, &[(".git/hooks/post-checkout", "#!/bin/sh\nexit 1\n")]);
    git(&folder, &["add", "-A"]);
    git(&folder, &["commit", "-qm", "a link within"]);
    assert_eq!(yard.ask(&asking(from(&folder, "main"))).await.figures(), (true, 0, 0));

    symlink("/etc/passwd", folder.join("a/out")).unwrap();
    git(&folder, &["add", "-A"]);
    git(&folder, &["commit", "-qm", "a link out"]);
    let built = yard.ask(&asking(from(&folder, "main"))).await;
    assert_eq!(built.reason(), "source_refused");
    assert!(built.error.contains("a/out"), "{}", built.error);

    // Ten folders that are the same, in ten folders that are the same, …
    let mut tree = git(&folder, &["rev-parse", "HEAD:a"]);
    for _ in 0..9 {
        let lines: String = (0..10).map(|n| format!("040000 tree {tree}\td{n}\n")).collect();
        std::fs::write(folder.join("list"), lines).unwrap();
        let made = Command::new("git")
            .arg("mktree")
            .current_dir(&folder)
            .stdin(std::fs::File::open(folder.join("list")).unwrap())
            .output()
            .unwrap();
        tree = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    }
    let bomb = git(&folder, &["commit-tree", "-m", "bomb", &tree]);
    git(&folder, &["branch", "bomb", &bomb]);
    let built = yard.ask(&asking(from(&folder, "bomb"))).await;
    assert_eq!(built.reason(), "source_refused", "{}", built.error);
    assert!(built.error.contains("more than 100"), "{}", built.error);
}
