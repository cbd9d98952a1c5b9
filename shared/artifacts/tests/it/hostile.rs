use std::fs;
use std::io::Write;

use artifacts::{ArtifactError, Bounds, Refusal};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use crate::shelf::{Shelf, listed};

/// An entry with exactly this name, whatever a library thinks of it.
fn entry(archive: &mut Builder<Vec<u8>>, name: &[u8], kind: EntryType, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o6777);
    if kind.is_symlink() || kind.is_hard_link() {
        header.set_link_name_literal("../../../../etc").unwrap();
    }
    header.set_cksum();
    archive.append(&header, content).unwrap();
}

fn archive(entries: &[(&[u8], EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (name, kind, content) in entries {
        entry(&mut archive, name, *kind, content);
    }
    archive.into_inner().unwrap()
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::best());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// What is said to such an archive, plain and zipped; it must leave nothing behind.
async fn said_to(bytes: Vec<u8>, bounds: &Bounds) -> String {
    let shelf = Shelf::new();
    let mut said = Vec::new();
    for blob in [zipped(&bytes), bytes] {
        let digest = shelf.store.put_archive(blob).await.unwrap();
        let out = shelf.out("out");
        let error = shelf.store.unpack(&digest, &out, bounds).await.unwrap_err();
        assert!(!error.is_worth_retrying());
        let ArtifactError::Refused(why) = error else { panic!("{error:?}") };
        said.push(why.to_string());
        assert!(shelf.beside().is_empty(), "{:?}", shelf.beside());
        // An empty folder that was there stays, and stays empty.
        fs::create_dir(&out).unwrap();
        shelf.store.unpack(&digest, &out, bounds).await.unwrap_err();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        fs::remove_dir(out).unwrap();
    }
    assert_eq!(said[0], said[1]);
    said.remove(0)
}

use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};

#[tokio::test]
async fn nothing_gets_out_of_its_folder() {
    let good: (&[u8], EntryType, &[u8]) = (b"good", Regular, b"good");
    for (bad, why) in [
        ((&b"/etc/cron.d/x"[..], Regular, &b"x"[..]), "`/etc/cron.d/x` is an absolute path"),
        ((b"../x", Regular, b"x"), "`../x` leads out of the tree with `..`"),
        ((b"a/../../x", Regular, b"x"), "`a/../../x` leads out of the tree with `..`"),
        ((b"..", Directory, b""), "`..` leads out of the tree with `..`"),
        ((b"../", Directory, b""), "`../` leads out of the tree with `..`"),
        ((b"link", Symlink, b""), "`link` is a link"),
        ((b"link", Link, b""), "`link` is a link"),
        ((b"tty", Char, b""), "`tty` is neither a file nor a folder, but a device"),
        ((b"disk", Block, b""), "`disk` is neither a file nor a folder, but a device"),
        ((b"pipe", Fifo, b""), "`pipe` is neither a file nor a folder, but a pipe"),
        (
            (b"sparse", EntryType::GNUSparse, b""),
            "`sparse` is neither a file nor a folder, but a sparse file",
        ),
        (
            (b"what", EntryType::new(b'V'), b""),
            "`what` is neither a file nor a folder, but something unheard of",
        ),
        ((b"./", Regular, b"x"), "`./` is not a usable path: it names the tree itself"),
        ((b"", Regular, b"x"), "`` is not a usable path: it is empty"),
        (
            (b"a\nb", Regular, b"x"),
            "`a\\nb` is not a usable path: it has a control character or a backslash in it",
        ),
        ((b"a\xff", Regular, b"x"), "`a\u{fffd}` is not a usable path: it is not UTF-8"),
        ((b"good", Regular, b"x"), "`good` is in it twice, or is both a file and a folder"),
        ((b"good/x", Regular, b"x"), "`good` is in it twice, or is both a file and a folder"),
        ((b"good", Directory, b""), "`good` is in it twice, or is both a file and a folder"),
        ((b"./good//", Directory, b""), "`good` is in it twice, or is both a file and a folder"),
    ] {
        // First a good one, so that there is something to be left behind.
        let said = said_to(archive(&[good, bad]), &Bounds::default()).await;
        assert_eq!(said, why);
    }
}

#[tokio::test]
async fn a_file_may_not_replace_a_folder() {
    let bytes = archive(&[(b"a/b", Regular, b"x"), (b"a", Regular, b"x")]);
    let said = said_to(bytes, &Bounds::default()).await;
    assert_eq!(said, "`a` is in it twice, or is both a file and a folder");
}

#[tokio::test]
async fn a_bomb_is_counted_while_it_unpacks() {
    let bounds = Bounds { bytes: 100_000, entries: 100, ..Bounds::default() };
    // One large file; many files; names that are long and nothing else; a folder in a folder.
    let large = archive(&[(b"zeros", Regular, &vec![0; 50_000_000])]);
    assert_eq!(said_to(large, &bounds).await, "it is larger than 100000 bytes when unpacked");

    let names: Vec<Vec<u8>> = (0..101).map(|number| format!("f{number}").into_bytes()).collect();
    let many: Vec<(&[u8], EntryType, &[u8])> =
        names.iter().map(|name| (&name[..], Regular, &b""[..])).collect();
    let said = said_to(archive(&many), &bounds).await;
    assert_eq!(said, "it has more than 100 files and folders");

    let deep: Vec<Vec<u8>> =
        (0..4).map(|number| format!("{number}/{}x", "d/".repeat(40)).into_bytes()).collect();
    let deep: Vec<(&[u8], EntryType, &[u8])> =
        deep.iter().map(|name| (&name[..], Regular, &b""[..])).collect();
    let said = said_to(archive(&deep), &bounds).await;
    assert_eq!(said, "it has more than 100 files and folders", "folders nobody named count");

    let padding = archive(&[(b"g", EntryType::XGlobalHeader, &vec![b'\n'; 5_000_000])]);
    assert_eq!(said_to(padding, &bounds).await, "it is larger than 100000 bytes when unpacked");

    let longname = archive(&[(b"l", EntryType::GNULongName, &vec![b'n'; 300_000])]);
    let said = said_to(longname, &bounds).await;
    assert!(said.ends_with("is longer than 1024 bytes"), "{said}");
}

#[tokio::test]
async fn an_archive_larger_than_allowed_is_not_even_read_to_its_end() {
    let shelf = Shelf::new();
    let digest = shelf.store.put_archive(vec![7; 10_001]).await.unwrap();
    let bounds = Bounds { packed: 10_000, ..Bounds::default() };
    let error = shelf.store.unpack(&digest, &shelf.out("out"), &bounds).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Refused(Refusal::Packed { most: 10_000 })), "{error:?}");
    assert!(shelf.beside().is_empty());
}

