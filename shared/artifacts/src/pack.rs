use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use crate::place::Place;
use crate::{ArtifactError, Bounds, Digest, ManifestFile, Refusal};

/// A tree as one archive, in a file without a name.
pub(crate) struct Packed {
    pub(crate) file: File,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) files: Vec<ManifestFile>,
}

/// The same files make the same bytes: in the order of their paths, with no times and no owners.
pub(crate) fn pack(folder: &Path, bounds: &Bounds) -> Result<Packed, ArtifactError> {
    let root = folder.canonicalize().map_err(ArtifactError::io("open", folder))?;
    let found = walk(&root, bounds)?;
    let temporary = || ArtifactError::io("write to a temporary file in", std::env::temp_dir());
    let file = tempfile::tempfile().map_err(temporary())?;
    let sink = Sink { file: BufWriter::new(file), hash: Sha256::new(), size: 0, bounds: *bounds };
    let mut archive = tar::Builder::new(GzBuilder::new().write(sink, Compression::default()));
    let mut files = Vec::with_capacity(found.len());
    let mut left = bounds.bytes;
    for (place, path) in &found {
        let packed = append(&mut archive, place, path, left, bounds)?;
        left -= packed.size;
        files.push(packed);
    }
    let finish = || -> io::Result<Sink> { archive.into_inner()?.finish() };
    let sink = finish().map_err(|error| refused_or(error, temporary()))?;
    let Sink { file, hash, size, .. } = sink;
    let mut file = file.into_inner().map_err(|error| temporary()(error.into_error()))?;
    file.rewind().map_err(temporary())?;
    Ok(Packed { file, digest: Digest::from(hash), size, files })
}

/// Every file, by where it lies; a link within the tree stands for the file it leads to.
fn walk(root: &Path, bounds: &Bounds) -> Result<BTreeMap<Place, PathBuf>, ArtifactError> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    let mut entries = 0;
    while let Some(folder) = folders.pop() {
        let listed = fs::read_dir(&folder).map_err(ArtifactError::io("list", &folder))?;
        for entry in listed {
            let path = entry.map_err(ArtifactError::io("list", &folder))?.path();
            entries += 1;
            if entries > bounds.entries {
                return Err(Refusal::Entries { most: bounds.entries }.into());
            }
            let within = path.strip_prefix(root).expect("it was found below the root");
            let place = Place::parse(within.as_os_str().as_bytes(), bounds)?;
            let place = place.expect("an entry of a folder has a name");
            let meta = fs::symlink_metadata(&path).map_err(ArtifactError::io("look at", &path))?;
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_symlink() {
                let target = target(root, &path);
                let target = target.ok_or_else(|| Refusal::LinkOut(place.as_str().to_owned()))?;
                found.insert(place, target);
            } else if meta.is_file() {
                found.insert(place, path);
            } else {
                let path = place.as_str().to_owned();
                return Err(Refusal::Special { path, what: kind(&meta) }.into());
            }
        }
    }
    Ok(found)
}

fn target(root: &Path, link: &Path) -> Option<PathBuf> {
    let target = link.canonicalize().ok()?;
    (target.starts_with(root) && target.is_file()).then_some(target)
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    place: &Place,
    path: &Path,
    left: u64,
    bounds: &Bounds,
) -> Result<ManifestFile, ArtifactError> {
    let changed = || Refusal::Changed(place.as_str().to_owned());
    let file = File::open(path).map_err(ArtifactError::io("open", path))?;
    let meta = file.metadata().map_err(ArtifactError::io("look at", path))?;
    // What was opened is what was seen, and not something put in its place since.
    let seen = fs::symlink_metadata(path).map_err(ArtifactError::io("look at", path))?;
    if !seen.is_file() || (seen.dev(), seen.ino()) != (meta.dev(), meta.ino()) {
        return Err(changed().into());
    }
    let (size, executable) = (meta.len(), meta.permissions().mode() & 0o100 != 0);
    if size > left {
        return Err(Refusal::Bytes { most: bounds.bytes }.into());
    }
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    let mut content = Hashing { inner: file.take(size), hash: Sha256::new(), read: 0 };
    archive
        .append_data(&mut header, place.as_str(), &mut content)
        .map_err(|error| refused_or(error, ArtifactError::io("pack", path)))?;
    let Hashing { inner, hash, read } = content;
    // The archive already says how long it is.
    let more = inner.into_inner().read(&mut [0]).map_err(ArtifactError::io("read", path))?;
    if read != size || more > 0 {
        return Err(changed().into());
    }
    let sha256 = Digest::from(hash).hex();
    Ok(ManifestFile { path: place.as_str().to_owned(), size, sha256, executable })
}

/// A rule that was broken inside a reader or writer comes out as it went in.
pub(crate) fn refused_or(
    error: io::Error,
    otherwise: impl FnOnce(io::Error) -> ArtifactError,
) -> ArtifactError {
    match error.downcast::<Refusal>() {
        Ok(refusal) => refusal.into(),
        Err(error) => otherwise(error),
    }
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
    read: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.read += count as u64;
        Ok(count)
    }
}

/// Where the packed bytes go: counted and hashed.
struct Sink {
    file: BufWriter<File>,
    hash: Sha256,
    size: u64,
    bounds: Bounds,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        if self.size > self.bounds.packed {
            return Err(io::Error::other(Refusal::Packed { most: self.bounds.packed }));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
