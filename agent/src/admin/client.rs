//! A command's end of the admin API.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use caracal_proto::admin::admin_client::AdminClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

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
    /// The agent takes the question and says nothing.
    #[error("the agent at {} has not answered within {patience:?}; does it hang, or is it stopped?", .path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
    /// Whoever serves the socket does not know the question.
    #[error("{} is served by what does not know the question; is it the admin socket, of an agent of this version?", .path.display())]
    Unknown {
        /// The socket.
        path: PathBuf,
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
    call_within(PATIENCE, socket, ask)
}

fn call_within<T, F>(
    patience: Duration,
    socket: &Path,
    ask: impl FnOnce(AdminClient<Channel>) -> F,
) -> Result<T, CallError>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // The address is that of the socket; gRPC wants one in the form of a URL.
        let path = socket.to_owned();
        let channel = Endpoint::from_static("http://caracal.local")
            .connect_with_connector(tower::service_fn(move |_| {
                let socket = path.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            }))
            .await
            .map_err(|source| CallError::Connect { path: socket.to_owned(), source })?;
        let client = AdminClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        let answer = tokio::time::timeout(patience, ask(client)).await;
        let answer = answer.map_err(|_| CallError::Silent { path: socket.to_owned(), patience })?;
        let answer = answer.map_err(|status| match status.code() {
            Code::Unimplemented => CallError::Unknown { path: socket.to_owned() },
            _ => CallError::Refused { path: socket.to_owned(), status: Box::new(status) },
        })?;
        Ok(answer.into_inner())
    })
}

#[cfg(test)]
mod tests {
    use caracal_proto::admin::StatusRequest;

    use super::*;

    /// What is said of whoever serves a socket.
    fn told(socket: &Path) -> String {
        let ask = |mut agent: AdminClient<Channel>| async move { agent.status(StatusRequest {}).await };
        let error = call_within(Duration::from_millis(200), socket, ask).expect_err("nobody answers");
        crate::chain(&error)
    }

    #[test]
    fn who_does_not_answer_is_named_and_why() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("admin.sock");
        let name = socket.display();
        let absent = format!(
            "cannot reach an agent at {name}; is it running, and is --admin-socket its socket?: transport error: \
             No such file or directory (os error 2)"
        );
        assert_eq!(told(&socket), absent);
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let silent = format!("the agent at {name} has not answered within 200ms; does it hang, or is it stopped?");
        assert_eq!(told(&socket), silent);
    }
}
