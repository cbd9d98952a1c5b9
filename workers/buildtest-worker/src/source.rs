use std::fs;
use std::path::{Component, Path, PathBuf};

use artifacts::Digest;
use attempt::Trouble;
use child::Workspace;
use messages::Source;
use model::quote;

use crate::build_test::Testing;
use crate::git;
use crate::trouble::{no_artifact, no_child};

/// Puts the code into the workspace, and gives it to the user who builds it.
pub(crate) async fn bring(testing: &Testing<'_>, workspace: &Workspace) -> Result<(), Trouble> {
    match &testing.asked.payload.source {
        Source::Artifact(digest) => {
            let digest: Digest = digest
                .parse()
                .map_err(|error: artifacts::InvalidDigest| no_artifact(error.into()))?;
            let bounds = testing.yard.building.bounds();
            let unpacking = testing.yard.store.unpack(&digest, workspace.work(), &bounds);
            testing.unless_over(unpacking).await?.map_err(no_artifact)?;
        }
        Source::Git { url, at } => git::fetch(testing, workspace, url, at).await?,
    }
    let work = workspace.work().to_owned();
    // A tree may have many files.
    let checked = tokio::task::spawn_blocking(move || refuse_links_out(&work)).await;
    checked.map_err(|error| Trouble::retry_after("source_unreadable", &error))??;
    workspace.hand_over().map_err(no_child)
}

/// A link that leads out of the tree would make a build read, or write, what is not its own.
fn refuse_links_out(work: &Path) -> Result<(), Trouble> {
    let unreadable = |error: std::io::Error| Trouble::retry_after("source_unreadable", &error);
    let mut open = vec![work.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let kind = fs::symlink_metadata(&path).map_err(unreadable)?;
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(unreadable)?;
                if leaves(work, &folder, &target) {
                    let place = path.strip_prefix(work).unwrap_or(&path).display().to_string();
                    let what = format!("{} is a link out of the tree", quote(&place));
                    return Err(Trouble::fail("source_refused", what));
                }
            }
        }
    }
    Ok(())
}

/// Where a link leads, step by step. What it passes may be a link again; that one is judged itself,
/// and as none leads out, no way over several does: each step stays within the tree.
fn leaves(work: &Path, folder: &Path, target: &Path) -> bool {
    let mut at: PathBuf = folder.to_owned();
    for part in target.components() {
        match part {
            Component::Normal(name) => {
                at.push(name);
                // Through another link, `..` would mean another folder than it seems to.
                let through_link = fs::symlink_metadata(&at).is_ok_and(|found| found.is_symlink());
                if through_link && target.components().any(|part| part == Component::ParentDir) {
                    return true;
                }
            }
            Component::ParentDir => {
                at.pop();
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return true,
        }
        if !at.starts_with(work) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_within_the_tree_stay_and_others_are_refused() {
        for (link, target, refused) in [
            ("a/link", "../b/file", false),
            ("a/link", "nowhere", false),
            ("a/link", "..", false),
            ("a/link", "../..", true),
            ("a/link", "../../elsewhere/b", true),
            ("a/link", "/etc/passwd", true),
            ("link", "../x", true),
            ("link", "a/../../x", true),
            // `here` leads to `b/deep`, so this is not `c` beside it.
            ("a/link", "here/../../../c", true),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let work = folder.path().join("work");
            fs::create_dir_all(work.join("a")).unwrap();
            fs::create_dir_all(work.join("b/deep")).unwrap();
            symlink("../b/deep", work.join("a/here")).unwrap();
            symlink(target, work.join(link)).unwrap();
            let result = refuse_links_out(&work);
            assert_eq!(result.is_err(), refused, "{link} -> {target}");
            if let Err(trouble) = result {
                assert_eq!(trouble.reason, "source_refused");
            }
        }
    }
}
