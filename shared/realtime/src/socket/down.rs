use std::io;
use std::sync::Arc;
use std::time::Duration;

use miette::Diagnostic;

use super::token::TokenError;

/// Why there is no connection. It is tried again whatever it is; some of these need a person.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Trouble {
    #[error("could not reach Realtime at {server}")]
    #[diagnostic(help("check SUPABASE_URL, and that this machine may connect to it"))]
    Unreachable { server: String, source: io::Error },

    #[error("could not agree on TLS with {server}")]
    #[diagnostic(help(
        "check that this machine trusts the server's certificate; SSL_CERT_FILE names a file of \
         root certificates to trust instead of the system's"
    ))]
    Tls { server: String, source: Way },

    #[error("Realtime at {server} refused the connection with HTTP {status}{}", because(.said))]
    #[diagnostic(help("{}", refused(*.status)))]
    Refused { server: String, status: u16, said: String },

    #[error("{server} did not answer like Realtime")]
    #[diagnostic(help(
        "check that SUPABASE_URL is the project's own address, as in https://abc.supabase.co"
    ))]
    NotRealtime { server: String, source: Way },

    #[error("{server} did not open the connection within {limit:?}")]
    #[diagnostic(help("it is overloaded, or something between here and there is; this may pass"))]
    SlowToOpen { server: String, limit: Duration },

    #[error("{server} closed the connection{}{}", with_code(.code), because(.said))]
    #[diagnostic(help("servers do that when they restart; if it keeps happening, see their log"))]
    Closed { server: String, code: Option<u16>, said: String },

    #[error("lost the connection to {server}")]
    #[diagnostic(help("check the network between here and there if it keeps happening"))]
    Broken { server: String, source: Way },

    #[error("{server} sent a message of more than {limit} bytes")]
    #[diagnostic(help("make what is broadcast smaller, or raise `max_frame`"))]
    TooLarge { server: String, limit: usize },

    #[error("{server} did not answer a heartbeat within {limit:?}")]
    #[diagnostic(help("the connection was dead without saying so; check for proxies in between"))]
    Silent { server: String, limit: Duration },

    #[error("{server} took nothing from us for {limit:?}")]
    #[diagnostic(help("it is overloaded, or the connection died without saying so"))]
    Stalled { server: String, limit: Duration },

    #[error("{server} delivered none of the last two broadcasts we sent to ourselves")]
    #[diagnostic(help("it answers but does not deliver: see its log, and its rate limits"))]
    Deaf { server: String },
}

/// What a library said about the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Way(pub(crate) String);

/// Why a channel hears nothing. It is joined again whatever it is; some of these need a person.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Down {
    #[error("there is no connection for `{topic}`")]
    #[diagnostic(help("{}", helped(&**.why)))]
    Link {
        topic: String,
        #[source]
        why: Arc<Trouble>,
    },

    #[error("there is no access token for `{topic}`")]
    #[diagnostic(help("{}", helped(&**.why)))]
    Token {
        topic: String,
        #[source]
        why: Arc<TokenError>,
    },

    #[error("could not join `{topic}`: {said}")]
    #[diagnostic(help(
        "on a private channel, the policies on realtime.messages must let this role read the \
         topic; otherwise see what the server says"
    ))]
    Refused { topic: String, said: String },

    #[error("nobody answered within {limit:?} when we joined `{topic}`")]
    #[diagnostic(help("the server is overloaded; this may pass"))]
    Unanswered { topic: String, limit: Duration },

    #[error("joined `{topic}`, but {what} did not start within {limit:?}")]
    #[diagnostic(help("check that the database runs with wal_level=logical and has slots free"))]
    NotReady { topic: String, what: &'static str, limit: Duration },

    #[error("the server gave `{topic}` up: {said}")]
    #[diagnostic(help(
        "for table changes, check that the table is in the publication supabase_realtime and that \
         the filter names a column of it"
    ))]
    System { topic: String, said: String },

    #[error("the server closed `{topic}`")]
    #[diagnostic(help("the access token expired, or the rate limit was passed; see its log"))]
    Closed { topic: String },

    #[error("`{topic}` crashed on the server")]
    #[diagnostic(help("see the server's log"))]
    Crashed { topic: String },

    #[error("the server forgot that we joined `{topic}`")]
    #[diagnostic(help("it gave the channel up without telling; this passes"))]
    Forgotten { topic: String },
}

fn because(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

fn with_code(code: &Option<u16>) -> String {
    code.map_or_else(String::new, |code| format!(" with code {code}"))
}

fn refused(status: u16) -> &'static str {
    match status {
        401 => "check SUPABASE_SECRET_KEY: it is missing a claim, expired, or of another project",
        403 => "the project is suspended or does not allow this key; see its dashboard",
        404 => "check SUPABASE_URL: there is no Realtime for this project at that address",
        429 => "the project has as many connections or joins as its plan allows; this may pass",
        500.. => "the server is starting, stopping or broken; this may pass",
        _ => "check SUPABASE_URL and SUPABASE_SECRET_KEY",
    }
}

/// What helps against the cause helps.
fn helped(cause: &dyn Diagnostic) -> String {
    cause.help().map_or_else(String::new, |help| help.to_string())
}

/// An error and its causes on one line, for logs and for [`Status`](super::Status).
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}
