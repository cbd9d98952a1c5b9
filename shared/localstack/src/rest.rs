use std::io;
use std::path::Path;
use std::time::Duration;

use miette::Diagnostic;

use crate::behind::Behind;
use crate::kept::{Health, Kept};
use crate::postgrest::{At, POSTGREST, postgrest};
use crate::tool::ToolMissing;
use crate::{Keys, Part, Tell};

/// The PostgREST of `cogo dev` over one database of a [`Cluster`](crate::Cluster), for
/// measurements. Runs for as long as this value lives.
#[derive(Debug)]
pub struct Rest {
    kept: Kept,
}

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("could not start PostgREST")]
pub struct RestError {
    #[source]
    #[diagnostic_source]
    why: Why,
}

#[derive(Debug, thiserror::Error, Diagnostic)]
enum Why {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Missing(#[from] ToolMissing),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it does not answer: {0}")]
    Down(String),
}

/// It reads the whole schema first, perhaps on a busy machine.
const STARTING: Duration = Duration::from_secs(60);
/// Shown only by what describes the API, which nobody asks for.
const PUBLIC: &str = "http://localhost";

impl Rest {
    /// Answers when it serves. `folder` is for it alone; the database has a role `authenticator`
    /// with the password that is among the keys.
    pub async fn start(
        folder: &Path,
        keys: &Keys,
        pg_port: u16,
        database: &str,
        tell: Tell,
    ) -> Result<Self, RestError> {
        let failed = |why| RestError { why };
        let program = POSTGREST.find().map_err(|error| failed(error.into()))?;
        let program = postgrest(program, folder, keys, At { port: pg_port, database }, PUBLIC);
        let kept = program.and_then(|program| Kept::start(program, tell));
        let kept = kept.map_err(|error| failed(error.into()))?;
        match kept.settled(STARTING).await {
            Health::Up => Ok(Self { kept }),
            Health::Starting => Err(failed(Why::Down(format!("not within {STARTING:?}")))),
            Health::Down(why) => Err(failed(Why::Down(why))),
        }
    }

    pub(crate) fn behind(&self) -> Behind {
        Behind::kept(Part::Rest, &self.kept)
    }

    /// As it should end: in its own time.
    pub async fn stop(self) {
        self.kept.stop().await;
    }
}
