use std::fmt;

use db::{DbError, Disposition, Refused};
use miette::Diagnostic;

/// Why the registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database says that the request itself is wrong; nothing was written.
    #[error(transparent)]
    Refused(Refused),
    #[error("the registry could not do it")]
    Db(#[source] DbError),
    /// The database is of another version than this program.
    #[error("the registry's answer is not what this version of cogo reads")]
    Unreadable(#[source] serde_json::Error),
}

impl Diagnostic for RegistryError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self {
            Self::Refused(refused) => refused.help(),
            Self::Db(error) => error.help(),
            Self::Unreadable(_) => Some(Box::new("see `cogo db status`: which is older?")),
        }
    }
}

impl RegistryError {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Refused(_) | Self::Unreadable(_) => Disposition::GiveUp,
            Self::Db(error) => error.disposition(),
        }
    }
}

impl From<DbError> for RegistryError {
    fn from(error: DbError) -> Self {
        match error.refused() {
            Some(refused) => Self::Refused(refused),
            None => Self::Db(error),
        }
    }
}
