use std::fmt;

use clap::ValueEnum;

/// What keeps a child from the machine it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// `bwrap`: its own processes, files and network.
    Bubblewrap,
    /// The same by `unshare` and `mount`, where there is no `bwrap`.
    Namespaces,
    /// Its own user if we are root, and nothing else: it reads what that user may read, and reaches
    /// the network. A process that clears its variables and leaves its session is found only if it
    /// has that user of its own.
    None,
}

/// Which layer somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wanted {
    Auto,
    Bubblewrap,
    Namespaces,
    None,
}

impl Layer {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bubblewrap => "bubblewrap",
            Self::Namespaces => "namespaces",
            Self::None => "none",
        }
    }

    /// Whether a child that may not reach the network cannot.
    pub fn denies_network(self) -> bool {
        self.isolates()
    }

    /// Whether a child sees only the files it is shown and its own processes.
    pub fn isolates(self) -> bool {
        match self {
            Self::Bubblewrap | Self::Namespaces => true,
            Self::None => false,
        }
    }
}

impl Wanted {
    /// The strongest first.
    pub(crate) fn layers(self) -> &'static [Layer] {
        match self {
            Self::Auto => &[Layer::Bubblewrap, Layer::Namespaces],
            Self::Bubblewrap => &[Layer::Bubblewrap],
            Self::Namespaces => &[Layer::Namespaces],
            Self::None => &[Layer::None],
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => out.pad("auto"),
            Self::Bubblewrap => Layer::Bubblewrap.fmt(out),
            Self::Namespaces => Layer::Namespaces.fmt(out),
            Self::None => Layer::None.fmt(out),
        }
    }
}
