//! The sockets of pods, and the gRPC service on them.
//!
//! Under the prefix `PolicySyncPathPrefix` a driver on the node makes
//! `creds/UID.json` and `mount/UID/` for each pod; the second is mounted into
//! the pod, and a socket in it is served while the first is there.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use caracal_proto::felix::policy_sync_server::{PolicySync, PolicySyncServer};
use caracal_proto::felix::{DataplaneStats, ReportResult, SyncRequest, ToDataplane};
use tokio::sync::{Mutex, Semaphore, oneshot, watch};
use tokio::task::JoinHandle as Task;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::StreamExt as _;
use tonic::{Request as Rpc, Response, Status};
use tracing::{debug, info, warn};

use super::authority::Connection;
use super::credentials::{CredentialsError, Writing};
use super::socket::PodSocket;
use super::{EndpointId, JoinId, Outgoing, Request, credentials, queue};
use crate::accept;
use crate::control::{Inbox, Input};

/// How often credentials are looked for.
const POLL: Duration = Duration::from_millis(100);

/// The least time between two streams of one pod: each costs the graph's thread
/// a snapshot.
const JOIN_INTERVAL: Duration = Duration::from_millis(50);

/// Connections of one pod at the same time; further ones wait. A proxy needs one, and whoever
/// opens very many must not take the descriptors that policy is read with.
const CONNECTIONS: usize = 16;

