//! A tap between the two halves: passes the frames of the sync API on, and counts them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use caracal_proto::sync::dataplane_sync_client::DataplaneSyncClient;
use caracal_proto::sync::dataplane_sync_server::{DataplaneSync, DataplaneSyncServer};
use caracal_proto::sync::{FromData, ToData, from_data};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// Called instead of passing the frame on at which the tap breaks the connection.
type Break = Box<dyn FnOnce() + Send>;

/// A running tap; it ends when dropped.
pub struct Tap {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// Frames that came, in either direction.
    frames: usize,
    /// Acknowledgements among them.
    acks: usize,
    /// At which frame to break, and what then.
    at: Option<(usize, Break)>,
    broken: bool,
}

/// What a [`Tap`] saw first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// As many acknowledgements as were waited for.
    Acks,
    /// The frame at which it was to break.
    Break,
    /// Neither, for as long as was waited.
    Nothing,
}

impl Tap {
    /// Serves `socket`, and passes what comes on to the control half at `control`.
    /// Instead of frame number `at`, counted from 0 in both directions together,
    /// it calls `then` and ends the connection; later connections pass.
    pub fn start(socket: &Path, control: PathBuf, at: usize, then: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.with(|state| state.at = Some((at, Box::new(then))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(async { UnixListener::bind(socket) })?;
        let (stop, stopped) = oneshot::channel();
        let service = Service { control, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new().name("tap".to_owned()).spawn(move || {
            runtime.block_on(async {
                let serving = Server::builder()
                    .add_service(DataplaneSyncServer::new(service))
                    .serve_with_incoming(UnixListenerStream::new(listener));
                tokio::select! {
                    // Without it the halves do not meet, and the test says so.
                    _ = serving => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Waits until there were so many acknowledgements, or the connection was broken.
    #[must_use]
    pub fn wait(&self, acks: usize, patience: Duration) -> Seen {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let neither = |state: &mut State| state.acks < acks && !state.broken;
        let (state, _) =
            self.shared.news.wait_timeout_while(state, patience, neither).unwrap_or_else(PoisonError::into_inner);
        match (state.broken, state.acks >= acks) {
            (true, _) => Seen::Break,
            (false, true) => Seen::Acks,
            (false, false) => Seen::Nothing,
        }
    }

    /// Lets everything pass from here on. Gives the number of frames that came so far.
    #[must_use]
    pub fn disarm(&self) -> usize {
        self.shared.with(|state| {
            state.at = None;
            state.frames
        })
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.news.notify_all();
        changed
    }

    /// Counts a frame; false if the connection ends instead.
    fn passes(&self, acks: usize) -> bool {
        let due = self.with(|state| {
            let due = state.at.take_if(|(at, _)| *at == state.frames);
            state.frames += 1;
            if due.is_none() {
                state.acks += acks;
            }
            due
        });
        let Some((_, then)) = due else { return true };
        then();
        self.with(|state| state.broken = true);
        false
    }
}

struct Service {
    control: PathBuf,
    shared: Arc<Shared>,
}

#[tonic::async_trait]
impl DataplaneSync for Service {
    type ExchangeStream = ReceiverStream<Result<ToData, Status>>;

    async fn exchange(&self, request: Request<Streaming<FromData>>) -> Result<Response<Self::ExchangeStream>, Status> {
        let mut from_data = request.into_inner();
        let control = self.control.clone();
        let channel = Endpoint::from_static("http://caracal.local")
            .connect_with_connector(tower::service_fn(move |_| {
                let control = control.clone();
                async move { UnixStream::connect(control).await.map(TokioIo::new) }
            }))
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let (up, upwards) = mpsc::channel(1);
        let (down, downwards) = mpsc::channel(1);
        let mut to_data = DataplaneSyncClient::new(channel).exchange(ReceiverStream::new(upwards)).await?.into_inner();
        let shared = Arc::clone(&self.shared);
        // Its end drops both streams.
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    frame = from_data.message() => {
                        let Ok(Some(frame)) = frame else { return };
                        let acks = usize::from(matches!(frame.frame, Some(from_data::Frame::Ack(_))));
                        if !shared.passes(acks) || up.send(frame).await.is_err() {
                            return;
                        }
                    }
                    frame = to_data.message() => {
                        let Ok(Some(frame)) = frame else { return };
                        if !shared.passes(0) || down.send(Ok(frame)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(downwards)))
    }
}
