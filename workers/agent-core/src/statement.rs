use db::Statement;

use crate::{admission, catalog, probes};

/// All of this crate, for the test that prepares each.
#[doc(hidden)]
pub fn statements() -> [&'static Statement; 6] {
    [
        &admission::INTENT_PUBLISH,
        &admission::INTENT_REPLAY,
        &admission::INTENT_UNDECIDED,
        &catalog::INTENT,
        &catalog::NAMES,
        &probes::SCHEMA,
    ]
}
