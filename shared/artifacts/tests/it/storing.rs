use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use artifacts::{About, ArtifactError, ArtifactSettings, Bounds, Digest, Refusal, Store};

use crate::shelf::{Shelf, about, listed};

#[tokio::test]
async fn a_tree_comes_back_as_it_was_stored() {
    let shelf = Shelf::new();
    let long = format!("{}/{}.txt", "deep/".repeat(20).trim_end_matches('/'), "n".repeat(150));
    let tree =
        shelf.tree("tree", &[("src/a.rs", "a"), ("run.sh!", "b"), (&long, "c"), ("empty", "")]);
    let bounds = Bounds::default();
    let artifact = shelf.store.put_tree(&tree, about(), &bounds).await.unwrap();
    assert_eq!(artifact.files, 4);
    let hex = artifact.digest.hex();
    let path = shelf.base().join("blobs/sha256").join(&hex[..2]).join(&hex);
    assert_eq!(artifact.url, format!("file://{}", path.display()));
    let blob = fs::read(path).unwrap();
    assert_eq!((Digest::of(&blob), blob.len() as u64), (artifact.digest, artifact.bytes));

    let out = shelf.out("out");
    let unpacked = shelf.store.unpack(&artifact.digest, &out, &bounds).await.unwrap();
    assert_eq!((unpacked.files, unpacked.bytes), (4, 3));
    let found = listed(&out);
    assert_eq!(found["src/a.rs"], (0o644, "a".to_owned()));
    assert_eq!(found["run.sh"], (0o755, "b".to_owned()));
    assert_eq!(found[&long], (0o644, "c".to_owned()));
    assert_eq!(found.len(), 4);

    let manifest = shelf.store.manifest(&artifact.digest).await.unwrap().unwrap();
    assert_eq!((manifest.digest, manifest.size), (artifact.digest, artifact.bytes));
    assert_eq!(manifest.about, about());
    let files: Vec<_> = manifest
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.size, file.executable))
        .collect();
    assert_eq!(
        files,
        [(&*long, 1, false), ("empty", 0, false), ("run.sh", 1, true), ("src/a.rs", 1, false)]
    );
    assert_eq!(format!("sha256:{}", manifest.files[3].sha256), Digest::of(b"a").to_string());
}

#[tokio::test]
async fn the_same_files_are_the_same_artifact_whenever_and_wherever_they_were_made() {
    let shelf = Shelf::new();
    let one = shelf.tree("one", &[("b", "2"), ("a/c", "1")]);
    let other = shelf.tree("other", &[("a/c", "1"), ("b", "2")]);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    File::options().write(true).open(other.join("b")).unwrap().set_modified(old).unwrap();
    fs::create_dir(other.join("an-empty-folder")).unwrap();
    let bounds = Bounds::default();
    let first = shelf.store.put_tree(&one, about(), &bounds).await.unwrap();
    let second = shelf.store.put_tree(&other, About::new(), &bounds).await.unwrap();
    assert_eq!(first, second);
    let manifest = shelf.store.manifest(&first.digest).await.unwrap().unwrap();
    assert_eq!(manifest.about, about(), "the first manifest stays");
    // What is stored under a digest was computed once, here: a change of it would make every
    // artifact new.
    insta::assert_snapshot!(first.digest, @"sha256:dd8872fd10f5e0110fdfa30c0f1b3572e0e1a58ea295f3948932fa52cfeea1e4");
}

#[tokio::test]
async fn many_may_store_the_same_at_once() {
    let shelf = Shelf::new();
    let tree = shelf.tree("tree", &[("a", "1")]);
    let mut storing = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (store, tree) = (shelf.store.clone(), tree.clone());
        storing.spawn(async move { store.put_tree(&tree, about(), &Bounds::default()).await });
    }
    let stored = storing.join_all().await;
    let first = stored[0].as_ref().unwrap();
    assert!(stored.iter().all(|other| other.as_ref().unwrap() == first));
    shelf.store.unpack(&first.digest, &shelf.out("out"), &Bounds::default()).await.unwrap();
}

#[tokio::test]
async fn a_blob_that_was_cut_off_in_the_store_is_found_out_and_replaced() {
    let shelf = Shelf::new();
    let tree = shelf.tree("tree", &[("a", "1")]);
    let bounds = Bounds::default();
    let artifact = shelf.store.put_tree(&tree, about(), &bounds).await.unwrap();
    let path = artifact.url.strip_prefix("file://").unwrap();
    let whole = fs::read(path).unwrap();
    fs::write(path, &whole[..whole.len() / 2]).unwrap();
    let out = shelf.out("out");
    let error = shelf.store.unpack(&artifact.digest, &out, &bounds).await.unwrap_err();
    assert!(matches!(error, ArtifactError::WrongDigest { .. }), "{error:?}");
    assert!(!out.exists());
    shelf.store.put_tree(&tree, about(), &bounds).await.unwrap();
    shelf.store.unpack(&artifact.digest, &out, &bounds).await.unwrap();
}

