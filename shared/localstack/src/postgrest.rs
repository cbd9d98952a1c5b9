use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use db::{Db, DbError, DbSettings};

use crate::Keys;
use crate::kept::Program;
use crate::keys::write_privately;
use crate::tool::Tool;
use crate::upstream::Upstream;

pub const POSTGREST: Tool = Tool { name: "postgrest", variable: "COGO_POSTGREST" };

/// PostgREST on this database, which it opens as `authenticator`, on a socket of its own in
/// `folder`.
pub(crate) fn postgrest(
    program: PathBuf,
    folder: &Path,
    keys: &Keys,
    database: At<'_>,
    public_url: &str,
) -> io::Result<Program> {
    prepare(folder, keys, database, public_url)?;
    Ok(Program {
        name: "PostgREST",
        folder: folder.to_owned(),
        line: vec![program.into(), folder.join(CONFIG).into()],
        env: Vec::new(),
        listens: Upstream::Unix(folder.join(SOCKET)),
    })
}

/// A database of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    pub(crate) port: u16,
    pub(crate) database: &'a str,
}

const CONFIG: &str = "postgrest.conf";
const SOCKET: &str = "socket";

fn prepare(folder: &Path, keys: &Keys, at: At<'_>, public_url: &str) -> io::Result<()> {
    make_private(folder)?;
    let At { port, database } = at;
    let password = keys.authenticator_password.expose();
    let jwt_secret = keys.jwt_secret.expose();
    let socket = folder.join(SOCKET).display().to_string();
    let database = format!("postgres://authenticator:{password}@127.0.0.1:{port}/{database}");
    let more = [
        ("server-unix-socket", socket.as_str()),
        ("server-unix-socket-mode", "600"),
        ("openapi-server-proxy-uri", public_url),
    ];
    write_privately(&folder.join(CONFIG), &postgrest_config(&database, jwt_secret, &more))
}

/// What PostgREST is told, as Supabase tells it: schema `public`, and answers of a thousand rows at
/// most; and where it listens, which is `more`.
pub fn postgrest_config(database: &str, jwt_secret: &str, more: &[(&str, &str)]) -> String {
    let same = [
        ("db-uri", database),
        ("db-schemas", "public"),
        ("db-anon-role", "anon"),
        ("db-extra-search-path", "public, extensions"),
        ("jwt-secret", jwt_secret),
        // Not more: at `info` it would write down whole queries.
        ("log-level", "error"),
    ];
    let mut text = String::from("# Written by each start.\ndb-pool = 10\ndb-max-rows = 1000\n");
    for (name, value) in same.iter().chain(more) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(&format!("{name} = \"{value}\"\n"));
    }
    text
}

/// A folder for its owner alone.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::metadata(folder).map(drop)
        }
        made => made,
    }
}

/// Lets the database tell PostgREST of every change to its tables and functions, whoever makes it,
/// as Supabase's does; without it, a new table is unknown until somebody asks for a reload.
pub(crate) async fn tell_of_changes(db: &DbSettings) -> Result<(), DbError> {
    Db::connect(db)?.client().await?.batch("localstack.tell_of_changes", TELL_OF_CHANGES).await
}

const TELL_OF_CHANGES: &str = "
create schema if not exists cogo_local;
revoke all on schema cogo_local from public;

create or replace function cogo_local.tell_postgrest() returns event_trigger
language plpgsql set search_path = '' as $$
begin
    perform pg_catalog.pg_notify('pgrst', 'reload schema');
end
$$;

do $$
begin
    if not exists (select from pg_catalog.pg_event_trigger where evtname = 'cogo_local_changed') then
        create event trigger cogo_local_changed on ddl_command_end
            execute function cogo_local.tell_postgrest();
        create event trigger cogo_local_dropped on sql_drop
            execute function cogo_local.tell_postgrest();
    end if;
end
$$;
";
