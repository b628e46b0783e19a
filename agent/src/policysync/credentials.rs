//! Who stands behind which socket.
//!
//! A driver on the node (flexvolume or CSI) writes a file `creds/UID.json` for
//! each pod that mounts a socket; the kubelet tells it the names in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::{fs, io};

use nix::fcntl::OFlag;
use serde_json::Value;

use super::EndpointId;

/// The largest file that is read. Four names of Kubernetes are below 1 kB.
const MAX_BYTES: u64 = 16 << 10;

/// Why a file says nobody's name.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is a directory, a pipe or a device.
    #[error("is not a file")]
    NoFile,
    /// It is too large.
    #[error("is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is not JSON.
    #[error("is not a JSON object: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A field is missing, empty or no text.
    #[error("has no text in its field {0}")]
    Missing(&'static str),
}

/// The names of the files in `creds` without `.json`; none while there is no such directory.
///
/// # Errors
/// If the directory cannot be read.
pub fn list(creds: &Path) -> io::Result<BTreeSet<String>> {
    let entries = match fs::read_dir(creds) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let mut uids = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name();
        if let Some(uid) = name.to_str().and_then(|name| name.strip_suffix(".json")).filter(|uid| !uid.is_empty()) {
            uids.insert(uid.to_owned());
        }
    }
    Ok(uids)
}

/// Tells one writing of a file from the next: device, inode, time of the last
/// change in seconds and nanoseconds, size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writing(u64, u64, i64, i64, u64);

/// The last writing of a file of credentials.
///
/// # Errors
/// If the file cannot be looked at.
pub fn writing(path: &Path) -> io::Result<Writing> {
    fs::metadata(path).map(|file| Writing(file.dev(), file.ino(), file.ctime(), file.ctime_nsec(), file.size()))
}

/// Reads a file of credentials. The endpoint is the pod's only one.
///
/// # Errors
/// If it does not name a pod.
pub fn read(path: &Path) -> Result<EndpointId, CredentialsError> {
    // To open a pipe would else wait for who writes it.
    let mut file = fs::OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(CredentialsError::NoFile);
    }
    let mut text = Vec::new();
    file.by_ref().take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(CredentialsError::TooLarge);
    }
    parse(&text)
}

pub(super) fn parse(text: &[u8]) -> Result<EndpointId, CredentialsError> {
    // Go reads the names of fields in any case.
    let fields: BTreeMap<String, Value> = serde_json::from_slice(text)?;
    let field = |name: &'static str| {
        let found = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        let text = found.and_then(|(_, value)| value.as_str()).filter(|text| !text.is_empty());
        text.ok_or(CredentialsError::Missing(name))
    };
    Ok(EndpointId {
        orchestrator: "k8s".to_owned(),
        workload: format!("{}/{}", field("Namespace")?, field("Workload")?),
        endpoint: "eth0".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_a_pod() {
        let written = r#"{"Uid":"u-1","Workload":"web-1","Namespace":"shop","ServiceAccount":"default"}"#;
        for text in [written, &written.to_lowercase(), r#"{"namespace":"shop","WORKLOAD":"web-1"}"#] {
            let id = parse(text.as_bytes()).expect("it names a pod");
            assert_eq!(
                (id.orchestrator.as_str(), id.workload.as_str(), id.endpoint.as_str()),
                ("k8s", "shop/web-1", "eth0")
            );
        }
    }

    #[test]
    fn what_names_nobody_says_why() {
        for (text, want) in [
            ("{}", "has no text in its field Namespace"),
            (r#"{"Namespace":"shop","Workload":""}"#, "has no text in its field Workload"),
            (r#"{"Namespace":1,"Workload":"w"}"#, "has no text in its field Namespace"),
            ("[]", "is not a JSON object: "),
            ("", "is not a JSON object: "),
        ] {
            let error = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with(want), "{text}: {error}");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("u.json");
        fs::write(&file, " ".repeat(1 << 15)).expect("a file");
        assert_eq!(read(&file).expect_err("too large").to_string(), "is larger than 16384 bytes");
        let pipe = dir.path().join("p.json");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        for path in [&pipe, dir.path()] {
            assert_eq!(read(path).expect_err("nothing to wait for").to_string(), "is not a file");
        }
    }

    #[test]
    fn files_are_listed_by_their_suffix() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(list(&dir.path().join("nowhere")).expect("nobody yet"), BTreeSet::new());
        for name in ["a.json", "b.json.tmp", ".json", "c"] {
            fs::write(dir.path().join(name), "").expect("a file");
        }
        assert_eq!(list(dir.path()).expect("a directory"), BTreeSet::from(["a".to_owned()]));
    }
}
