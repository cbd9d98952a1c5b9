use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::answer::answer;
use crate::cluster::Cluster;

/// A server that is ready to be asked. kubectl shows its token only to servers with TLS.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    /// In base64 of PEM, as a kubeconfig has it.
    pub(crate) authority: String,
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

const HANDSHAKE: Duration = Duration::from_secs(10);

pub(crate) async fn listen(port: u16) -> io::Result<Listening> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
    let certified = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .map_err(io::Error::other)?;
    Ok(Listening {
        address: listener.local_addr()?,
        authority: STANDARD.encode(certified.cert.pem()),
        listener,
        acceptor: TlsAcceptor::from(Arc::new(config)),
    })
}

impl Listening {
    pub(crate) async fn serve(self, cluster: Arc<Cluster>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(cluster.clone(), self.acceptor.clone(), stream));
                    }
                    // Too many open files: those who wait are served when others have left.
                    Err(_) => sleep(Duration::from_millis(100)).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn connection(cluster: Arc<Cluster>, acceptor: TlsAcceptor, stream: TcpStream) {
    if cluster.faults.is_unreachable() {
        return;
    }
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let service = service_fn(|request| answer(cluster.clone(), request));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    // An error here is the client's leaving, or an answer that we were told not to give.
    let _ = serving.await;
}
