//! The `cogo` program: the command line, and every worker there is. Start at [`workers`].
//! Invariant: the only package that knows all workers; adding one is a line here.

pub mod probe;

use cli::WorkerEntry;

/// What `cogo run` can run.
pub fn workers() -> [WorkerEntry; 2] {
    [WorkerEntry::new("bus-keeper", bus_keeper::run), WorkerEntry::new("probe", probe::run)]
}
