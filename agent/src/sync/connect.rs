//! The sync API over gRPC: the data half's side.
//!
//! Connects again whenever the connection is gone; meanwhile the data half
//! keeps what it holds.

mod replies;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use caracal_proto::sync::dataplane_sync_client::DataplaneSyncClient;
use caracal_proto::sync::{FromData, Position, ToData};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use replies::Said;
pub use replies::{ReplyReceiver, ReplySender, replies};

use super::{Link, LinkError, MAX_MESSAGE_BYTES, PATIENCE};

/// The first pause after a connection that failed; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Pings on an idle connection, so that a control half that hangs is noticed.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Frames for the control half that the transport has not taken yet.
const OUTBOUND: usize = 64;

/// The data half's loop, seen from here.
pub struct Loop {
    /// Takes a frame; may wait. False if the loop has ended.
    pub frames: Box<dyn Fn(ToData) -> bool + Send>,
    /// The position that the loop holds.
    pub held: Box<dyn Fn() -> Option<Position> + Send>,
    /// What the loop says back.
    pub replies: ReplyReceiver,
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

/// Keeps the loop connected to the control half that serves `socket`, on threads of its own.
/// `guard` is dropped when that ends, however it does.
///
/// # Errors
/// If the threads or the runtime cannot be started.
pub fn spawn(socket: &Path, data: Loop, guard: impl Send + 'static) -> io::Result<Client> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let mut connector = Connector {
        socket: socket.to_owned(),
        link: Link::new(),
        frames: relay(data.frames)?,
        held: data.held,
        replies: data.replies,
        start_over: false,
    };
    let thread = std::thread::Builder::new().name("sync".to_owned()).spawn(move || {
        let _guard = guard;
        runtime.block_on(async {
            tokio::select! {
                () = connector.run() => {}
                _ = stopped => {}
            }
        });
    })?;
    Ok(Client { stop: Some(stop), thread: Some(thread) })
}

/// A way to the loop that does not wait, so that pings are answered while the
/// loop is busy. It needs no bound: what is unacknowledged is one.
fn relay(frames: Box<dyn Fn(ToData) -> bool + Send>) -> io::Result<std_mpsc::Sender<ToData>> {
    let (sender, receiver) = std_mpsc::channel();
    std::thread::Builder::new().name("sync-frames".to_owned()).spawn(move || {
        for frame in receiver {
            if !frames(frame) {
                return;
            }
        }
    })?;
    Ok(sender)
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
    #[error("the data half gave the connection up: {0}")]
    GivenUp(String),
    #[error("the data half's loop has ended")]
    LoopGone,
}

struct Connector {
    socket: PathBuf,
    link: Link,
    frames: std_mpsc::Sender<ToData>,
    held: Box<dyn Fn() -> Option<Position> + Send>,
    replies: ReplyReceiver,
    /// Whether the next connection must start from nothing.
    start_over: bool,
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
        let (outbound, stream) = mpsc::channel(OUTBOUND);
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
                        self.replies.report_again();
                        self.start_over = false;
                        info!(socket = %self.socket.display(), "connected to the control half");
                    }
                    if let Some(frame) = passed {
                        self.frames.send(frame).map_err(|_| Ended::LoopGone)?;
                    }
                }
                said = self.replies.recv() => {
                    let reply = match said {
                        Said::Reply(reply) => reply,
                        Said::GaveUp(reason) => return Err(Ended::GivenUp(reason)),
                        Said::Nothing => return Err(Ended::LoopGone),
                    };
                    if outbound.send(*reply).await.is_err() {
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
    async fn settled(&mut self) -> Option<Position> {
        self.start_over |= self.replies.take_lost();
        if self.start_over {
            return None;
        }
        let passed = self.link.passed()?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while (self.held)() != Some(passed) {
            if tokio::time::Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Some(passed)
    }
}
