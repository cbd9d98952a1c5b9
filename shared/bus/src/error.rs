use std::fmt;
use std::sync::Arc;

use db::{DbError, Disposition, ServerError, Trouble};
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
        }
    }
}

impl BusError {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Refused { .. } => Disposition::GiveUp,
            Self::Db(error) => error.disposition(),
            Self::Interrupted => Disposition::Retry,
        }
    }
}

impl From<DbError> for BusError {
    fn from(error: DbError) -> Self {
        match &error {
            DbError::Statement { source: Trouble::Server(said), .. } if is_refusal(said) => {
                Self::Refused {
                    code: said.code.code().to_owned(),
                    message: told(said),
                    hint: said.hint.clone(),
                }
            }
            _ => Self::Db(Arc::new(error)),
        }
    }
}

/// Bad data, a broken constraint, no permission, nothing there, not now: the caller's to mend.
fn is_refusal(said: &ServerError) -> bool {
    let code = said.code.code();
    ["22", "23"].iter().any(|class| code.starts_with(class))
        || ["42501", "55000", "P0001", "P0002"].contains(&code)
}

/// A constraint's name is a sentence; what Postgres says around it is about its own tables.
fn told(said: &ServerError) -> String {
    match &said.constraint {
        Some(constraint) if said.code.code() == "23514" => {
            format!("refused, because of the rule `{}`", constraint.replace('_', " "))
        }
        _ => said.message.clone(),
    }
}
