use std::time::Duration;

use db::{Client, Db, DbError, DbSettings, Statement};
use model::Secret;
use postgres_protocol::password::scram_sha_256;
use tokio::time::sleep;

/// A part of what Supabase brings along, and how to see that somebody else provides it already.
struct Part {
    name: &'static str,
    /// True unless what is there is not ours; ours may be of an older version.
    ours: &'static Statement,
    sql: &'static str,
}

macro_rules! unless_foreign {
    ($name:literal, $function:literal) => {
        &Statement {
            name: $name,
            sql: concat!(
                "select coalesce(obj_description(to_regprocedure('",
                $function,
                "'), 'pg_proc') like 'Stand-in:%', to_regprocedure('",
                $function,
                "') is null)"
            ),
            types: &[],
        }
    };
}

static PARTS: [Part; 6] = [
    Part {
        name: "standin.provide_roles",
        ours: &Statement { name: "standin.always", sql: "select true", types: &[] },
        sql: include_str!("schema/roles.sql"),
    },
    Part {
        name: "standin.provide_auth",
        ours: unless_foreign!("standin.has_auth", "auth.uid()"),
        sql: include_str!("schema/auth.sql"),
    },
    Part {
        name: "standin.provide_messages",
        ours: &Statement {
            name: "standin.has_messages",
            sql: "select to_regclass('realtime.messages') is null",
            types: &[],
        },
        sql: include_str!("schema/messages.sql"),
    },
    Part {
        name: "standin.provide_send",
        ours: unless_foreign!("standin.has_send", "realtime.send(jsonb,text,text,boolean)"),
        sql: include_str!("schema/send.sql"),
    },
    Part {
        name: "standin.provide_publication",
        ours: &Statement {
            name: "standin.has_publication",
            sql: "select not exists (select from pg_publication where pubname = 'supabase_realtime')",
            types: &[],
        },
        sql: include_str!("schema/publication.sql"),
    },
    Part {
        name: "standin.provide_functions",
        ours: &Statement { name: "standin.always", sql: "select true", types: &[] },
        sql: include_str!("schema/standin.sql"),
    },
];

/// Roles belong to the whole server: another database may be getting the same ones right now.
const TRIES: u32 = 10;

static LOCK: Statement = Statement {
    name: "standin.lock",
    sql: "select pg_advisory_xact_lock(hashtext('standin.provide'))",
    types: &[],
};

static PARTITIONS: Statement = Statement {
    name: "standin.make_partitions",
    sql: "select standin.make_partitions()",
    types: &[],
};

static MAY_LOG: Statement = Statement {
    name: "standin.quietly",
    sql: "select set_config('log_statement', 'none', true),
              set_config('log_min_error_statement', 'panic', true),
              set_config('log_min_duration_statement', '-1', true)",
    types: &[],
};

static IS_SUPERUSER: Statement = Statement {
    name: "standin.is_superuser",
    sql: "select current_setting('is_superuser') = 'on'",
    types: &[],
};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ProvideError {
    #[error("this database user may not provide what Supabase would")]
    #[diagnostic(help("use a superuser; it makes roles and reads the write-ahead log"))]
    NotSuperuser,
    #[error("could not provide the database with what Supabase would")]
    Database(#[from] DbError),
}

/// Provides a plain Postgres with what migrations written for Supabase count on: roles, `auth`,
/// `realtime` and the publication. Call it before the migrations. What somebody else provides is
/// left alone, and calling it again does no harm.
///
/// With a password, the role `authenticator` can log in with it. It never leaves this process: the
/// server is only given what it needs to check it.
pub async fn provide(
    settings: &DbSettings,
    authenticator: Option<&Secret>,
) -> Result<(), ProvideError> {
    let db = Db::connect(settings)?;
    if !db.query_one(&IS_SUPERUSER, &[]).await?.get::<bool>(0) {
        return Err(ProvideError::NotSuperuser);
    }
    let mut client = db.client().await?;
    let mut tries = 0;
    loop {
        tries += 1;
        match provide_once(&mut client, authenticator).await {
            Err(error) if tries < TRIES && met_another(&error) => {
                sleep(Duration::from_millis(50) * tries).await;
            }
            ended => return Ok(ended?),
        }
    }
}

async fn provide_once(client: &mut Client, authenticator: Option<&Secret>) -> Result<(), DbError> {
    let transaction = client.transaction().await?;
    transaction.query_one(&LOCK, &[]).await?;
    for part in &PARTS {
        if transaction.query_one(part.ours, &[]).await?.get(0) {
            transaction.batch(part.name, part.sql).await?;
        }
    }
    transaction.query_one(&PARTITIONS, &[]).await?;
    if let Some(password) = authenticator {
        transaction.query_one(&MAY_LOG, &[]).await?;
        // A verifier has letters, digits and `$:+/=` only.
        let verifier = scram_sha_256(password.expose().as_bytes());
        let sql = format!("alter role authenticator password '{verifier}'");
        transaction.batch("standin.set_password", &sql).await?;
    }
    transaction.commit().await
}

/// Two transactions changed the same role or made the same thing.
fn met_another(error: &DbError) -> bool {
    let Some(said) = error.server() else { return false };
    match said.code.code() {
        // duplicate_object, unique_violation
        "42710" | "23505" => true,
        // internal_error, which is how Postgres calls two updates of one row of its catalog
        "XX000" => said.message.contains("concurrently"),
        _ => false,
    }
}
