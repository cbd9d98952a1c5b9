/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It passes by itself: try again later.
    Retry,
    /// It lasts until somebody changes something.
    GiveUp,
}