#[tokio::test]
async fn a_link_within_the_tree_becomes_its_file_and_any_other_is_refused() {
    let shelf = Shelf::new();
    let outside = shelf.tree("outside", &[("secret", "x")]);
    for (link, to, refused) in [
        ("link", "a", false),
        ("sub/link", "../a", false),
        ("link", "../outside/secret", true),
        ("link", outside.join("secret").to_str().unwrap(), true),
        ("link", "/etc/passwd", true),
        ("link", "..", true),
        ("link", "sub", true),
        ("link", "nothing", true),
        ("link", "link", true),
    ] {
        let tree = shelf.tree("tree", &[("a", "1"), ("sub/b", "2")]);
        symlink(to, tree.join(link)).unwrap();
        let stored = shelf.store.put_tree(&tree, about(), &Bounds::default()).await;
        if refused {
            let error = stored.unwrap_err();
            let wanted = matches!(&error, ArtifactError::Refused(Refusal::LinkOut(_)));
            assert!(wanted && !error.is_worth_retrying(), "{to}: {error:?}");
        } else {
            let out = shelf.out("out");
            shelf.store.unpack(&stored.unwrap().digest, &out, &Bounds::default()).await.unwrap();
            assert_eq!(listed(&out)[link].1, "1");
            fs::remove_dir_all(out).unwrap();
        }
        fs::remove_dir_all(tree).unwrap();
    }
}

#[tokio::test]
async fn a_tree_beyond_its_bounds_is_refused() {
    let shelf = Shelf::new();
    let tree = shelf.tree("tree", &[("a/b/c", "12345"), ("d", "67890")]);
    let all = Bounds::default();
    for (bounds, said) in [
        (Bounds { entries: 3, ..all }, "it has more than 3 files and folders"),
        (Bounds { bytes: 9, ..all }, "it is larger than 9 bytes when unpacked"),
        (Bounds { packed: 20, ..all }, "it is larger than 20 bytes when packed"),
        (Bounds { depth: 2, ..all }, "`a/b/c` is deeper than 2 folders"),
        (Bounds { path: 4, ..all }, "`a/b/c` is longer than 4 bytes"),
    ] {
        let error = shelf.store.put_tree(&tree, about(), &bounds).await.unwrap_err();
        let ArtifactError::Refused(why) = error else { panic!("{error:?}") };
        assert_eq!(why.to_string(), said);
    }
    assert_eq!(fs::read_dir(shelf.base()).unwrap().count(), 0, "nothing of it is stored");
    let exact = Bounds { entries: 4, bytes: 10, depth: 3, path: 5, ..all };
    shelf.store.put_tree(&tree, about(), &exact).await.unwrap();
}

#[tokio::test]
async fn a_pipe_in_a_tree_is_refused_and_not_read() {
    let shelf = Shelf::new();
    let tree = shelf.tree("tree", &[("a", "1")]);
    let made = std::process::Command::new("mkfifo").arg(tree.join("pipe")).status().unwrap();
    assert!(made.success());
    let error = shelf.store.put_tree(&tree, about(), &Bounds::default()).await.unwrap_err();
    let ArtifactError::Refused(why) = error else { panic!("{error:?}") };
    assert_eq!(why.to_string(), "`pipe` is neither a file nor a folder, but a pipe");
}

#[tokio::test]
async fn reports_are_kept_by_their_content() {
    let shelf = Shelf::new();
    let url = shelf.store.put_report(b"{\"passed\":true}".to_vec()).await.unwrap();
    assert_eq!(shelf.store.put_report(b"{\"passed\":true}".to_vec()).await.unwrap(), url);
    assert_eq!(shelf.store.report(&url).await.unwrap(), b"{\"passed\":true}");
    for wrong in
        ["", "file:///etc/passwd", &url.replace("reports/", "reports/../../"), &format!("{url}x")]
    {
        let error = shelf.store.report(wrong).await.unwrap_err();
        assert!(matches!(error, ArtifactError::NoReport { .. }), "{wrong}: {error:?}");
    }
}

#[tokio::test]
async fn what_was_never_stored_is_not_found() {
    let shelf = Shelf::new();
    let digest = Digest::of(b"never");
    assert_eq!(shelf.store.manifest(&digest).await.unwrap(), None);
    let out = shelf.out("out");
    let error = shelf.store.unpack(&digest, &out, &Bounds::default()).await.unwrap_err();
    assert!(matches!(error, ArtifactError::NotFound { .. }), "{error:?}");
    assert!(!out.exists());
}

#[tokio::test]
async fn nothing_is_unpacked_over_what_is_there() {
    let shelf = Shelf::new();
    let tree = shelf.tree("tree", &[("a", "new")]);
    let artifact = shelf.store.put_tree(&tree, about(), &Bounds::default()).await.unwrap();
    let out = shelf.tree("out", &[("a", "old")]);
    let error = shelf.store.unpack(&artifact.digest, &out, &Bounds::default()).await.unwrap_err();
    assert!(error.to_string().starts_with("could not unpack into "), "{error}");
    assert_eq!(listed(&out)["a"].1, "old");
}

#[tokio::test]
async fn a_store_below_a_name_with_spaces_works() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("my store #1 ü");
    let store = Store::connect(&ArtifactSettings::at(base.to_str().unwrap())).unwrap();
    let url = store.put_report(b"x".to_vec()).await.unwrap();
    assert_eq!(store.report(&url).await.unwrap(), b"x");
    assert!(base.join("reports").is_dir());
}
