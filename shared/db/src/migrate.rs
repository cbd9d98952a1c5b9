//! Brings a database to the schema this binary was built with. Kept in Supabase's own table, so
//! that `supabase db push` and we agree on what is done.

use std::fmt;
use std::time::Duration;

use tracing::info;

use crate::split::split;
use crate::{Commit, DbError, DbSettings, Disposition, Session, Statement, Type};

/// The migrations of this binary, oldest first.
pub static EMBEDDED: &[Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// Any number will do, as long as it stays the same: "cogo" in ASCII, then 1.
const LOCK: i64 = 0x636f_676f_0001;

/// One file, `<version>_<name>.sql`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    pub version: &'static str,
    pub name: &'static str,
    pub sql: &'static str,
}

/// One line of `cogo db status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub version: String,
    pub name: String,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Applied,
    Pending,
    /// Applied, but with another text than ours.
    Changed,
    /// Applied by somebody else or by a newer Cogo, of whose changes old pods need not know.
    Unknown,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum MigrateError {
    #[error("could not ask the database about its migrations")]
    Database(
        #[source]
        #[diagnostic_source]
        DbError,
    ),

    #[error("changed after being applied: {}", .files.join(", "))]
    #[diagnostic(help(
        "put the applied text back and write the change as a new migration; nothing was migrated"
    ))]
    Changed { files: Vec<String> },

    #[error("{file}, line {line}, cannot be applied")]
    #[diagnostic(help("nothing of this file was applied; the files before it were"))]
    Failed { file: String, line: usize, source: DbError },

    #[error("{file} cannot be applied")]
    #[diagnostic(help("nothing of this file was applied; the files before it were"))]
    FailedSomewhere { file: String, source: DbError },

    #[error("{file} ends the transaction that it is applied in")]
    #[diagnostic(help("remove `begin`, `commit` and `rollback` from it"))]
    EndsItsTransaction { file: String },
}

/// Applies what is pending, and returns the names of those files. Safe to call from several
/// processes at once: one migrates, the others wait for it and find nothing left to do.
pub async fn apply(settings: &DbSettings) -> Result<Vec<String>, MigrateError> {
    apply_these(settings, EMBEDDED).await
}

/// What is applied, pending, changed and unknown, oldest first. Changes nothing.
pub async fn status(settings: &DbSettings) -> Result<Vec<Status>, MigrateError> {
    status_of(settings, EMBEDDED).await
}

/// The version of the newest migration that this program knows.
pub fn newest() -> &'static str {
    EMBEDDED.last().map_or("", |migration| migration.version)
}

/// [`apply`] for other migrations than our own.
pub async fn apply_these(
    settings: &DbSettings,
    migrations: &[Migration],
) -> Result<Vec<String>, MigrateError> {
    let session = open(settings).await?;
    // Let go with the session.
    lock(&session).await?;
    make_table(&session).await?;
    let status = compare(migrations, &recorded(&session).await?);
    let changed = status.iter().filter(|line| line.state == State::Changed);
    let changed: Vec<String> = changed.map(|line| file(&line.version, &line.name)).collect();
    if !changed.is_empty() {
        return Err(MigrateError::Changed { files: changed });
    }

    let mut applied = Vec::new();
    for migration in migrations {
        let pending = status
            .iter()
            .any(|line| line.state == State::Pending && line.version == migration.version);
        if pending {
            run(&session, migration).await?;
            info!("applied {}", migration.file());
            applied.push(migration.file());
        }
    }
    Ok(applied)
}

/// [`status`] for other migrations than our own.
pub async fn status_of(
    settings: &DbSettings,
    migrations: &[Migration],
) -> Result<Vec<Status>, MigrateError> {
    let session = open(settings).await?;
    Ok(compare(migrations, &recorded(&session).await?))
}

async fn open(settings: &DbSettings) -> Result<Session, MigrateError> {
    // Rewriting a table may take its time, and so may waiting for another process that does.
    let settings = DbSettings { db_statement_timeout: Duration::ZERO, ..settings.clone() };
    Session::open(&settings, &[], Commit::Durable).await.map_err(MigrateError::Database)
}

