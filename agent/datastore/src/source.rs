//! What a source of resources tells, and how it is run.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caracal_model::Event;
use caracal_net::Cidr;
use serde_json::{Map, Value};
use smol_str::SmolStr;

use crate::convert::Settings;
use crate::manifest::{ObjectRef, Refusal};
use crate::resource::ObjectMeta;

/// A FelixConfiguration resource, its fields not yet interpreted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FelixConfiguration {
    /// `default`, `node.NAME`, or any other name if it has a node selector.
    pub name: SmolStr,
    /// Which nodes it is for; empty if its name says so.
    pub node_selector: String,
    /// RFC 3339; among resources that select a node the oldest counts.
    pub creation_timestamp: Option<String>,
    /// Annotations; `config.projectcalico.org/NAME` sets parameters.
    pub annotations: BTreeMap<SmolStr, String>,
    /// The fields of `spec`, `nodeSelector` among them.
    pub spec: Map<String, Value>,
}

impl FelixConfiguration {
    pub(crate) fn new(meta: ObjectMeta, spec: Map<String, Value>) -> Self {
        let node_selector = spec.get("nodeSelector").and_then(Value::as_str).unwrap_or_default();
        Self {
            name: meta.name,
            node_selector: node_selector.to_owned(),
            creation_timestamp: meta.creation_timestamp,
            annotations: meta.annotations,
            spec,
        }
    }
}

/// What a cluster says of itself: the ClusterInformation resource `default`.
/// Felix takes it for parameters of the whole cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterInformation {
    /// The version of Calico; empty if it does not say.
    pub calico_version: String,
    /// What tells the cluster from any other; empty if it does not say.
    pub cluster_guid: String,
    /// What the cluster is made of, such as `k8s,kubeadm`; empty if it does not say.
    pub cluster_type: String,
    /// Whether the datastore may be acted on: not while it is being migrated or
    /// restored, for example. It may if nothing is said of it.
    pub datastore_ready: Option<bool>,
}

/// What a cluster tells its routers, as far as it concerns a node: the
/// BGPConfiguration resource `default`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BgpConfiguration {
    /// The prefixes of services' cluster IPs, each once and in order.
    pub service_cluster: Vec<Cidr>,
    /// Those of their external IPs.
    pub service_external: Vec<Cidr>,
    /// Those of their load balancers' IPs.
    pub service_load_balancer: Vec<Cidr>,
    /// The address at which nodes peer with their own workloads, empty for none.
    pub local_workload_peering_ipv4: String,
    /// The same for IPv6.
    pub local_workload_peering_ipv6: String,
}

/// One event about configuration. Between `Begin` and `End` a source repeats
/// all of it.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigEvent {
    /// A list starts.
    Begin,
    /// The resource exists and looks so.
    Apply(FelixConfiguration),
    /// The resource of this name does not exist.
    Delete(SmolStr),
    /// What the cluster says of itself; `None` if it says nothing.
    Cluster(Option<ClusterInformation>),
    /// What it tells its routers; `None` if nothing.
    Bgp(Option<BgpConfiguration>),
    /// The list is complete.
    End,
}

/// Where an object is written down.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line that the object begins in, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    /// `FILE:LINE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What is in force instead of something that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InForce {
    /// Nothing: the object was never admitted, or it cannot be told which one it is.
    Nothing,
    /// An earlier version, or one from another place.
    OtherVersion,
}

/// Something that is wrong with what a source reads. It stays until it is mended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// A document is not taken.
    Refused {
        /// Where and why.
        refusal: Refusal,
        /// What is in force instead.
        in_force: InForce,
    },
    /// An object is written down twice; the first place counts.
    Duplicate {
        /// The object.
        object: ObjectRef,
        /// The place that counts.
        used: Place,
        /// The place that does not.
        ignored: Place,
    },
    /// An object is admitted, but as if it did not exist: a pod whose addresses cannot be read.
    Broken {
        /// The object.
        object: ObjectRef,
        /// Where it is written down.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// More documents of a file are not taken as they are than are told one by one.
    More {
        /// The file.
        file: Arc<Path>,
        /// How many documents.
        documents: usize,
        /// For how many of them nothing is in force.
        absent: usize,
    },
    /// A file or a directory cannot be read.
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        reason: String,
        /// What it last said, if it could be read before.
        in_force: InForce,
    },
    /// Changes are not announced, so they are looked for, and noticed late.
    Polling {
        /// Why they are not announced.
        reason: String,
    },
}

impl Problem {
    /// How many documents, files or directories it is about.
    #[must_use]
    pub const fn count(&self) -> usize {
        match self {
            Self::More { documents, .. } => *documents,
            Self::Refused { .. }
            | Self::Duplicate { .. }
            | Self::Broken { .. }
            | Self::Unreadable { .. }
            | Self::Polling { .. } => 1,
        }
    }

