//! Stories about the whole fleet. The chaos: several worker processes under load, while workers are
//! killed and stopped, connections cut and Postgres restarted; then a judge reads the tables. Start
//! at [`run`], then `seed.rs`. The pipeline: a [`Line`] of real workers, and a [`Gate`] that tells
//! the moment to kill one.
//!
//! Invariants: one seed decides every choice; the judge trusts nothing but the tables and what
//! publishers were told; nothing outside this run's own processes and its own Postgres is touched.

mod account;
mod act;
mod args;
mod broken_fence;
mod calm;
mod crew;
mod fleet;
mod gate;
mod handler;
mod history;
mod judge;
mod line;
mod member;
mod passage;
mod passed;
mod plan;
mod proxy;
mod publisher;
mod run;
mod seed;
mod torment;

pub use args::{ChaosArgs, Cli};
pub use crew::Crew;
pub use gate::{Gate, Moment};
pub use line::{Line, TOO_LONG};
pub use member::Member;
pub use passage::Via;
pub use passed::Passed;
pub use proxy::Proxy;
pub use run::{Verdict, run};
