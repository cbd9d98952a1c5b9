use std::fmt;

use miette::Diagnostic;

use crate::{DbError, ServerError, Trouble};

/// The database says that the request itself is wrong; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

impl Diagnostic for Refused {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as _)
    }
}

impl DbError {
    /// What the caller can mend: bad data, a broken constraint, no permission, nothing there, not
    /// now.
    pub fn refused(&self) -> Option<Refused> {
        let Self::Statement { source: Trouble::Server(said), .. } = self else { return None };
        let code = said.code.code();
        let mendable = ["22", "23"].iter().any(|class| code.starts_with(class))
            || ["42501", "55000", "P0001", "P0002"].contains(&code);
        mendable.then(|| Refused {
            code: code.to_owned(),
            message: told(said),
            hint: said.hint.clone(),
        })
    }
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
