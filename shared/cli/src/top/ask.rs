use model::{Route, Stage};

/// Something that changes what the whole fleet does, and is therefore asked first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Pause(Stage),
    Resume(Stage),
    /// So many dead letters were seen.
    Replay(Route, i64),
}

impl Ask {
    pub(super) fn question(&self) -> String {
        match self {
            Self::Pause(stage) => {
                format!("Pause {stage} for the whole fleet? Messages are still accepted.")
            }
            Self::Resume(stage) => format!("Hand out the messages of {stage} again?"),
            Self::Replay(route, letters) => {
                let (a, is) = if *letters == 1 { ("letter", "is") } else { ("letters", "are") };
                format!("Replay {route}? {letters} dead {a} {is} sent again.")
            }
        }
    }
}