static TRY_LOCK: Statement = Statement {
    name: "migrate.lock",
    sql: "select pg_catalog.pg_try_advisory_lock($1)",
    types: &[Type::INT8],
};

static LOCK_AFTER_OTHERS: Statement = Statement {
    name: "migrate.lock",
    sql: "select pg_catalog.pg_advisory_lock($1)",
    types: &[Type::INT8],
};

async fn lock(session: &Session) -> Result<(), MigrateError> {
    let row = session.query_one(&TRY_LOCK, &[&LOCK]).await.map_err(MigrateError::Database)?;
    if !row.get::<bool>(0) {
        info!("another process is migrating; waiting for it");
        session.execute(&LOCK_AFTER_OTHERS, &[&LOCK]).await.map_err(MigrateError::Database)?;
    }
    Ok(())
}

/// The columns of Supabase's table that are there already.
static COLUMNS: Statement = Statement {
    name: "migrate.columns",
    sql: "select count(*) from pg_catalog.pg_attribute
          where attrelid = to_regclass('supabase_migrations.schema_migrations')
              and attname in ('version', 'statements', 'name') and not attisdropped",
    types: &[],
};

/// Word for word what the Supabase CLI does, except that nothing is said about what exists: that
/// takes privileges which a role that only migrates need not have.
async fn make_table(session: &Session) -> Result<(), MigrateError> {
    if columns(session).await? == 3 {
        return Ok(());
    }
    let sql = "
        do $$ begin
            if to_regnamespace('supabase_migrations') is null then
                create schema supabase_migrations;
            end if;
        end $$;
        create table if not exists supabase_migrations.schema_migrations
            (version text not null primary key);
        alter table supabase_migrations.schema_migrations
            add column if not exists statements text[],
            add column if not exists name text;";
    session.batch("migrate.make_table", sql).await.map_err(MigrateError::Database)
}

async fn columns(session: &Session) -> Result<i64, MigrateError> {
    let row = session.query_one(&COLUMNS, &[]).await.map_err(MigrateError::Database)?;
    Ok(row.get(0))
}

static RECORDED: Statement = Statement {
    name: "migrate.recorded",
    sql: "select version, coalesce(name, ''),
              case when cardinality(statements) > 0 then array_to_string(statements, ';') end
          from supabase_migrations.schema_migrations order by version",
    types: &[],
};

/// A row of Supabase's table. The CLI of some versions records no text.
struct Recorded {
    version: String,
    name: String,
    sql: Option<String>,
}

async fn recorded(session: &Session) -> Result<Vec<Recorded>, MigrateError> {
    if columns(session).await? < 3 {
        return Ok(Vec::new());
    }
    let rows = session.query(&RECORDED, &[]).await.map_err(MigrateError::Database)?;
    let read =
        |row: &crate::Row| Recorded { version: row.get(0), name: row.get(1), sql: row.get(2) };
    Ok(rows.iter().map(read).collect())
}

fn compare(migrations: &[Migration], recorded: &[Recorded]) -> Vec<Status> {
    let mut lines: Vec<Status> = migrations
        .iter()
        .map(|migration| {
            let row = recorded.iter().find(|row| row.version == migration.version);
            let state = match row.map(|row| row.sql.as_deref()) {
                None => State::Pending,
                Some(Some(sql)) if !same(sql, migration.sql) => State::Changed,
                Some(_) => State::Applied,
            };
            Status { version: migration.version.to_owned(), name: migration.name.to_owned(), state }
        })
        .collect();
    for row in recorded {
        if !migrations.iter().any(|migration| migration.version == row.version) {
            let (version, name) = (row.version.clone(), row.name.clone());
            lines.push(Status { version, name, state: State::Unknown });
        }
    }
    lines.sort_by(|one, other| one.version.cmp(&other.version));
    lines
}