    /// For how many of its documents nothing is in force; of what cannot be read for one at least.
    #[must_use]
    pub const fn absent(&self) -> usize {
        match self {
            Self::Refused { in_force: InForce::Nothing, .. }
            | Self::Unreadable { in_force: InForce::Nothing, .. }
            | Self::Broken { .. } => 1,
            Self::More { absent, .. } => *absent,
            Self::Refused { in_force: InForce::OtherVersion, .. }
            | Self::Unreadable { in_force: InForce::OtherVersion, .. }
            | Self::Duplicate { .. }
            | Self::Polling { .. } => 0,
        }
    }
}

/// A text as one line of a log or of a terminal: names of files and what manifests
/// hold may have control characters in them, which are escaped.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line.into()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Refused { refusal, in_force } => match in_force {
                InForce::Nothing => format!("{refusal}"),
                InForce::OtherVersion => format!("{refusal}; another version stays in force"),
            },
            Self::Duplicate { object, used, ignored } => {
                format!("{ignored}: {object} is also at {used}, which counts")
            }
            Self::Broken { object, place, reason } => {
                format!("{place}: {object} is as if it did not exist: {reason}")
            }
            Self::More { file, documents, absent } => format!(
                "{}: {documents} more documents are not taken as they are, {absent} of them with nothing in force",
                file.display()
            ),
            Self::Unreadable { path, reason, in_force } => {
                let in_force = match in_force {
                    InForce::Nothing => "nothing that it may say is in force",
                    InForce::OtherVersion => "what it last said stays in force",
                };
                format!("cannot read {}: {reason}; {in_force}", path.display())
            }
            Self::Polling { reason } => format!("changes are noticed late, by looking for them: {reason}"),
        };
        f.write_str(&one_line(&text))
    }
}

/// News about the state of what a source reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Something is wrong.
    Raised(Problem),
    /// It is not any more. The problem is the one that was raised.
    Cleared(Problem),
    /// A kind of resource is not read. Told once for each kind.
    SkippedKind {
        /// The resource's `apiVersion` and `kind`, such as `apps/v1 Deployment`.
        kind: String,
        /// Where the first one is written down.
        place: Place,
    },
}

/// What a source tells goes here.
///
/// Calls come from one thread and block the source.
pub trait Sink {
    /// An object came, changed or went, or a list begins or ends.
    fn event(&mut self, event: Event);

    /// The same for configuration.
    fn config(&mut self, event: ConfigEvent);

    /// What is told from here on was converted with these settings, and what was
    /// told before and came out otherwise is told again.
    fn converts(&mut self, _settings: &Settings) {}

    /// News about what is wrong.
    fn report(&mut self, report: Report);

    /// Nothing more is known now: the events so far lead to a state worth acting on.
    fn settled(&mut self);

    /// The source works, or waits for something to do. Told every few seconds at least.
    fn alive(&mut self) {}

    /// Everything that was done before this token was given has been told.
    /// Always right after [`settled`](Self::settled).
    fn synced(&mut self, token: &str);
}

/// A source of resources.
pub trait Source: Send {
    /// Asks something of [`run`](Self::run) from another thread.
    fn remote(&self) -> Remote;

    /// Tells everything there is: configuration first, then a whole list of
    /// each kind, in the order of [`caracal_model::Kind::ALL`].
    ///
    /// # Errors
    /// If the source cannot be read at all.
    fn list(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError>;

    /// [Lists](Self::list), and then tells every change until it is stopped.
    ///
    /// # Errors
    /// If the source cannot be read at all when it starts. Later troubles are reported.
    fn run(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError>;
}

/// What a running source is asked for from another thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To end.
    Stop,
    /// To convert with other settings. [`Sink::converts`] says when they count.
    Tune(Settings),
    /// To look at everything, though nobody says that it changed.
    Refresh,
}

/// Asks something of a running source; one that has ended needs nothing.
#[derive(Clone)]
pub struct Remote(Arc<dyn Fn(Request) + Send + Sync>);

impl Remote {
    /// One that hands requests to `ask`, which returns at once.
    pub fn new(ask: impl Fn(Request) + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// Asks; returns at once.
    pub fn ask(&self, request: Request) {
        (self.0)(request);
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}

/// A source cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The directory cannot be read.
    #[error("cannot read the manifests below {}: {reason}; create the directory or name another", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The operating system's answer.
        reason: std::io::Error,
    },
    /// The process has no room for what ends a wait.
    #[error("cannot wait for changes: {reason}; let the process open more files")]
    Descriptors {
        /// The operating system's answer.
        reason: std::io::Error,
    },
}
