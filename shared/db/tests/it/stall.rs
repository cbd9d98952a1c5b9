use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A way to the server on which everything can be held up without a word, as by a firewall that
/// forgot a connection.
pub(crate) struct Stall {
    pub(crate) port: u16,
    stalled: watch::Sender<bool>,
    _tasks: Arc<JoinSet<()>>,
}

impl Stall {
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let ours = listener.local_addr().unwrap().port();
        let (stalled, watch) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut copies = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                copies.spawn(copy(client_in, server_out, watch.clone()));
                copies.spawn(copy(server_in, client_out, watch.clone()));
            }
        });
        Self { port: ours, stalled, _tasks: Arc::new(tasks) }
    }

    pub(crate) fn stall(&self) {
        self.stalled.send_replace(true);
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut stalled: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 8192];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let _ = stalled.wait_for(|stalled| !stalled).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
