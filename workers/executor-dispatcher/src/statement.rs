use db::Statement;

use crate::{follow, forward};

/// All of this crate, for the test that prepares each.
#[doc(hidden)]
pub fn statements() -> [&'static Statement; 3] {
    [&forward::FORWARD, &follow::FOLLOW, &follow::RETAIN]
}