/// Pings on an idle connection, so that a client that hangs is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The running servers; they end when dropped.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Serves the pods under a prefix on a thread of its own, and nobody while
/// there is none. What clients ask for goes to `inbox`. `guard` is dropped when
/// that ends, however it does.
///
/// # Errors
/// If the thread or its runtime cannot be started.
pub fn spawn(prefix: watch::Receiver<Option<PathBuf>>, inbox: Inbox, guard: impl Send + 'static) -> io::Result<Server> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("policysync".to_owned()).spawn(move || {
        let _guard = guard;
        runtime.block_on(async {
            tokio::select! {
                () = Pods::new(inbox).follow(prefix) => {}
                _ = stopped => {}
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

/// The pods that have credentials, by uid.
struct Pods {
    inbox: Inbox,
    next_join: Arc<AtomicU64>,
    served: BTreeMap<String, Pod>,
    /// What was said about pods that cannot be served, and about the directory.
    complaints: BTreeMap<String, String>,
}

/// A pod whose socket is served. Its streams live on when it goes: they end with its endpoint,
/// or when another prefix is configured.
struct Pod {
    endpoint: EndpointId,
    /// The writing of the credentials that named the endpoint.
    written: Writing,
    socket: PodSocket,
    server: Task<()>,
}

impl Pod {
    /// Whether its socket is there, and its credentials name the same endpoint.
    fn stands(&mut self, credentials: &Path) -> bool {
        let Ok(written) = credentials::writing(credentials) else { return false };
        if written != self.written {
            if credentials::read(credentials).ok().as_ref() != Some(&self.endpoint) {
                return false;
            }
            self.written = written;
        }
        self.socket.is_there()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Pods {
    fn new(inbox: Inbox) -> Self {
        Self { inbox, next_join: Arc::default(), served: BTreeMap::new(), complaints: BTreeMap::new() }
    }

    /// Serves the pods under the prefix, whatever it is.
    async fn follow(mut self, mut prefix: watch::Receiver<Option<PathBuf>>) {
        let mut ticks = tokio::time::interval(POLL);
        loop {
            let current = prefix.borrow_and_update().clone();
            if let Some(current) = &current {
                self.look(current);
            } else {
                self.served.clear();
                self.complaints.clear();
            }
            let tick = async {
                match current {
                    Some(_) => drop(ticks.tick().await),
                    None => pending().await,
                }
            };
            tokio::select! {
                () = tick => {}
                changed = prefix.changed() => match changed {
                    Ok(()) => {
                        self.served.clear();
                        self.inbox.send(Input::PolicySync(Request::Dismiss));
                    }
                    // The control half has ended, and so will this.
                    Err(_) => pending().await,
                }
            }
        }
    }

    fn look(&mut self, prefix: &Path) {
        let creds = prefix.join("creds");
        let uids = match credentials::list(&creds) {
            Ok(uids) => {
                self.complaints.remove("");
                uids
            }
            Err(error) => {
                // Those that are served stay.
                self.complain("", format!("cannot read {}: {error}", creds.display()));
                return;
            }
        };
        self.served.retain(|uid, pod| uids.contains(uid) && pod.stands(&file_of(prefix, uid)));
        self.complaints.retain(|uid, _| uids.contains(uid));
        let new: BTreeSet<_> = uids.into_iter().filter(|uid| !self.served.contains_key(uid)).collect();
        for uid in new {
            match self.serve(prefix, &uid) {
                Ok(pod) => {
                    self.complaints.remove(&uid);
                    self.served.insert(uid, pod);
                }
                Err(reason) => self.complain(&uid, reason),
            }
        }
    }

    fn serve(&self, prefix: &Path, uid: &str) -> Result<Pod, String> {
        let file = file_of(prefix, uid);
        let read = || Ok::<_, CredentialsError>((credentials::writing(&file)?, credentials::read(&file)?));
        let (written, endpoint) = read().map_err(|error| format!("{} {error}", file.display()))?;
        let path = prefix.join("mount").join(uid).join("socket");
        let bind = || {
            let (socket, listener) = PodSocket::bind(path.clone())?;
            Ok((socket, tokio::net::UnixListener::from_std(listener)?))
        };
        let (socket, listener) =
            bind().map_err(|error: io::Error| format!("cannot serve {}: {error}", path.display()))?;
        info!(pod = endpoint.workload, "serving policy sync");
        let mut joins = tokio::time::interval(JOIN_INTERVAL);
        joins.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let service = Service {
            endpoint: endpoint.clone(),
            inbox: self.inbox.clone(),
            next_join: self.next_join.clone(),
            joins: Mutex::new(joins),
        };
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .add_service(PolicySyncServer::new(service))
            .serve_with_incoming(connections(listener));
        let server = tokio::spawn(async move {
            if let Err(error) = serving.await {
                warn!("cannot serve {}: {}", path.display(), crate::chain(&error));
            }
        });
        Ok(Pod { endpoint, written, socket, server })
    }

    /// Says once what is wrong.
    fn complain(&mut self, about: &str, reason: String) {
        if self.complaints.get(about) != Some(&reason) {
            warn!("policy sync: {reason}");
            self.complaints.insert(about.to_owned(), reason);
        }
    }
}

/// The connections of one pod, so many at a time.
fn connections(listener: tokio::net::UnixListener) -> impl tokio_stream::Stream<Item = io::Result<Connection>> + Send {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    accept::connections(listener).then(move |accepted| {
        let room = Arc::clone(&room);
        async move {
            let place = room.acquire_owned().await.map_err(io::Error::other)?;
            accepted.map(|stream| Connection::new(stream, place))
        }
    })
}

/// The credentials of a pod.
fn file_of(prefix: &Path, uid: &str) -> PathBuf {
    prefix.join("creds").join(format!("{uid}.json"))
}

/// The service on one pod's socket.
struct Service {
    endpoint: EndpointId,
    inbox: Inbox,
    next_join: Arc<AtomicU64>,
    /// Lets one stream after the other begin.
    joins: Mutex<Interval>,
}

#[tonic::async_trait]
impl PolicySync for Service {
    type SyncStream = Stream;

    async fn sync(&self, _request: Rpc<SyncRequest>) -> Result<Response<Stream>, Status> {
        self.joins.lock().await.tick().await;
        let join = JoinId(self.next_join.fetch_add(1, Ordering::Relaxed));
        let (queue, outgoing) = queue();
        let endpoint = self.endpoint.clone();
        let stream = Stream { outgoing, endpoint: endpoint.clone(), join, inbox: self.inbox.clone() };
        self.inbox.send(Input::PolicySync(Request::Join { endpoint, join, queue }));
        Ok(Response::new(stream))
    }

    /// Nobody collects flows here.
    async fn report(&self, _request: Rpc<DataplaneStats>) -> Result<Response<ReportResult>, Status> {
        debug!(pod = self.endpoint.workload, "a report of flows that nobody collects");
        Ok(Response::new(ReportResult { successful: false }))
    }
}

/// The answers to one client, who leaves when it is dropped.
struct Stream {
    outgoing: Outgoing,
    endpoint: EndpointId,
    join: JoinId,
    inbox: Inbox,
}

impl tokio_stream::Stream for Stream {
    type Item = Result<ToDataplane, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.outgoing).poll_next(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let leave = Request::Leave { endpoint: self.endpoint.clone(), join: self.join };
        self.inbox.send(Input::PolicySync(leave));
    }
}
