//! A command's end of the admin API.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use caracal_proto::admin::admin_client::AdminClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers may be large: a node has thousands of policies.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody serves the socket, or this user may not connect to it.
    #[error("cannot reach an agent at {}; is it running, and is --admin-socket its socket?", .path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// The agent did not answer the question.
    #[error("the agent at {} says: {}", .path.display(), .status.message())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What it said instead.
        status: Box<Status>,
    },
    /// There is no runtime to call from.
    #[error("cannot start a runtime")]
    Runtime(#[from] io::Error),
}

/// Calls the agent that serves `socket`, and waits for its answer.
///
/// # Errors
/// [`CallError`].
pub fn call<T, F>(socket: &Path, ask: impl FnOnce(AdminClient<Channel>) -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // The address is that of the socket; gRPC wants one in the form of a URL.
        let path = socket.to_owned();
        let channel = Endpoint::from_static("http://caracal.local")
            .timeout(PATIENCE)
            .connect_with_connector(tower::service_fn(move |_| {
                let socket = path.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            }))
            .await
            .map_err(|source| CallError::Connect { path: socket.to_owned(), source })?;
        let client = AdminClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        let answer = ask(client).await;
        let answer =
            answer.map_err(|status| CallError::Refused { path: socket.to_owned(), status: Box::new(status) })?;
        Ok(answer.into_inner())
    })
}
