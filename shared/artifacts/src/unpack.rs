use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use crate::pack::refused_or;
use crate::pax::Extension;
use crate::place::Place;
use crate::{ArtifactError, Bounds, Refusal};

/// What came out of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    pub files: u64,
    pub bytes: u64,
}

/// Leaves `into` as it was, unless all of the archive is good.
pub(crate) fn unpack(
    archive: File,
    into: &Path,
    bounds: &Bounds,
    wanted: &dyn Fn() -> bool,
) -> Result<Unpacked, ArtifactError> {
    let was_there = into.exists();
    fs::create_dir_all(into).map_err(ArtifactError::io("make", into))?;
    let mut listed = fs::read_dir(into).map_err(ArtifactError::io("list", into))?;
    if listed.next().is_some() {
        let full = io::Error::from(io::ErrorKind::DirectoryNotEmpty);
        return Err(ArtifactError::io("unpack into", into)(full));
    }
    let mut tree = Tree { into, bounds, wanted, made: HashMap::new(), out: Unpacked::default() };
    let result = tree.take_all(archive);
    if result.is_err() {
        clear(into, was_there);
    }
    result.map(|()| tree.out)
}

fn clear(into: &Path, was_there: bool) {
    // Removed as a whole, and made again if it was not ours; what fails here is a leftover at worst.
    let _ = fs::remove_dir_all(into);
    if was_there {
        let _ = fs::create_dir(into);
    }
}

struct Tree<'a> {
    into: &'a Path,
    bounds: &'a Bounds,
    wanted: &'a dyn Fn() -> bool,
    made: HashMap<Place, Kind>,
    out: Unpacked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

