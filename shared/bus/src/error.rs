use std::fmt;
use std::sync::Arc;

use db::{DbError, Disposition, Refused};
use miette::Diagnostic;

/// Why the bus did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BusError {
    /// The database says that the request itself is wrong; nothing was written.
    #[error("{message}")]
    Refused { code: String, message: String, hint: Option<String> },
    #[error("the bus could not do it")]
    // Shared, because one failed write is told to everyone whose message was in it.
    Db(#[source] Arc<DbError>),
    #[error("it is not known whether the message was published")]
    Interrupted,
    /// The database is of another version than this program.
    #[error("the bus's answer is not what this version of cogo reads")]
    Unreadable(#[source] Arc<serde_json::Error>),
}

impl Diagnostic for BusError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self {
            Self::Refused { hint, .. } => hint.as_ref().map(|hint| Box::new(hint) as _),
            // The way out belongs to the cause, and we add nothing to it.
            Self::Db(error) => error.help(),
            Self::Interrupted => {
                Some(Box::new("publish it again with an idempotency key, which makes that safe"))
            }
            Self::Unreadable(_) => Some(Box::new("see `cogo db status`: which is older?")),
        }
    }
}

impl BusError {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Refused { .. } | Self::Unreadable(_) => Disposition::GiveUp,
            Self::Db(error) => error.disposition(),
            Self::Interrupted => Disposition::Retry,
        }
    }
}

impl From<serde_json::Error> for BusError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(Arc::new(error))
    }
}

impl From<DbError> for BusError {
    fn from(error: DbError) -> Self {
        match error.refused() {
            Some(Refused { code, message, hint }) => Self::Refused { code, message, hint },
            None => Self::Db(Arc::new(error)),
        }
    }
}