#[tokio::test]
async fn long_names_are_understood_and_held_to_the_same_rules() {
    let bounds = Bounds::default();
    let named = |kind, name: &[u8]| archive(&[(b"x", kind, name), (b"short", Regular, b"x")]);
    let gnu = EntryType::GNULongName;
    for (name, why) in [
        ("../x\0", "`../x` leads out of the tree with `..`"),
        ("/x\0", "`/x` is an absolute path"),
        ("a\0b", "`a\\0b` is not a usable path: it has a control character or a backslash in it"),
    ] {
        assert_eq!(said_to(named(gnu, name.as_bytes()), &bounds).await, why);
    }
    for (lines, why) in [
        ("13 path=../x\n", "`../x` leads out of the tree with `..`"),
        ("11 path=/x\n", "`/x` is an absolute path"),
        ("11 size=99\n", "it is not a whole .tar.gz or .tar: it has a size in an extension"),
        (
            "22 GNU.sparse.major=1\n",
            "it is not a whole .tar.gz or .tar: it has a sparse file in it",
        ),
        ("nonsense\n", "it is not a whole .tar.gz or .tar: malformed pax extension"),
    ] {
        assert_eq!(said_to(named(EntryType::XHeader, lines.as_bytes()), &bounds).await, why);
    }
    let twice = archive(&[(b"x", gnu, b"one\0"), (b"x", gnu, b"two\0"), (b"f", Regular, b"")]);
    let said = said_to(twice, &bounds).await;
    assert_eq!(said, "it is not a whole .tar.gz or .tar: an entry has two names");
}

#[tokio::test]
async fn a_cut_or_garbled_archive_leaves_nothing() {
    let whole = archive(&[(b"a", Regular, &[1; 2000]), (b"b", Regular, &[2; 2000])]);
    let packed = zipped(&whole);
    let mut changed = packed.clone();
    let last = changed.len() - 6;
    changed[last] ^= 1;
    let mut header = whole.clone();
    header[2560] ^= 1;
    let mut after = packed.clone();
    after.extend(b"trailing");
    let shelf = Shelf::new();
    for (what, blob) in [
        ("empty", Vec::new()),
        ("noise", b"this is no archive at all".repeat(100)),
        ("cut .gz", packed[..packed.len() / 2].to_vec()),
        ("without its checksum", packed[..packed.len() - 8].to_vec()),
        ("wrong checksum", changed),
        ("cut in a file", whole[..1000].to_vec()),
        ("cut in a header", whole[..2700].to_vec()),
        ("wrong header", header),
        ("garbage after the end", after),
        ("a .gz of nothing", zipped(b"")[..12].to_vec()),
    ] {
        let digest = shelf.store.put_archive(blob).await.unwrap();
        let out = shelf.out("out");
        let error = shelf.store.unpack(&digest, &out, &Bounds::default()).await.unwrap_err();
        let refused = matches!(&error, ArtifactError::Refused(Refusal::Damaged(_)));
        assert!(refused, "{what}: {error:?}");
        assert!(shelf.beside().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn what_other_programs_make_is_understood() {
    let shelf = Shelf::new();
    let long = format!("folder/{}", "n".repeat(180));
    let tree = shelf.tree("tree", &[(&long, "1"), ("run!", "2")]);
    for format in ["gnu", "posix", "ustar"] {
        for zip in [&["-z"][..], &[]] {
            let made = std::process::Command::new("tar")
                .arg(format!("--format={format}"))
                .args(zip)
                .args(["-cf", "-", "-C", tree.to_str().unwrap(), "."])
                .output()
                .unwrap();
            // The oldest has no room for such a name.
            if format == "ustar" && !made.status.success() {
                continue;
            }
            let digest = shelf.store.put_archive(made.stdout).await.unwrap();
            let out = shelf.out("out");
            shelf.store.unpack(&digest, &out, &Bounds::default()).await.unwrap();
            let found = listed(&out);
            assert_eq!(found[&long], (0o644, "1".to_owned()), "{format}");
            assert_eq!(found["run"], (0o755, "2".to_owned()), "{format}");
            assert_eq!(shelf.store.manifest(&digest).await.unwrap(), None);
            fs::remove_dir_all(out).unwrap();
        }
    }
}

#[tokio::test]
async fn set_user_id_is_not_taken_over() {
    let shelf = Shelf::new();
    let digest = shelf.store.put_archive(archive(&[(b"su", Regular, b"x")])).await.unwrap();
    let out = shelf.out("out");
    shelf.store.unpack(&digest, &out, &Bounds::default()).await.unwrap();
    assert_eq!(listed(&out)["su"].0, 0o755);
}
