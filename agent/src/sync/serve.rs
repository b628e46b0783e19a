//! The sync API over gRPC: the control half's side.
//!
//! One data half at a time. A connection counts only once it has said hello, so
//! that nothing which merely connects keeps the data half out. Whoever is
//! refused reads the reason as the last frame of its stream.

mod connection;
mod outgoing;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use caracal_proto::sync::dataplane_sync_server::{DataplaneSync, DataplaneSyncServer};
use caracal_proto::sync::{FromData, Hello, from_data};
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use super::socket::Socket;
use super::{MAX_MESSAGE_BYTES, PATIENCE, Refused};
use crate::accept;
use crate::control::{Inbox, Input, Outlet as _, PeerId};
use connection::{Connection, Line};
use outgoing::{Outgoing, Queue, queue};

/// How long a refused peer may take to read the reason.
const FAREWELL: Duration = Duration::from_secs(2);

/// Pings on an idle connection, so that a peer that hangs is noticed.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// The running server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Serves a socket on a thread of its own; what peers say goes to `inbox`.
/// `guard` is dropped when that ends, however it does.
///
/// # Errors
/// If the thread or its runtime cannot be started.
pub fn spawn(socket: Socket, inbox: Inbox, guard: impl Send + 'static) -> io::Result<Server> {
    spawn_with(socket, inbox, PATIENCE, guard)
}

fn spawn_with(socket: Socket, inbox: Inbox, patience: Duration, guard: impl Send + 'static) -> io::Result<Server> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("sync".to_owned()).spawn(move || {
        let _guard = guard;
        runtime.block_on(async {
            if let Err(error) = serve(socket, inbox, patience, stopped).await {
                warn!("the sync server ended: {}", crate::chain(&error));
            }
        });
    })?;
    Ok(Server { stop: Some(stop), thread: Some(thread) })
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("cannot listen: {0}")]
    Listen(#[from] io::Error),
    #[error("cannot serve: {0}")]
    Transport(#[from] tonic::transport::Error),
}

async fn serve(
    socket: Socket,
    inbox: Inbox,
    patience: Duration,
    stopped: oneshot::Receiver<()>,
) -> Result<(), ServeError> {
    let connections = accept::connections_of(socket)?.map(|accepted| accepted.and_then(Connection::new));
    let service = DataplaneSyncServer::new(Service { inbox, patience, next_peer: AtomicU64::new(0) })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(patience))
        .add_service(service)
        .serve_with_incoming(connections);
    // Dropping the server, not draining it: a stream has no natural end to wait for.
    tokio::select! {
        served = served => Ok(served?),
        _ = stopped => Ok(()),
    }
}

struct Service {
    inbox: Inbox,
    patience: Duration,
    next_peer: AtomicU64,
}

#[tonic::async_trait]
impl DataplaneSync for Service {
    type ExchangeStream = Outgoing;

    async fn exchange(&self, request: Request<Streaming<FromData>>) -> Result<Response<Outgoing>, Status> {
        let line = request.extensions().get::<Line>().cloned();
        let (queue, outgoing) = queue();
        let peer = Peer {
            id: PeerId(self.next_peer.fetch_add(1, Ordering::Relaxed)),
            queue,
            inbox: self.inbox.clone(),
            patience: self.patience,
        };
        tokio::spawn(peer.attend(request.into_inner(), line));
        Ok(Response::new(outgoing))
    }
}

/// One stream, from its first frame to its end.
struct Peer {
    id: PeerId,
    queue: Queue,
    inbox: Inbox,
    patience: Duration,
}

impl Peer {
    async fn attend(mut self, mut inbound: Streaming<FromData>, line: Option<Line>) {
        let ended = match self.greet(&mut inbound).await {
            Ok(hello) => {
                info!(peer = self.id.0, build = hello.build, "the data half is connected");
                let attach = Input::Attach { peer: self.id, hello, outlet: Box::new(self.queue.clone()) };
                self.inbox.send(attach);
                let ended = self.converse(&mut inbound).await;
                self.inbox.send(Input::Detach { peer: self.id });
                ended
            }
            Err(refused) => Err(self.counted(refused)),
        };
        match ended {
            Ok(()) => info!(peer = self.id.0, "the data half has disconnected"),
            Err(refused) => {
                warn!(peer = self.id.0, "a connection was dropped: {refused}");
                self.queue.refuse(refused);
                tokio::time::sleep(FAREWELL).await;
            }
        }
        if let Some(line) = line {
            line.cut();
        }
    }

    async fn greet(&self, inbound: &mut Streaming<FromData>) -> Result<Hello, Refused> {
        let first = tokio::time::timeout(self.patience, inbound.message()).await;
        match first {
            Err(_) => Err(Refused::protocol(format!("no hello within {:?}", self.patience))),
            Ok(Err(status)) => Err(unreadable(&status)),
            Ok(Ok(None)) => Err(Refused::protocol("the stream ended before a hello")),
            Ok(Ok(Some(frame))) => match frame.frame {
                Some(from_data::Frame::Hello(hello)) => Ok(hello),
                Some(_) | None => Err(Refused::protocol("the first frame is not a hello")),
            },
        }
    }

    /// Passes frames on until one side ends the stream.
    async fn converse(&self, inbound: &mut Streaming<FromData>) -> Result<(), Refused> {
        let mut watch = Watch::new(self.patience);
        let mut ticks = tokio::time::interval(self.patience / 10);
        loop {
            tokio::select! {
                frame = inbound.message() => match frame {
                    Ok(Some(frame)) => self.inbox.send(Input::Frame { peer: self.id, frame: Box::new(frame) }),
                    Ok(None) => return Ok(()),
                    Err(status) if is_broken(&status) => {
                        debug!(peer = self.id.0, "the connection broke: {status}");
                        return Ok(());
                    }
                    Err(status) => return Err(self.counted(unreadable(&status))),
                },
                refused = self.queue.refused() => return Err(refused),
                _ = ticks.tick() => {
                    watch.check(&self.queue, Instant::now()).map_err(|refused| self.counted(refused))?;
                }
            }
        }
    }

    /// Has a refusal counted that the control half knows nothing of.
    fn counted(&self, refused: Refused) -> Refused {
        self.inbox.send(Input::Refused(refused.reason));
        refused
    }
}

/// Whether the connection is gone, rather than what came over it wrong.
fn is_broken(status: &Status) -> bool {
    matches!(status.code(), tonic::Code::Unknown | tonic::Code::Unavailable | tonic::Code::Cancelled)
}

fn unreadable(status: &Status) -> Refused {
    Refused::protocol(format!("an unreadable frame: {}", status.message()))
}

/// Notices a peer that does not read what waits for it.
struct Watch {
    patience: Duration,
    taken: u64,
    since: Option<Instant>,
}

impl Watch {
    fn new(patience: Duration) -> Self {
        Self { patience, taken: 0, since: None }
    }

    fn check(&mut self, queue: &Queue, now: Instant) -> Result<(), Refused> {
        let (waiting, taken) = queue.progress();
        if waiting == 0 || taken != self.taken {
            self.taken = taken;
            self.since = None;
        }
        if waiting == 0 {
            return Ok(());
        }
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) < self.patience {
            return Ok(());
        }
        Err(Refused::new(
            caracal_proto::sync::refusal::Reason::Slow,
            format!("{waiting} frames wait and none was read for {:?}", self.patience),
        ))
    }
}

#[cfg(test)]
mod tests;
