//! Artifacts that are not there, not what they should be, or hostile.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use messages::Source;
use tar::{Builder, EntryType, Header};

use crate::yard::{Yard, asking};

#[tokio::test]
async fn hostile_archives_are_refused_for_good() {
    let yard = Yard::new().await;
    for (what, archive) in [
        ("a way up", archive(|tar| file(tar, b"../up", b"x"))),
        ("an absolute path", archive(|tar| file(tar, b"/etc/cron.d/x", b"x"))),
        ("a link out", archive(|tar| link(tar, "passwd", "/etc/passwd"))),
        ("a bomb", archive(|tar| file(tar, b"big", &vec![0; 3 << 20]))),
        ("no archive", b"hello".to_vec()),
    ] {
        let small = if what == "a bomb" {
            Some(Yard::with(&["--buildtest-source-size", "1MiB"]).await)
        } else {
            None
        };
        let yard = small.as_ref().unwrap_or(&yard);
        let digest = yard.store.put_archive(archive).await.unwrap();
        let built = yard.ask(&asking(Source::Artifact(digest.to_string()))).await;
        assert_eq!(built.reason(), "artifact_refused", "{what}");
        assert_eq!(yard.workspaces(), 0, "{what}");
    }
}

fn archive(write: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    write(&mut tar);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&tar.into_inner().unwrap()).unwrap();
    packed.finish().unwrap()
}

/// With any name: the library itself refuses to write the ones that matter here.
fn file(tar: &mut Builder<Vec<u8>>, name: &[u8], content: &[u8]) {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn link(tar: &mut Builder<Vec<u8>>, name: &str, target: &str) {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, name, target).unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_tried_again_and_what_is_no_digest_is_not() {
    let yard = Yard::new().await;
    let missing = asking(Source::Artifact(format!("sha256:{}", "0".repeat(64))));
    let id = yard.publish(&missing).await;
    let retried = format!(
        "select error like 'artifact_unavailable: there is no artifact%' from public.agent_messages where id = {id} and status = 'queued'"
    );
    yard.until(&retried).await;
    let invalid = yard.ask(&asking(Source::Artifact("sha256:zz".to_owned()))).await;
    assert_eq!(invalid.reason(), "payload_invalid");
}

#[tokio::test]
async fn a_tree_that_says_nothing_and_a_tool_that_is_missing_fail_for_good() {
    let yard = Yard::new().await;
    let built = yard.build(&[("README.md", "hello")]).await;
    assert_eq!(built.reason(), "no_commands");
    assert!(built.error.contains("Cargo.toml"), "{}", built.error);

    let mut asked = asking(yard.artifact(&[("README.md", "hello")]).await);
    asked.build.commands = vec![vec!["no-such-tool".to_owned(), "--version".to_owned()]];
    let built = yard.ask(&asked).await;
    assert_eq!(built.reason(), "tool_missing");
    assert!(built.error.contains("`no-such-tool`"), "{}", built.error);
}
