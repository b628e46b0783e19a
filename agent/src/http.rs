//! Small HTTP servers whose address follows the configuration while they run.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use caracal_config::HttpListener;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

/// How long a client may take to send its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections that are served at the same time; further ones wait.
const CONNECTIONS: usize = 32;

/// The pause before an address that could not be listened on is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// What a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The form of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Yes, and no more to say.
    #[must_use]
    pub fn nothing() -> Self {
        Self::text(204, String::new())
    }

    /// Plain text.
    #[must_use]
    pub fn text(status: u16, body: String) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body }
    }

    /// There is no such page.
    #[must_use]
    pub fn not_found() -> Self {
        Self::text(404, "not found\n".to_owned())
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = status;
        if status != StatusCode::NO_CONTENT {
            let form = hyper::header::HeaderValue::from_static(self.content_type);
            response.headers_mut().insert(CONTENT_TYPE, form);
        }
        response
    }
}

/// Answers GET requests by their path.
pub type Pages = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Why servers do not listen where they should, by what they serve.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<std::collections::BTreeMap<&'static str, String>>>);

impl Troubles {
    fn set(&self, what: &'static str, trouble: Option<String>) {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(trouble) => {
                if troubles.get(what) != Some(&trouble) {
                    warn!("{what}: {trouble}; trying again");
                    troubles.insert(what, trouble);
                }
            }
            None => drop(troubles.remove(what)),
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, String)> {
        let troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.iter().map(|(what, trouble)| (*what, trouble.clone())).collect()
    }
}

/// Serves pages where `wanted` says, follows it, and does not end by itself.
pub async fn serve(what: &'static str, mut wanted: watch::Receiver<HttpListener>, pages: Pages, troubles: Troubles) {
    loop {
        let listener = wanted.borrow_and_update().clone();
        if !listener.enabled {
            troubles.set(what, None);
            if wanted.changed().await.is_err() {
                return std::future::pending().await;
            }
            continue;
        }
        match listen(&listener).await {
            Ok(socket) => {
                troubles.set(what, None);
                info!(host = listener.host, port = listener.port, "serving {what}");
                tokio::select! {
                    () = accept(socket, &pages) => {}
                    () = differs(&mut wanted, &listener) => debug!("{what} moves"),
                }
            }
            Err(error) => {
                let place = if listener.host.is_empty() { "all addresses" } else { &listener.host };
                troubles.set(what, Some(format!("cannot listen on port {} of {place}: {error}", listener.port)));
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = differs(&mut wanted, &listener) => {}
                }
            }
        }
    }
}

/// Waits until another listener is wanted.
async fn differs(wanted: &mut watch::Receiver<HttpListener>, listener: &HttpListener) {
    if wanted.wait_for(|wanted| wanted != listener).await.is_err() {
        // Nobody is left who could want anything else.
        std::future::pending().await
    }
}

async fn listen(listener: &HttpListener) -> io::Result<TcpListener> {
    let HttpListener { host, port, .. } = listener;
    if !host.is_empty() {
        return TcpListener::bind((host.as_str(), *port)).await;
    }
    match TcpListener::bind(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), *port)).await {
        // A host without IPv6.
        Err(_) => TcpListener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), *port)).await,
        bound => bound,
    }
}

/// Connections end with this.
async fn accept(socket: TcpListener, pages: &Pages) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let pages = Arc::clone(pages);
                    connections.spawn(async move {
                        let service = service_fn(move |request| respond(request, Arc::clone(&pages)));
                        let served = hyper::server::conn::http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(PATIENCE)
                            .serve_connection(TokioIo::new(stream), service);
                        if let Err(error) = served.await {
                            debug!("a connection ended: {error}");
                        }
                    });
                }
                // The process is short of something, which passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn respond(request: Request<Incoming>, pages: Pages) -> Result<Response<Full<Bytes>>, Infallible> {
    let answer = match *request.method() {
        Method::GET => pages(request.uri().path().to_owned()).await,
        _ => Answer::text(405, "only GET is answered\n".to_owned()),
    };
    Ok(answer.into_response())
}

#[cfg(test)]
mod tests;
