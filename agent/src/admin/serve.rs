//! The thread that answers questions: on the admin socket, and over HTTP.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use caracal_config::HttpListener;
use caracal_proto::admin::admin_server::AdminServer;
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use super::Service;
use crate::accept::{self, Connections};
use crate::health::{self, Health, Quality};
use crate::http::{self, Answer, Pages, Troubles};
use crate::metrics::{self, Scrapes};
use crate::sync::socket::Socket;

/// The first pause after the socket could not be served; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The running server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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

/// Where and how probes and scrapes are answered.
pub struct Listeners {
    /// `/liveness` and `/readiness`.
    pub health: (watch::Receiver<HttpListener>, Health),
    /// `/metrics`.
    pub metrics: (watch::Receiver<HttpListener>, Scrapes),
    /// Gets to know why nobody listens.
    pub troubles: Troubles,
}

impl Listeners {
    /// Does not end by itself.
    async fn serve(self) {
        let Self { health: (health_wanted, health), metrics: (metrics_wanted, scrapes), troubles } = self;
        let probes: Pages = Arc::new(move |path| {
            let answer = match path.as_str() {
                "/liveness" => health::answer(&health, Quality::Liveness),
                "/readiness" => health::answer(&health, Quality::Readiness),
                _ => Answer::not_found(),
            };
            Box::pin(std::future::ready(answer))
        });
        let metrics: Pages = Arc::new(move |path| {
            let scrapes = scrapes.clone();
            Box::pin(async move {
                match path.as_str() {
                    "/metrics" => {
                        Answer { status: 200, content_type: metrics::CONTENT_TYPE, body: scrapes.page().await }
                    }
                    _ => Answer::not_found(),
                }
            })
        });
        tokio::join!(
            http::serve("health probes", health_wanted, probes, troubles.clone()),
            http::serve("metrics", metrics_wanted, metrics, troubles),
        );
    }
}

/// Serves the admin API on a unix socket, with a thread of its own. `guard` is
/// dropped when that ends, however it does.
///
/// Enforcement does not hang on it: a socket that cannot be served, because the
/// agent before still has it, is tried again.
///
/// # Errors
/// If the thread or its runtime cannot be started.
pub fn spawn(
    socket: PathBuf,
    service: Service,
    listeners: Listeners,
    guard: impl Send + 'static,
) -> io::Result<Server> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let _guard = guard;
        runtime.block_on(async {
            tokio::select! {
                () = serve(&socket, &service) => {}
                () = listeners.serve() => {}
                _ = stopped => {}
            }
        });
    })?;
    Ok(Server { stop: Some(stop), thread: Some(thread) })
}

/// Does not end by itself.
async fn serve(path: &Path, service: &Service) {
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    loop {
        let error = match bind(path) {
            Ok(connections) => {
                info!(socket = %path.display(), "serving the admin API");
                let served = tonic::transport::Server::builder()
                    .add_service(AdminServer::new(service.clone()))
                    .serve_with_incoming(connections)
                    .await;
                pause = FIRST_PAUSE;
                served.err().map_or_else(|| "the listener has ended".to_owned(), |error| crate::chain(&error))
            }
            Err(error) => error.to_string(),
        };
        // An outage is one line in the log, however many attempts it takes.
        if error != said {
            warn!("no admin API: {error}; trying again");
            said = error;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn bind(path: &Path) -> anyhow::Result<Connections> {
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    Ok(accept::connections_of(Socket::bind(path)?)?)
}
