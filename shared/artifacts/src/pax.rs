use tar::PaxExtensions;

use crate::Refusal;

/// What the entries before a file say about it, where its own header has no room.
#[derive(Default)]
pub(crate) struct Extension {
    pub(crate) path: Option<Vec<u8>>,
}

impl Extension {
    /// A long name as GNU tar writes it, ended by a zero.
    pub(crate) fn gnu_name(&mut self, mut name: Vec<u8>) -> Result<(), Refusal> {
        if name.last() == Some(&0) {
            name.pop();
        }
        self.set_path(name)
    }

    /// POSIX: lines of `length key=value`.
    pub(crate) fn pax(&mut self, lines: &[u8]) -> Result<(), Refusal> {
        for line in PaxExtensions::new(lines) {
            let line = line.map_err(|error| Refusal::Damaged(error.to_string()))?;
            match line.key_bytes() {
                b"path" => self.set_path(line.value_bytes().to_vec())?,
                // Readers disagree about which of two sizes counts, which is how one archive shows
                // different files to different readers.
                b"size" => {
                    return Err(Refusal::Damaged("it has a size in an extension".to_owned()));
                }
                key if key.starts_with(b"GNU.sparse") => {
                    return Err(Refusal::Damaged("it has a sparse file in it".to_owned()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn set_path(&mut self, path: Vec<u8>) -> Result<(), Refusal> {
        match self.path.replace(path) {
            None => Ok(()),
            Some(_) => Err(Refusal::Damaged("an entry has two names".to_owned())),
        }
    }
}
