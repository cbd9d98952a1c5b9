use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bus::BusError;
use db::DbError;
use miette::{Diagnostic, Report};
use registry::RegistryError;

/// How a command ended that has said all there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    /// Failed, not found or unhealthy: exit code 1.
    Badly,
}

/// Something on the command line that clap cannot see is wrong.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{what}")]
pub(crate) struct WrongUsage {
    pub(crate) what: String,
    #[help]
    pub(crate) help: String,
}

pub(crate) fn is_wrong_usage(report: &Report) -> bool {
    report.is::<WrongUsage>()
}

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{what}")]
pub(crate) struct NotFound {
    pub(crate) what: String,
    #[help]
    pub(crate) help: String,
}

/// The database's own trouble, with the help that belongs to it.
#[derive(Debug)]
struct Explained(Arc<DbError>);

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("this database has no bus, or an older one than this program needs")]
#[diagnostic(help(
    "`cogo db status` tells what is missing and `cogo db migrate` makes it; if that is already \
     done, DATABASE_URL names another database than you think"
))]
struct NotMigrated(#[source] Arc<DbError>);

/// Brings what the database said in front of "the bus could not do it".
pub(crate) fn explained(report: Report) -> Report {
    match report.downcast::<BusError>() {
        Ok(BusError::Db(error)) if lacks_our_tables(&error) => Report::new(NotMigrated(error)),
        Ok(BusError::Db(error)) => Report::new(Explained(error)),
        Ok(other) => Report::new(other),
        Err(report) => of_the_registry(report),
    }
}

fn of_the_registry(report: Report) -> Report {
    match report.downcast::<RegistryError>() {
        Ok(RegistryError::Db(error)) if lacks_our_tables(&error) => {
            Report::new(NotMigrated(Arc::new(error)))
        }
        Ok(RegistryError::Db(error)) => Report::new(Explained(Arc::new(error))),
        Ok(other) => Report::new(other),
        Err(report) => report,
    }
}

/// A schema, table, column or function is not there.
pub(crate) fn lacks_our_tables(error: &DbError) -> bool {
    let code = error.code().map(|code| code.code());
    code.is_some_and(|code| ["3F000", "42P01", "42703", "42883"].contains(&code))
}

impl fmt::Display for Explained {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl Error for Explained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Diagnostic for Explained {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help()
    }
}
