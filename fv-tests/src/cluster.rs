//! A cluster of one node in network namespaces: pods, an outside host, and a
//! directory of manifests that the agent reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use caracal_sys::netns::NetNs;
use serde_json::json;
use tempfile::TempDir;

use crate::pod::{PodSpec, interface_name};
use crate::probe::{ProbePort, Prober, tcp, udp};
use crate::wiring;

/// The node that every pod runs on.
pub const NODE: &str = "node1";

/// The outside host's addresses.
pub const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The outside host's IPv6 address.
pub const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// The node's own address.
pub const NODE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The node's own IPv6 address.
pub const NODE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// One end of a flow: a pod, or the host outside the cluster.
pub struct Peer {
    /// `namespace/pod`, or `outside`.
    pub name: String,
    /// Its addresses, at most one of each family.
    pub addrs: Vec<IpAddr>,
    /// Its network namespace.
    pub namespace: NetNs,
    /// Whether it is a pod.
    pub is_pod: bool,
    prober: Prober,
}

impl Peer {
    /// The thread that sends this peer's probes.
    #[must_use]
    pub fn prober(&self) -> &Prober {
        &self.prober
    }
}

/// A node with its pods. Everything is gone when it is dropped.
pub struct Cluster {
    /// The node's namespace.
    pub node: NetNs,
    /// Pods by name, and `outside`.
    pub peers: BTreeMap<String, Peer>,
    /// The ports that every peer serves.
    pub ports: BTreeSet<ProbePort>,
    specs: BTreeMap<String, PodSpec>,
    manifests: TempDir,
    next_pod: u8,
}

impl Cluster {
    /// A node with an uplink to an outside host, no pods, and an empty directory of manifests.
    pub fn new() -> anyhow::Result<Self> {
        Self::serving([tcp(80), tcp(81), udp(53)])
    }

    /// As [`Cluster::new`], with other ports served by every peer.
    pub fn serving(ports: impl IntoIterator<Item = ProbePort>) -> anyhow::Result<Self> {
        let ports: BTreeSet<_> = ports.into_iter().collect();
        let node = wiring::namespace()?;
        let outside = wiring::namespace()?;
        wiring::configure(&node, async |net| {
            net.veth("uplink", &outside, "eth0", [2, 0, 0, 0, 0, 2]).await?;
            net.up("uplink").await
        })?;
        wiring::configure(&outside, async |net| net.up("eth0").await)?;
        wiring::configure(&node, async |net| {
            net.address("uplink", NODE_V4.into(), 24).await?;
            net.address("uplink", NODE_V6.into(), 64).await?;
            net.route((Ipv4Addr::UNSPECIFIED.into(), 0), Some(OUTSIDE_V4.into()), "uplink").await?;
            net.route((Ipv6Addr::UNSPECIFIED.into(), 0), Some(OUTSIDE_V6.into()), "uplink").await
        })?;
        wiring::configure(&outside, async |net| {
            net.address("eth0", OUTSIDE_V4.into(), 24).await?;
            net.address("eth0", OUTSIDE_V6.into(), 64).await?;
            net.route((Ipv4Addr::UNSPECIFIED.into(), 0), Some(NODE_V4.into()), "eth0").await?;
            net.route((Ipv6Addr::UNSPECIFIED.into(), 0), Some(NODE_V6.into()), "eth0").await
        })?;
        let peer = Peer {
            name: "outside".to_owned(),
            addrs: vec![OUTSIDE_V4.into(), OUTSIDE_V6.into()],
            prober: Prober::start(&outside, "outside", &ports)?,
            namespace: outside,
            is_pod: false,
        };
        Ok(Self {
            node,
            peers: BTreeMap::from([(peer.name.clone(), peer)]),
            ports,
            specs: BTreeMap::new(),
            manifests: TempDir::new()?,
            next_pod: 1,
        })
    }

    /// The directory that the agent reads.
    #[must_use]
    pub fn manifests(&self) -> &Path {
        self.manifests.path()
    }

