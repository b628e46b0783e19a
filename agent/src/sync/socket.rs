//! The unix socket that the control half serves on.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The lock beside the socket is held.
    #[error("another control half serves {0}")]
    Taken(PathBuf),
    /// The file system refused.
    #[error("cannot serve {path}: {source}")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A listening socket that only its owner can connect to.
///
/// A lock file beside it, `PATH.lock`, keeps two servers apart; it goes with
/// the process, so that a socket left by a killed one is simply replaced.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Held as long as the socket is.
    _lock: File,
}

impl Socket {
    /// Takes the lock, and puts a listening socket of mode 0600 in the path's place.
    ///
    /// # Errors
    /// [`SocketError::Taken`] while another process serves the path; it may be tried again later.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let io_error = |source| SocketError::Io { path: path.to_owned(), source };
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(beside(path, "lock"))
            .map_err(io_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SocketError::Taken(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io_error(error)),
        }
        let listener = publish(path).map_err(io_error)?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    /// A second handle to the listening socket.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A socket that stays is replaced by the next server.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the socket where nobody else can reach it, and moves it into place once its mode is right.
fn publish(path: &Path) -> io::Result<UnixListener> {
    let private = beside(path, "new");
    if private.exists() {
        fs::remove_dir_all(&private)?;
    }
    DirBuilder::new().mode(0o700).create(&private)?;
    let made = private.join("s");
    let listener = UnixListener::bind(&made)?;
    fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    fs::rename(&made, path)?;
    fs::remove_dir(&private)?;
    Ok(listener)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn one_server_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sync.sock");
        let first = Socket::bind(&path).expect("the path is free");
        let mode = fs::metadata(&path).expect("the socket is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(Socket::bind(&path), Err(SocketError::Taken(_))));
        UnixStream::connect(&path).expect("the first one still serves");
        drop(first);
        assert!(!path.exists());
        Socket::bind(&path).expect("the path is free again");
    }

    #[test]
    fn what_a_killed_server_left_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("sync.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        fs::create_dir(beside(&path, "new")).expect("a directory");
        assert!(UnixStream::connect(&path).is_err(), "nobody listens");
        let _socket = Socket::bind(&path).expect("the path is free");
        UnixStream::connect(&path).expect("the new one serves");
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect();
        left.sort();
        assert_eq!(left, ["sync.sock", "sync.sock.lock"]);
    }

    #[test]
    fn an_error_names_the_path() {
        let error = Socket::bind(Path::new("/nowhere/sync.sock")).expect_err("no such directory");
        assert!(error.to_string().starts_with("cannot serve /nowhere/sync.sock: "), "{error}");
    }
}
