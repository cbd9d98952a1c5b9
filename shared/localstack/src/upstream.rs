use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use hyper::body::Body;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Where a part listens that only the gateway speaks to.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Io = TokioIo<Box<dyn Stream>>;

impl Upstream {
    /// A connection of its own for each request: on one machine it costs less than telling whether
    /// an old one still lives. Nothing moves unless the second half is awaited.
    pub(crate) async fn open<B>(&self) -> io::Result<(SendRequest<B>, Connection<Io, B>)>
    where
        B: Body + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream: Box<dyn Stream> = match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)
    }
}
