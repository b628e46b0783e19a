//! The sync API over gRPC: the data half's side.
//!
//! Connects again whenever the connection is gone; meanwhile the data half
//! keeps what it holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

use caracal_proto::sync::dataplane_sync_client::DataplaneSyncClient;
use caracal_proto::sync::{FromData, Position, ToData};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::{Link, LinkError, MAX_MESSAGE_BYTES, PATIENCE};

/// The first pause after a connection that failed; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Pings on an idle connection, so that a control half that hangs is noticed.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Replies that wait while there is no connection. What does not fit is
/// dropped, and a snapshot is asked for: its acknowledgement repeats every outcome.
const WAITING_REPLIES: usize = 1024;

/// What the data half's loop looks like from here.
pub struct Receiver {
    /// Takes frames. It must not block: what is unacknowledged bounds it.
    pub frames: std_mpsc::Sender<ToData>,
    /// What the loop says back.
    pub replies: std_mpsc::Receiver<FromData>,
    /// The position that the loop holds.
    pub have: Box<dyn Fn() -> Option<Position> + Send>,
}

/// The running client; it ends when dropped.
#[derive(Debug)]
pub struct Client {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

/// Keeps the loop connected to the control half that serves `socket`, on a thread of its own.
///
/// # Errors
/// If the thread or its runtime cannot be started.
pub fn spawn(socket: &Path, receiver: Receiver) -> io::Result<Client> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, mut stopped) = oneshot::channel();
    let (replies, waiting) = mpsc::channel(WAITING_REPLIES);
    let dropped = Arc::new(AtomicBool::new(false));
    pump(receiver.replies, replies, dropped.clone())?;
    let mut connector = Connector {
        socket: socket.to_owned(),
        link: Link::new(),
        frames: receiver.frames,
        replies: waiting,
        have: receiver.have,
        dropped,
    };
    let thread = std::thread::Builder::new().name("sync".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = connector.run() => {}
                _ = &mut stopped => {}
            }
        });
    })?;
    Ok(Client { stop: Some(stop), thread: Some(thread) })
}

/// Moves replies to where the runtime can wait for them. The thread ends with the loop.
fn pump(
    replies: std_mpsc::Receiver<FromData>,
    waiting: mpsc::Sender<FromData>,
    dropped: Arc<AtomicBool>,
) -> io::Result<()> {
    std::thread::Builder::new().name("sync-replies".to_owned()).spawn(move || {
        for reply in replies {
            match waiting.try_send(reply) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => dropped.store(true, Ordering::Relaxed),
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    })?;
    Ok(())
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot connect to the control half: {}", crate::chain(.0))]
    Connect(#[from] tonic::transport::Error),
    #[error("no answer from the control half within {PATIENCE:?}")]
    Silence,
    #[error("the connection to the control half broke: {}", .0.message())]
    Broken(#[from] Status),
    #[error("the control half closed the connection")]
    Closed,
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the data half's loop has ended")]
    LoopGone,
}

struct Connector {
    socket: PathBuf,
    link: Link,
    frames: std_mpsc::Sender<ToData>,
    replies: mpsc::Receiver<FromData>,
    have: Box<dyn Fn() -> Option<Position> + Send>,
    dropped: Arc<AtomicBool>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Connector {
    async fn run(&mut self) {
        let mut pause = FIRST_PAUSE;
        let mut said = String::new();
        loop {
            let mut welcomed = false;
            let ended = match self.converse(&mut welcomed).await {
                Ok(()) | Err(Ended::LoopGone) => return,
                Err(ended) => ended.to_string(),
            };
            if welcomed {
                pause = FIRST_PAUSE;
                said.clear();
            }
            // An outage is one line in the log, however many attempts it takes.
            if ended == said {
                debug!("{ended}");
            } else {
                warn!("{ended}; trying again, the rules in the kernel stay as they are");
                said = ended;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection. It ends well only with the data half's loop.
    async fn converse(&mut self, welcomed: &mut bool) -> Result<(), Ended> {
        let (outbound, stream) = mpsc::channel(WAITING_REPLIES);
        let have = self.settled().await;
        if outbound.try_send(self.link.hello(have)).is_err() {
            return Err(Ended::Closed);
        }
        let mut inbound = tokio::time::timeout(PATIENCE, self.open(stream)).await.map_err(|_| Ended::Silence)??;
        let mut deadline = Some(tokio::time::Instant::now() + PATIENCE);
        loop {
            let silence = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                frame = inbound.message() => {
                    let frame = frame?.ok_or(Ended::Closed)?;
                    let passed = self.link.receive(frame)?;
                    if deadline.take().is_some() {
                        *welcomed = true;
                        info!(socket = %self.socket.display(), resumed = have.is_some(), "connected to the control half");
                    }
                    if let Some(frame) = passed {
                        self.frames.send(frame).map_err(|_| Ended::LoopGone)?;
                    }
                }
                reply = self.replies.recv() => {
                    let reply = reply.ok_or(Ended::LoopGone)?;
                    if outbound.send(reply).await.is_err() {
                        return Err(Ended::Closed);
                    }
                }
                () = silence => return Err(Ended::Silence),
            }
        }
    }

    async fn open(&self, stream: mpsc::Receiver<FromData>) -> Result<Streaming<ToData>, Ended> {
        // The address is that of the socket; gRPC wants one in the form of a URL.
        let channel = Endpoint::from_static("http://caracal.local")
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(PATIENCE)
            .keep_alive_while_idle(true)
            .connect_with_connector(tower::service_fn({
                let socket = self.socket.clone();
                move |_| {
                    let socket = socket.clone();
                    async move { UnixStream::connect(socket).await.map(TokioIo::new) }
                }
            }))
            .await?;
        let mut client = DataplaneSyncClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.exchange(ReceiverStream::new(stream)).await?.into_inner())
    }

    /// What the loop holds, once it has worked off the frames that it was
    /// given; `None` if it lost its place, or if replies were lost.
    async fn settled(&self) -> Option<Position> {
        if self.dropped.swap(false, Ordering::Relaxed) {
            return None;
        }
        let passed = self.link.passed()?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while (self.have)() != Some(passed) {
            if tokio::time::Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Some(passed)
    }
}
