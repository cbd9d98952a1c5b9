use std::pin::Pin;

use deadpool_postgres::Connect;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::debug;

/// How the pool gets its connections.
pub(crate) struct Opener {
    pub(crate) tls: MakeRustlsConnect,
    /// Run on each new connection. Not startup parameters: poolers refuse those they do not know.
    pub(crate) setup: String,
}

impl Connect for Opener {
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move {
            let (client, connection) = config.connect(self.tls.clone()).await?;
            let task = spawn(async move {
                if let Err(error) = connection.await {
                    // Whoever uses the connection hears of it, too, and has more to say.
                    debug!(%error, "a connection of the pool ended");
                }
            });
            set_up(&client, &self.setup).await.inspect_err(|_| task.abort())?;
            Ok((client, task))
        })
    }
}

pub(crate) async fn set_up(client: &Client, setup: &str) -> Result<(), Error> {
    if setup.is_empty() { Ok(()) } else { client.batch_execute(setup).await }
}

/// The half of a connection that talks to the socket, in a task of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "the client aborts it when dropped, and every call on the client fails once it ends"
)]
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(work)
}