impl Tree<'_> {
    fn take_all(&mut self, archive: File) -> Result<(), ArtifactError> {
        let inner = decompressed(archive).map_err(damaged)?;
        let stream = Limited { inner, left: self.most(), most: self.bounds.bytes };
        let mut archive = Archive::new(stream);
        let mut extension = Extension::default();
        // Raw: the extensions are read here, because the library would read them whole.
        for entry in archive.entries().map_err(damaged)?.raw(true) {
            let mut entry = entry.map_err(damaged)?;
            if !(self.wanted)() {
                return Err(ArtifactError::io("unpack", self.into)(stopped()));
            }
            match entry.header().entry_type() {
                EntryType::GNULongName => extension.gnu_name(self.extension(&mut entry)?)?,
                EntryType::XHeader => extension.pax(&self.extension(&mut entry)?)?,
                // Of the archive as a whole, such as the commit it was made of; or the target of
                // the link that comes next, which is refused then.
                EntryType::XGlobalHeader | EntryType::GNULongLink => {}
                _ => {
                    let path = std::mem::take(&mut extension).path;
                    let path = path.unwrap_or_else(|| entry.path_bytes().into_owned());
                    self.take(&path, &mut entry)?;
                }
            }
        }
        // The checksum of a .gz comes last.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
        Ok(())
    }

    /// Also what is not written out costs time: names, padding, and what is skipped.
    fn most(&self) -> u64 {
        const FOR_AN_ENTRY: u64 = 4096;
        self.bounds.bytes.saturating_add(self.bounds.entries.saturating_mul(FOR_AN_ENTRY))
    }

    fn extension(&self, entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, ArtifactError> {
        const LONGEST: u64 = 64 * 1024;
        let mut bytes = Vec::new();
        entry.take(LONGEST + 1).read_to_end(&mut bytes).map_err(damaged)?;
        if bytes.len() as u64 > LONGEST {
            let path = String::from_utf8_lossy(&bytes).into_owned();
            return Err(Refusal::PathLength { path, most: self.bounds.path }.into());
        }
        Ok(bytes)
    }

    fn take(&mut self, path: &[u8], entry: &mut Entry<'_, impl Read>) -> Result<(), ArtifactError> {
        let place = Place::parse(path, self.bounds)?;
        let named = || String::from_utf8_lossy(path).into_owned();
        let special = |what| Err(Refusal::Special { path: named(), what }.into());
        match (entry.header().entry_type(), place) {
            (EntryType::Directory, None) => Ok(()),
            (EntryType::Directory, Some(place)) => self.folder(&place),
            // Before there was a type for folders, they were written so.
            (EntryType::Regular, Some(place)) if path.ends_with(b"/") => self.folder(&place),
            (EntryType::Regular | EntryType::Continuous, Some(place)) => self.file(&place, entry),
            (EntryType::Regular | EntryType::Continuous, None) => {
                Err(Refusal::Path { path: named(), why: "it names the tree itself" }.into())
            }
            (EntryType::Symlink | EntryType::Link, _) => Err(Refusal::Link(named()).into()),
            (EntryType::Char | EntryType::Block, _) => special("a device"),
            (EntryType::Fifo, _) => special("a pipe"),
            (EntryType::GNUSparse, _) => special("a sparse file"),
            _ => special("something unheard of"),
        }
    }

    fn folder(&mut self, place: &Place) -> Result<(), ArtifactError> {
        for folder in place.folders() {
            self.make_folder(&folder)?;
        }
        self.make_folder(place)
    }

    fn make_folder(&mut self, place: &Place) -> Result<(), ArtifactError> {
        match self.made.get(place) {
            Some(Kind::Folder) => return Ok(()),
            Some(Kind::File) => return Err(Refusal::Twice(place.as_str().to_owned()).into()),
            None => {}
        }
        let path = self.note(place, Kind::Folder)?;
        fs::create_dir(&path).map_err(ArtifactError::io("make", &path))?;
        let readable = Permissions::from_mode(0o755);
        fs::set_permissions(&path, readable).map_err(ArtifactError::io("make", &path))
    }

    fn file(
        &mut self,
        place: &Place,
        entry: &mut Entry<'_, impl Read>,
    ) -> Result<(), ArtifactError> {
        for folder in place.folders() {
            self.make_folder(&folder)?;
        }
        if self.made.contains_key(place) {
            return Err(Refusal::Twice(place.as_str().to_owned()).into());
        }
        let path = self.note(place, Kind::File)?;
        let trouble = || ArtifactError::io("write", &path);
        // New and nothing else: two names that this file system takes for one do not overwrite.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = made.map_err(trouble())?;
        let size = self.copy(place, entry, &mut file)?;
        if size != entry.header().size().unwrap_or(size) {
            let why = format!("it ends within {}", model::quote(place.as_str()));
            return Err(Refusal::Damaged(why).into());
        }
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        let mode = Permissions::from_mode(if executable { 0o755 } else { 0o644 });
        file.set_permissions(mode).map_err(trouble())?;
        self.out.files += 1;
        Ok(())
    }

    fn copy(
        &mut self,
        place: &Place,
        entry: &mut Entry<'_, impl Read>,
        file: &mut File,
    ) -> Result<u64, ArtifactError> {
        let mut buffer = vec![0; 64 * 1024];
        let mut size = 0;
        loop {
            let read = entry.read(&mut buffer).map_err(damaged)?;
            if read == 0 {
                return Ok(size);
            }
            size += read as u64;
            self.out.bytes += read as u64;
            if self.out.bytes > self.bounds.bytes {
                return Err(Refusal::Bytes { most: self.bounds.bytes }.into());
            }
            if !(self.wanted)() {
                return Err(ArtifactError::io("unpack", self.into)(stopped()));
            }
            let written = file.write_all(&buffer[..read]);
            written.map_err(ArtifactError::io("write", self.into.join(place.as_str())))?;
        }
    }

    fn note(&mut self, place: &Place, kind: Kind) -> Result<PathBuf, Refusal> {
        if self.made.len() as u64 >= self.bounds.entries {
            return Err(Refusal::Entries { most: self.bounds.entries });
        }
        self.made.insert(place.clone(), kind);
        Ok(self.into.join(place.as_str()))
    }
}

fn damaged(error: io::Error) -> ArtifactError {
    refused_or(error, |error| Refusal::Damaged(error.to_string()).into())
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "nobody waits for it any more")
}

fn decompressed(mut archive: File) -> io::Result<Box<dyn Read>> {
    let mut start = Vec::new();
    Read::by_ref(&mut archive).take(2).read_to_end(&mut start)?;
    archive.rewind()?;
    match start[..] {
        [] => Err(io::Error::other("it is empty")),
        [0x1f, 0x8b] => Ok(Box::new(BufReader::new(MultiGzDecoder::new(BufReader::new(archive))))),
        _ => Ok(Box::new(BufReader::new(archive))),
    }
}

/// Ends a stream that is longer than anything we would unpack.
struct Limited {
    inner: Box<dyn Read>,
    left: u64,
    /// What it is said to exceed.
    most: u64,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(count as u64) else {
            return Err(io::Error::other(Refusal::Bytes { most: self.most }));
        };
        self.left = left;
        Ok(count)
    }
}
