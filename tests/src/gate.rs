use std::collections::{HashMap, VecDeque};
use std::future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Stands between one worker and Postgres, lets everything through, and stops at a chosen moment:
/// just before a statement reaches Postgres, or just after Postgres has carried it out and before
/// the worker is told. Whoever waits for that moment then kills the worker, which so dies at exactly
/// this point of its life, without knowing that it is watched.
pub struct Gate {
    port: u16,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

/// Where a gate stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The statement is on its way, and Postgres knows nothing of it.
    Asked,
    /// Postgres has committed it and answered with at least one row; the worker knows nothing of it.
    Answered,
}

struct Shared {
    /// Statements whose text contains one of these are meant.
    statements: Vec<&'static str>,
    moment: Moment,
    server: String,
    stopped: watch::Sender<Stopped>,
    /// Whether what was stopped when asked may go on until it is answered.
    goes_on: watch::Sender<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stopped {
    Not,
    WhenAsked,
    WhenAnswered,
}

impl Gate {
    /// In front of a server that listens on this Unix socket.
    pub async fn before(
        server: String,
        statements: &[&'static str],
        moment: Moment,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            statements: statements.to_vec(),
            moment,
            server,
            stopped: watch::Sender::new(Stopped::Not),
            goes_on: watch::Sender::new(false),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { port, shared, _accepting: accepting })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resolves when the moment has come. What was stopped stays so until the gate is dropped.
    pub async fn reached(&self) {
        let at_least = match self.shared.moment {
            Moment::Asked => Stopped::WhenAsked,
            Moment::Answered => Stopped::WhenAnswered,
        };
        self.stopped(at_least).await;
    }

    /// Lets through what was stopped when asked, and stops again before the worker is told.
    pub async fn go_on_until_answered(&self) {
        self.shared.goes_on.send_replace(true);
        self.stopped(Stopped::WhenAnswered).await;
    }

    async fn stopped(&self, at_least: Stopped) {
        let mut stopped = self.shared.stopped.subscribe();
        let waited = stopped.wait_for(|stopped| *stopped >= at_least).await;
        waited.expect("the sender is as old as the gate");
    }
}

impl Shared {
    fn means(&self, sql: &str) -> bool {
        self.statements.iter().any(|part| sql.contains(part))
    }

    fn stop(&self, stopped: Stopped) {
        self.stopped.send_modify(|now| *now = stopped.max(*now));
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                connections.spawn(connect(client, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// However it ends, both sides are closed.
async fn connect(client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let server = UnixStream::connect(&shared.server).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let due = Due::default();
    tokio::select! {
        ended = ask(from_client, to_server, &shared, &due) => ended,
        ended = answer(from_server, to_client, &shared, &due) => ended,
    }
}

/// The answers that are still to come on a connection, in order: whether they are to one of the
/// statements that are meant. The first is the welcome.
struct Due(Mutex<VecDeque<bool>>);

impl Default for Due {
    fn default() -> Self {
        Self(Mutex::new(VecDeque::from([false])))
    }
}

impl Due {
    fn lock(&self) -> MutexGuard<'_, VecDeque<bool>> {
        self.0.lock().expect("nothing panics while it holds this")
    }
}

async fn ask(
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
    shared: &Shared,
    due: &Due,
) -> io::Result<()> {
    // The greeting has no letter.
    let length = client.read_u32().await?;
    let mut greeting = length.to_be_bytes().to_vec();
    fill(&mut client, length, &mut greeting).await?;
    server.write_all(&greeting).await?;

    let mut meant: HashMap<Vec<u8>, bool> = HashMap::new();
    let mut meant_now = false;
    loop {
        let message = read(&mut client).await?;
        let body = &message[5..];
        match message[0] {
            b'P' => {
                let (name, rest) = text(body);
                let (sql, _) = text(rest);
                meant.insert(name.to_vec(), shared.means(&String::from_utf8_lossy(sql)));
            }
            b'B' => {
                let (_, rest) = text(body);
                let (name, _) = text(rest);
                meant_now |= meant.get(name).copied().unwrap_or(false);
                if meant_now && shared.moment == Moment::Asked {
                    shared.stop(Stopped::WhenAsked);
                    let mut goes_on = shared.goes_on.subscribe();
                    let _ = goes_on.wait_for(|goes_on| *goes_on).await;
                }
            }
            b'S' | b'Q' => due.lock().push_back(std::mem::take(&mut meant_now)),
            _ => {}
        }
        server.write_all(&message).await?;
    }
}

async fn answer(
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    shared: &Shared,
    due: &Due,
) -> io::Result<()> {
    let (mut held_back, mut rows) = (Vec::new(), 0);
    loop {
        let message = read(&mut server).await?;
        let kind = message[0];
        held_back.extend(message);
        rows += usize::from(kind == b'D');
        let meant = due.lock().front().copied().unwrap_or(false);
        // `Z` ends an answer.
        if meant && kind != b'Z' {
            continue;
        }
        if meant && (rows > 0 || shared.moment == Moment::Asked) {
            shared.stop(Stopped::WhenAnswered);
            future::pending::<()>().await;
        }
        if kind == b'Z' {
            due.lock().pop_front();
            rows = 0;
        }
        client.write_all(&held_back).await?;
        held_back.clear();
    }
}

/// One message: a letter, its length, and the rest.
async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let letter = from.read_u8().await?;
    let length = from.read_u32().await?;
    let mut message = vec![letter];
    message.extend(length.to_be_bytes());
    fill(from, length, &mut message).await?;
    Ok(message)
}

/// A length counts itself.
async fn fill(
    from: &mut (impl AsyncRead + Unpin),
    length: u32,
    message: &mut Vec<u8>,
) -> io::Result<()> {
    let rest = u64::from(length).saturating_sub(4);
    let read = from.take(rest).read_to_end(message).await?;
    if u64::try_from(read).is_ok_and(|read| read == rest) {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// A text that ends with a zero, and what follows it.
fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}
