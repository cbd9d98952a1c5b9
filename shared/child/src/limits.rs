use std::ffi::OsString;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

/// What one run may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From its start to its end.
    pub time: Duration,
    /// Between being asked to end and being killed.
    pub grace: Duration,
    /// Bytes of memory: of each process, and of the tree together.
    pub memory: u64,
    /// Processes and threads at a time.
    pub processes: u64,
    /// Bytes of the largest file it may write.
    pub file_size: u64,
    /// Bytes kept of each output stream: the beginning and the end of it.
    pub output: usize,
}

impl Limits {
    /// Arguments of `prlimit`. `others` run already as the same user, and count as well.
    pub(crate) fn arguments(&self, others: u64) -> Vec<OsString> {
        // Not the address space: node, Go and the JVM reserve many times what they ever touch. This
        // bounds what a process may write to, which reservations are not.
        let data = lowered(Resource::RLIMIT_DATA, self.memory);
        let processes = lowered(Resource::RLIMIT_NPROC, self.processes.saturating_add(others));
        let file_size = lowered(Resource::RLIMIT_FSIZE, self.file_size);
        vec![
            format!("--data={data}").into(),
            format!("--nproc={processes}").into(),
            format!("--fsize={file_size}").into(),
            "--core=0".into(),
        ]
    }
}

/// Nobody may raise a limit above the one they have.
fn lowered(resource: Resource, wanted: u64) -> u64 {
    getrlimit(resource).map_or(wanted, |(_, hard)| wanted.min(hard))
}
