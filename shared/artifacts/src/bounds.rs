/// How much an artifact may be, on its way in and out. Everything is counted while it streams:
/// what a header says about sizes is never believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Files and folders together.
    pub entries: u64,
    /// All files together, as they lie in a folder.
    pub bytes: u64,
    /// The archive, as it lies in the store.
    pub packed: u64,
    /// Bytes of one path.
    pub path: usize,
    /// Folders within folders.
    pub depth: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            entries: 20_000,
            bytes: 512 * 1024 * 1024,
            packed: 128 * 1024 * 1024,
            path: 1024,
            depth: 64,
        }
    }
}
