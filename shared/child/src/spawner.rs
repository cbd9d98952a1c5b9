use std::io;
use std::sync::OnceLock;
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

struct Request {
    command: Command,
    runtime: Handle,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// Every caller waits for its answer, so this bounds nothing but who waits where.
const WAITING: usize = 16;

/// Starts a program from a thread that never ends.
///
/// The kernel's "die with your parent" means the thread that started it, and threads of a runtime
/// come and go.
pub(crate) async fn spawn(command: Command) -> io::Result<Child> {
    static REQUESTS: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let requests = REQUESTS.get_or_init(|| {
        let (send, receive) = mpsc::channel(WAITING);
        let started = thread::Builder::new().name("children".to_owned()).spawn(|| serve(receive));
        // Without the thread the channel is closed, which is told below.
        drop(started);
        send
    });
    let (answer, answered) = oneshot::channel();
    let request = Request { command, runtime: Handle::current(), answer };
    let gone = || io::Error::other("the thread that starts children is gone");
    requests.send(request).await.map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}

fn serve(mut requests: mpsc::Receiver<Request>) {
    while let Some(Request { mut command, runtime, answer }) = requests.blocking_recv() {
        let _inside = runtime.enter();
        // If nobody waits any more, the child is dropped here, and `kill_on_drop` ends it.
        drop(answer.send(command.spawn()));
    }
}
