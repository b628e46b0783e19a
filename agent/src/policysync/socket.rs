//! The socket of a pod.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};

/// Everybody in the pod may connect, whoever they run as.
const MODE: Mode = Mode::from_bits_truncate(0o777);

/// A listening socket in a directory that a pod has mounted.
#[derive(Debug)]
pub(super) struct PodSocket {
    path: PathBuf,
    /// Device and inode.
    bound: (u64, u64),
}

impl PodSocket {
    /// Binds `path`, in place of a socket that was left there.
    ///
    /// The pod can write in the directory: nothing but a socket is removed, and
    /// a link that takes the socket's place meanwhile is not followed.
    pub(super) fn bind(path: PathBuf) -> io::Result<(Self, UnixListener)> {
        remove_socket(&path)?;
        let listener = UnixListener::bind(&path)?;
        let bound = identity(&path)?;
        let socket = Self { path, bound };
        fchmodat(AT_FDCWD, &socket.path, MODE, FchmodatFlags::NoFollowSymlink)?;
        listener.set_nonblocking(true)?;
        Ok((socket, listener))
    }

    /// Whether it can still be reached by its name: who can write in the directory
    /// may have removed it, and the directory itself may be another one by now.
    pub(super) fn is_there(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == self.bound)
    }
}

impl Drop for PodSocket {
    fn drop(&mut self) {
        // What stays is replaced by the next server.
        let _ = remove_socket(&self.path);
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

fn remove_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        // Binding says that something is in the way.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn everybody_may_connect_also_where_a_killed_server_was() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        drop(UnixListener::bind(&path).expect("a socket"));
        let (socket, _listener) = PodSocket::bind(path.clone()).expect("the stale one is replaced");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o777);
        UnixStream::connect(&path).expect("it listens");
        assert!(socket.is_there());
        fs::remove_file(&path).expect("everybody in the pod may");
        assert!(!socket.is_there());
        let (again, _listener) = PodSocket::bind(path.clone()).expect("it is bound again");
        assert!(again.is_there());
        drop((socket, again));
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let target = dir.path().join("target");
        fs::write(&target, "").expect("a file");
        std::os::unix::fs::symlink(&target, &path).expect("a link");
        let error = PodSocket::bind(path.clone()).expect_err("something is in the way");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(path.is_symlink());
    }
}