    /// Writes a manifest as an editor does: beside its name, then renamed over it.
    /// Gives the time at which it was about to be renamed.
    pub fn write(&self, file: &str, text: &str) -> anyhow::Result<Instant> {
        let hidden = self.manifests().join(format!(".{file}.new"));
        fs::write(&hidden, text)?;
        let renamed = Instant::now();
        fs::rename(&hidden, self.manifests().join(file)).with_context(|| format!("cannot write {file}"))?;
        Ok(renamed)
    }

    /// Removes a manifest.
    pub fn remove(&self, file: &str) -> anyhow::Result<()> {
        fs::remove_file(self.manifests().join(file)).with_context(|| format!("cannot remove {file}"))
    }

    /// Writes a namespace with labels.
    pub fn namespace(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<()> {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.write(&format!("namespace-{name}.json"), &object.to_string()).map(drop)
    }

    /// Starts a pod as a cluster does: the interface, then the object with its addresses.
    pub fn start_pod(&mut self, spec: PodSpec) -> anyhow::Result<()> {
        let name = self.plug(spec)?;
        self.announce(&name).map(drop)
    }

    /// Starts several pods.
    pub fn start_pods(&mut self, specs: impl IntoIterator<Item = PodSpec>) -> anyhow::Result<()> {
        specs.into_iter().try_for_each(|spec| self.start_pod(spec))
    }

    /// Makes a pod's namespace and interface, without telling the agent. Gives the pod's name.
    pub fn plug(&mut self, mut spec: PodSpec) -> anyhow::Result<String> {
        let name = spec.full_name();
        if spec.addrs.is_empty() {
            let n = self.next_pod;
            self.next_pod = n.checked_add(1).context("at most 254 pods")?;
            spec.addrs =
                vec![Ipv4Addr::new(10, 65, 0, n).into(), Ipv6Addr::new(0xfd00, 0x65, 0, 0, 0, 0, 0, n.into()).into()];
        }
        let namespace = wiring::namespace()?;
        wiring::plug_pod(&namespace, &self.node, &interface_name(&spec.namespace, &spec.name), &spec.addrs)?;
        let prober = Prober::start(&namespace, &name, &self.ports)?;
        let peer = Peer { name: name.clone(), addrs: spec.addrs.clone(), namespace, is_pod: true, prober };
        self.peers.insert(name.clone(), peer);
        self.specs.insert(name.clone(), spec);
        Ok(name)
    }

    /// Waits until a pod's interface carries packets, and lets the node answer for its gateway at once, as
    /// Calico's CNI plugin does before it reports the interface. (The agent does so too, once it knows the pod.)
    pub fn make_ready(&self, name: &str) -> anyhow::Result<()> {
        let spec = self.specs.get(name).with_context(|| format!("no pod {name}"))?;
        let interface = interface_name(&spec.namespace, &spec.name);
        let peer = self.peers.get(name).with_context(|| format!("{name} is not plugged"))?;
        wiring::wait_running(&peer.namespace, "eth0")?;
        wiring::wait_running(&self.node, &interface)?;
        self.node.run(|| {
            fs::write(format!("/proc/sys/net/ipv4/neigh/{interface}/proxy_delay"), "0")?;
            fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/proxy_arp"), "1")?;
            anyhow::Ok(())
        })?
    }

    /// Writes (or writes again) a pod's object.
    pub fn announce(&self, name: &str) -> anyhow::Result<Instant> {
        let spec = self.specs.get(name).with_context(|| format!("no pod {name}"))?;
        self.write(&pod_file(name), &spec.manifest(NODE).to_string())
    }

    /// Edits a pod's object in place.
    pub fn relabel(&mut self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<Instant> {
        let spec = self.specs.get_mut(name).with_context(|| format!("no pod {name}"))?;
        spec.labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.announce(name)
    }

    /// Ends a pod: its object, its interface, its namespace.
    pub fn stop_pod(&mut self, name: &str) -> anyhow::Result<()> {
        self.remove(&pod_file(name))?;
        let peer = self.peers.remove(name).with_context(|| format!("no pod {name}"))?;
        self.specs.remove(name);
        wiring::unplug_pod(&peer.namespace)
    }
}

fn pod_file(name: &str) -> String {
    format!("pod-{}.json", name.replace('/', "-"))
}