/// `supabase db push` records the statements one by one, trimmed and without their semicolons.
fn same(one: &str, other: &str) -> bool {
    let marks = |text: &str| -> Vec<char> {
        text.chars().filter(|mark| !mark.is_whitespace() && *mark != ';').collect()
    };
    marks(one) == marks(other)
}

static TRANSACTION: Statement = Statement {
    name: "migrate.transaction",
    sql: "select pg_catalog.pg_current_xact_id()::text",
    types: &[],
};

static RECORD: Statement = Statement {
    name: "migrate.record",
    sql: "insert into supabase_migrations.schema_migrations (version, name, statements)
          values ($1, $2, array[$3])",
    types: &[Type::TEXT, Type::TEXT, Type::TEXT],
};

/// One file and its row, in one transaction.
async fn run(session: &Session, migration: &Migration) -> Result<(), MigrateError> {
    begin(session).await?;
    let before = transaction(session).await?;
    if let Err(source) = session.batch("the migration", migration.sql).await {
        return Err(locate(session, migration, source).await);
    }
    if transaction(session).await? != before {
        return Err(MigrateError::EndsItsTransaction { file: migration.file() });
    }
    session
        .execute(&RECORD, &[&migration.version, &migration.name, &migration.sql])
        .await
        .map_err(MigrateError::Database)?;
    session.batch("migrate.commit", "commit").await.map_err(MigrateError::Database)
}

async fn begin(session: &Session) -> Result<(), MigrateError> {
    // A change of a table waits for whoever uses it, and everybody else waits behind that change.
    let sql = "begin; set local lock_timeout = '10s'";
    session.batch("migrate.begin", sql).await.map_err(MigrateError::Database)
}

async fn rollback(session: &Session) {
    // It fails only with the connection, which rolls back, too.
    let _ = session.batch("migrate.rollback", "rollback").await;
}

async fn transaction(session: &Session) -> Result<String, MigrateError> {
    let row = session.query_one(&TRANSACTION, &[]).await.map_err(MigrateError::Database)?;
    Ok(row.get(0))
}

/// Finds the line that failed. The server tells the place of some errors, but not of, say, a table
/// that exists already; then the statements are tried one by one, and taken back again.
async fn locate(session: &Session, migration: &Migration, source: DbError) -> MigrateError {
    rollback(session).await;
    let file = migration.file();
    if let Some(position) = source.server().and_then(|said| said.position) {
        let before = usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1);
        let line = 1 + migration.sql.chars().take(before).filter(|mark| *mark == '\n').count();
        return MigrateError::Failed { file, line, source };
    }
    let mut found = None;
    if begin(session).await.is_ok() {
        for (line, statement) in split(migration.sql) {
            if let Err(error) = session.batch("the migration", statement).await {
                // Another failure means that we split it wrongly.
                found = (error.code() == source.code()).then_some(line);
                break;
            }
        }
        rollback(session).await;
    }
    match found {
        Some(line) => MigrateError::Failed { file, line, source },
        None => MigrateError::FailedSomewhere { file, source },
    }
}

impl MigrateError {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Database(source)
            | Self::Failed { source, .. }
            | Self::FailedSomewhere { source, .. } => source.disposition(),
            Self::Changed { .. } | Self::EndsItsTransaction { .. } => Disposition::GiveUp,
        }
    }
}

impl Migration {
    /// The name of its file.
    pub fn file(&self) -> String {
        file(self.version, self.name)
    }
}

fn file(version: &str, name: &str) -> String {
    format!("{version}_{name}.sql")
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Changed => "changed",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_supabase_records_counts_as_the_same_text() {
        let ours = "create table a (b int);\n\n-- c\ncreate table d ();\n";
        for recorded in [
            ours,
            "create table a (b int);-- c\ncreate table d ()",
            "create table a(b int)-- c\ncreate table d ()",
        ] {
            assert!(same(recorded, ours), "{recorded}");
        }
        for other in ["create table a (b int)", "create table a (b int); create table d ()", ""] {
            assert!(!same(other, ours), "{other}");
        }
    }
}
