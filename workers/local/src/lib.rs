//! The `cogo` program: the command line, and every worker there is. Start at [`workers`].
//! Invariant: the only package that knows all workers; adding one is a line here.

pub mod probe;

use cli::WorkerEntry;

/// What `cogo run` can run, and `cogo dev` runs.
pub fn workers() -> [WorkerEntry; 7] {
    [
        WorkerEntry::new("agent-core", agent_core::run),
        WorkerEntry::new("executor-dispatcher", executor_dispatcher::run),
        WorkerEntry::new("codegen-worker", codegen_worker::run),
        WorkerEntry::new("buildtest-worker", buildtest_worker::run),
        WorkerEntry::new("bus-keeper", bus_keeper::run),
        WorkerEntry::new("image-controller", image_controller::run).for_a_cluster(),
        WorkerEntry::new("probe", probe::run),
    ]
}
