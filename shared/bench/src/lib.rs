//! Measures the bus as it ships. [`publish`] and [`work`] load a given database and say one JSON
//! line; [`run`] starts a Postgres of its own, with its default durability, and sets every figure
//! beside what this machine can do at all in the same minutes; [`pipeline`] does the same for the
//! way from an intent to tested code.
//! Invariant: no switch makes the measured path lighter than the product's; ratios within one run
//! are the result, rates are only for orientation.
mod ask;
mod cpu;
mod latency;
mod limits;
mod noop;
mod pipeline;
mod process;
mod publish;
mod report;
mod ring;
mod run;
mod servers;
mod via;
mod work;

pub use pipeline::{PipelineArgs, pipeline};
pub use publish::{PublishArgs, publish};
pub use report::Report;
pub use run::{RunArgs, run};
pub use via::Way;
pub use work::{WorkArgs, work};
