use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The network between client and server.
pub(crate) struct Proxy {
    pub(crate) url: String,
    weather: watch::Sender<Weather>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Weather {
    Fair,
    /// Whatever is sent never arrives, and nobody is told.
    Frozen,
    /// Connections end as soon as they are made.
    Cut,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (weather, now) = watch::channel(Weather::Fair);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(carry(client, to, now.clone()));
            }
        });
        Self { url, weather, _tasks: tasks }
    }

    pub(crate) fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn carry(mut client: TcpStream, to: u16, mut weather: watch::Receiver<Weather>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    loop {
        let now = *weather.borrow_and_update();
        match now {
            Weather::Cut => return,
            Weather::Frozen => {
                // Both sockets stay open, and nothing is read from either.
                if weather.changed().await.is_err() {
                    return;
                }
            }
            Weather::Fair => tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => return,
                changed = weather.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            },
        }
    }
}
