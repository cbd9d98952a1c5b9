use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::passed::{Kind, Passed};

/// Stands between a fleet and its server, counts what passes, and can hold back the server's answers
/// and cut connections: both together leave a client in doubt whether what it asked for was done.
pub struct Proxy {
    port: u16,
    held_back: watch::Sender<bool>,
    open: Arc<Open>,
    _accepting: JoinSet<()>,
}

#[derive(Default)]
struct Open {
    connections: Mutex<BTreeMap<u64, CancellationToken>>,
    passed: Mutex<Passed>,
}

impl Proxy {
    pub async fn start(server_port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let held_back = watch::Sender::new(false);
        let open = Arc::new(Open::default());
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, server_port, held_back.subscribe(), open.clone()));
        Ok(Self { port, held_back, open, _accepting: accepting })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// While held back, requests go through and answers do not.
    pub(crate) fn hold_back(&self, held_back: bool) {
        self.held_back.send_replace(held_back);
    }

    /// Cuts each connection with this chance; answers how many.
    pub fn cut(&self, rng: &mut StdRng, chance: f64) -> usize {
        let connections = self.open.connections();
        let chosen = connections.values().filter(|_| rng.random_bool(chance));
        chosen.map(CancellationToken::cancel).count()
    }

    /// So far.
    pub fn passed(&self) -> Passed {
        self.open.passed().clone()
    }
}

impl Open {
    fn connections(&self) -> MutexGuard<'_, BTreeMap<u64, CancellationToken>> {
        self.connections.lock().expect("nothing panics while it holds this")
    }

    fn passed(&self) -> MutexGuard<'_, Passed> {
        self.passed.lock().expect("nothing panics while it holds this")
    }
}

async fn accept(
    listener: TcpListener,
    server_port: u16,
    held_back: watch::Receiver<bool>,
    open: Arc<Open>,
) {
    let mut connections = JoinSet::new();
    let mut next = 0;
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => client,
                Err(_) => continue,
            },
            Some(_) = connections.join_next() => continue,
        };
        let number = next;
        next += 1;
        let cut = CancellationToken::new();
        open.connections().insert(number, cut.clone());
        let (open, held_back) = (open.clone(), held_back.clone());
        connections.spawn(async move {
            let mut kind = Kind::Silent;
            tokio::select! {
                // However it ends, both sides are closed.
                _ = connect(client, server_port, held_back, &open, &mut kind) => {}
                () = cut.cancelled() => {}
            }
            open.passed().closed(kind);
            open.connections().remove(&number);
        });
    }
}

async fn connect(
    client: TcpStream,
    server_port: u16,
    held_back: watch::Receiver<bool>,
    open: &Open,
    kind: &mut Kind,
) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server_port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let count = |written: &[u8]| open.passed().saw(kind, written);
    tokio::select! {
        ended = pump(from_client, to_server, None, count) => ended,
        ended = pump(from_server, to_client, Some(held_back), |_| {}) => ended,
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut held_back: Option<watch::Receiver<bool>>,
    mut count: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if let Some(held_back) = &mut held_back {
            // An error means that the proxy itself ends.
            held_back.wait_for(|held_back| !held_back).await.map_err(io::Error::other)?;
        }
        count(&buffer[..read]);
        to.write_all(&buffer[..read]).await?;
    }
}
