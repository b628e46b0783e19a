//! Connections of the program's unix sockets, as they are accepted.

use std::io;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};

use crate::sync::socket::Socket;

/// The pause after a connection that could not be accepted: the process is short of
/// descriptors or memory, which passes, and the connection waits.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a socket is looked for at its path.
const LOOK: Duration = Duration::from_secs(1);

/// What comes in at a socket.
pub(crate) type Connections = ReceiverStream<io::Result<UnixStream>>;

/// What comes in at a listening socket, until the stream is dropped. Belongs on a runtime.
pub(crate) fn connections(listener: UnixListener) -> Connections {
    spawn(listener, None)
}

/// What comes in at a socket that is put back if somebody removes it.
pub(crate) fn connections_of(socket: Socket) -> io::Result<Connections> {
    let listener = listening(socket.listener()?)?;
    Ok(spawn(listener, Some(socket)))
}

fn spawn(listener: UnixListener, socket: Option<Socket>) -> Connections {
    let (accepted, connections) = mpsc::channel(1);
    tokio::spawn(accept(listener, socket, accepted));
    ReceiverStream::new(connections)
}

async fn accept(
    mut listener: UnixListener,
    mut socket: Option<Socket>,
    accepted: mpsc::Sender<io::Result<UnixStream>>,
) {
    let mut looks = tokio::time::interval(LOOK);
    let mut said = String::new();
    loop {
        tokio::select! {
            () = accepted.closed() => return,
            connection = listener.accept() => {
                // Whoever is handed a failure asks for the next connection at once.
                if connection.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
                if accepted.send(connection.map(|(stream, _)| stream)).await.is_err() {
                    return;
                }
            }
            _ = looks.tick(), if socket.is_some() => {
                let Some(socket) = &mut socket else { continue };
                let put_back = socket.put_back().map_err(|error| error.to_string());
                match put_back.and_then(|new| new.map(listening).transpose().map_err(|error| error.to_string())) {
                    Ok(None) => {}
                    Ok(Some(new)) => {
                        info!(socket = %socket.path().display(), "somebody had removed it; it is there again");
                        listener = new;
                        said.clear();
                    }
                    Err(reason) if reason == said => {}
                    Err(reason) => {
                        warn!(socket = %socket.path().display(), "it was removed: {reason}; trying again");
                        said = reason;
                    }
                }
            }
        }
    }
}

fn listening(listener: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}
