//! Small HTTP servers whose address follows the configuration while they run.

mod tls;

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
use tls::Identity;
use tokio::io::{AsyncRead, AsyncWrite};
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

/// The pause between two looks at the files of TLS: certificates are renewed in place.
const LOOK: Duration = if cfg!(test) { Duration::from_millis(100) } else { Duration::from_secs(10) };

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

/// Why servers do not listen where they should, and files are not kept, by what it is about.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<std::collections::BTreeMap<&'static str, String>>>);

impl Troubles {
    /// Takes why something does not work now; `None` if it works.
    pub(crate) fn set(&self, what: &'static str, trouble: Option<String>) {
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
        match open(&listener).await {
            Ok((socket, identity)) => {
                troubles.set(what, None);
                info!(host = listener.host, port = listener.port, tls = identity.is_some(), "serving {what}");
                tokio::select! {
                    () = accept(socket, identity.as_ref(), &pages) => {}
                    () = differs(&mut wanted, &listener) => debug!("{what} moves"),
                    () = renewed(what, &listener, identity.as_ref(), &troubles) => info!("{what} has another certificate"),
                }
            }
            Err(trouble) => {
                troubles.set(what, Some(trouble));
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

/// Waits until other files can be used than those in use.
async fn renewed(what: &'static str, listener: &HttpListener, held: Option<&Identity>, troubles: &Troubles) {
    let (Some(held), Some(files)) = (held, &listener.tls) else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK).await;
        match Identity::load(files) {
            Ok(now) if !now.is_same(held) => return,
            Ok(_) => troubles.set(what, None),
            Err(error) => troubles.set(what, Some(format!("{error}; what was read before is in use"))),
        }
    }
}

/// What it takes to answer, or why that is not there.
async fn open(listener: &HttpListener) -> Result<(TcpListener, Option<Identity>), String> {
    let identity = listener.tls.as_ref().map(Identity::load).transpose().map_err(|error| error.to_string())?;
    let socket = listen(listener).await.map_err(|error| {
        let place = if listener.host.is_empty() { "all addresses" } else { &listener.host };
        format!("cannot listen on port {} of {place}: {error}", listener.port)
    })?;
    Ok((socket, identity))
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
async fn accept(socket: TcpListener, identity: Option<&Identity>, pages: &Pages) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let (pages, acceptor) = (Arc::clone(pages), identity.map(|identity| identity.acceptor.clone()));
                    connections.spawn(async move {
                        let Some(acceptor) = acceptor else { return converse(stream, pages).await };
                        match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                            Ok(Ok(stream)) => converse(stream, pages).await,
                            Ok(Err(error)) => debug!("a connection came to nothing: {error}"),
                            Err(_) => debug!("a connection came to nothing within {PATIENCE:?}"),
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

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send, pages: Pages) {
    let service = service_fn(move |request| respond(request, Arc::clone(&pages)));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        debug!("a connection ended: {error}");
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
