//! The catalogue of everything said on the bus. "Find references" on a payload type shows both ends
//! of the wire: who publishes it and who handles it. Start at [`Payload`].
//!
//! Invariants: pure data; old and new pods run side by side, so a field is added with a default and
//! never renamed.

mod assignment;
mod build_test;
mod build_test_events;
mod codegen_events;
mod event_type;
mod execute;
mod generate;
mod intent;
mod payload;
mod probe;

pub use assignment::{Assignment, Budget, Usage};
pub use build_test::{BuildPlan, BuildReport, BuildTest, Source};
pub use build_test_events::{BuildtestDone, BuildtestFailed, BuildtestProgress, BuildtestStarted};
pub use codegen_events::{CodegenDone, CodegenFailed, CodegenProgress, CodegenStarted};
pub use event_type::{EventType, InvalidEventType};
pub use execute::Execute;
pub use generate::Generate;
pub use intent::Intent;
pub use payload::{Event, Payload};
pub use probe::Probe;
