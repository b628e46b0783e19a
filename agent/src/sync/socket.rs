//! The unix socket that the control half serves on.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The lock beside the socket is held.
    #[error("another agent serves {0}")]
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
    /// What was bound: device and inode.
    bound: (u64, u64),
    /// Held as long as the socket is.
    lock: File,
}

impl Socket {
    /// Takes the lock, and puts a listening socket of mode 0600 in the path's place.
    ///
    /// # Errors
    /// [`SocketError::Taken`] while another process serves the path; it may be tried again later.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let lock = lock(path)?;
        let (listener, bound) = publish(path).map_err(|source| SocketError::io(path, source))?;
        Ok(Self { listener, path: path.to_owned(), bound, lock })
    }

    /// Puts a socket in the path's place again if this one was removed, and gives what
    /// listens there then. Connections that were accepted before live on.
    ///
    /// # Errors
    /// [`SocketError::Taken`] if another process serves the path now; both may be tried again later.
    pub fn put_back(&mut self) -> Result<Option<UnixListener>, SocketError> {
        if identity(&self.path).is_ok_and(|found| found == self.bound) {
            return Ok(None);
        }
        let io_error = |source| SocketError::io(&self.path, source);
        if let Some(directory) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(io_error)?;
        }
        let held = self.lock.metadata().map(|lock| (lock.dev(), lock.ino())).map_err(io_error)?;
        if identity(&beside(&self.path, "lock")).ok() != Some(held) {
            self.lock = lock(&self.path)?;
        }
        let (listener, bound) = publish(&self.path).map_err(io_error)?;
        (self.listener, self.bound) = (listener, bound);
        self.listener().map(Some).map_err(io_error)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
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
        // One that somebody else has put there is not this one's; what stays is replaced by the next server.
        if identity(&self.path).is_ok_and(|found| found == self.bound) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl SocketError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// Takes the lock beside a socket's path.
fn lock(path: &Path) -> Result<File, SocketError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let lock = options.open(beside(path, "lock")).map_err(|source| SocketError::io(path, source))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SocketError::Taken(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(SocketError::io(path, source)),
    }
}

/// What tells a file from another one of the same name: device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// What fits into an address (`sun_path`, unix(7)), without the zero at its end.
const MOST_BYTES: usize = 107;

/// Makes the socket where nobody else can reach it, and moves it into place once its mode is right.
fn publish(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let private = beside(path, "new");
    let made = private.join("s");
    let length = made.as_os_str().len();
    if length > MOST_BYTES {
        let reason = format!("the path is {} bytes too long for a socket", length - MOST_BYTES);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    if private.exists() {
        fs::remove_dir_all(&private)?;
    }
    DirBuilder::new().mode(0o700).create(&private)?;
    let listener = UnixListener::bind(&made)?;
    fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    let bound = identity(&made)?;
    fs::rename(&made, path)?;
    fs::remove_dir(&private)?;
    Ok((listener, bound))
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
    fn one_that_is_removed_is_put_back_unless_another_server_has_come() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run/sync.sock");
        fs::create_dir(dir.path().join("run")).expect("a directory");
        let mut first = Socket::bind(&path).expect("the path is free");
        assert!(first.put_back().expect("it is there").is_none());
        fs::remove_file(&path).expect("it is there");
        assert!(first.put_back().expect("the path is free").is_some());
        UnixStream::connect(&path).expect("it serves again");
        fs::remove_dir_all(dir.path().join("run")).expect("it is there");
        assert!(first.put_back().expect("the path is free").is_some(), "the directory is made anew");
        assert!(matches!(Socket::bind(&path), Err(SocketError::Taken(_))));
        fs::remove_dir_all(dir.path().join("run")).expect("it is there");
        fs::create_dir(dir.path().join("run")).expect("a directory");
        let second = Socket::bind(&path).expect("nobody holds the lock that is there");
        assert!(matches!(first.put_back(), Err(SocketError::Taken(_))));
        drop(first);
        UnixStream::connect(&path).expect("the second one's socket stays");
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn an_error_names_the_path() {
        let error = Socket::bind(Path::new("/nowhere/sync.sock")).expect_err("no such directory");
        assert!(error.to_string().starts_with("cannot serve /nowhere/sync.sock: "), "{error}");
        let dir = tempfile::tempdir().expect("a directory");
        let error = Socket::bind(&dir.path().join("s".repeat(110))).expect_err("it does not fit").to_string();
        assert!(error.ends_with(" bytes too long for a socket"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 1, "the lock alone");
    }
}
