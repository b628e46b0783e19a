//! Changes while the agent runs: policies, labels, pods.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use caracal_fv_tests::cluster::Cluster;
use caracal_fv_tests::pod::pod;
use caracal_fv_tests::stream::Stream;

use crate::PATIENCE;
use crate::kernel;
use crate::scale::edit;

/// What follows from a change is done after this long, the review of connections and
/// the pause before the next one among it: the node is at rest again.
pub(crate) const REST: Duration = Duration::from_millis(150);

/// The pause between changes on a node that has no rest anyway.
pub(crate) const NO_REST: Duration = Duration::from_millis(50);

/// For how many seconds connection tracking remembers what was not answered: a probe, or by
/// the kernel's default (`nf_conntrack_proto_udp.c`).
pub(crate) const PROBES_REMEMBERED: u32 = 1;
pub(crate) const UNANSWERED_REMEMBERED: u32 = 30;

/// What a kind of change took.
pub(crate) struct Took {
    /// To the first probe that got through.
    pub(crate) opened: Vec<Duration>,
    /// To the first probe that did not.
    pub(crate) closed: Vec<Duration>,
    /// The time that the kernel took for a change's transactions, on average.
    pub(crate) kernel: Duration,
}

/// A rule of a policy becomes wider and narrower.
pub(crate) fn of_policy(cluster: &mut Cluster, changes: usize, pause: Duration) -> anyhow::Result<Took> {
    alternate(changes, pause, cluster, |cluster, open| edit(cluster, open))
}

/// A pod's label joins it to a rule's set, and takes it away.
pub(crate) fn of_label(cluster: &mut Cluster, changes: usize, pause: Duration) -> anyhow::Result<Took> {
    alternate(changes, pause, cluster, |cluster, friend| {
        cluster.relabel("bench/pod-1", &[("group", "g1"), ("friend", if friend { "yes" } else { "no" })])
    })
}

/// From the rename of a pod's object to its first packet; the interface is up before.
pub(crate) fn of_pods(cluster: &mut Cluster, starts: usize) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    for n in 0..starts {
        let name = cluster.plug(pod(&format!("bench/new-{n}"), &[("group", "g1"), ("friend", "yes")]))?;
        cluster.make_ready(&name)?;
        let stream = Stream::start(&cluster.peers[&name], &cluster.peers["bench/pod-0"])?;
        let written = cluster.announce(&name)?;
        took.push(stream.changed(written, true, PATIENCE)?);
        drop(stream);
        cluster.stop_pod(&name)?;
    }
    Ok(took)
}

/// Sets for how many seconds the node remembers datagrams that were not answered. A stream of
/// probes leaves thousands of entries a second, which are no part of a workload.
pub(crate) fn remember_unanswered(cluster: &Cluster, seconds: u32) -> anyhow::Result<()> {
    let set = || std::fs::write("/proc/sys/net/netfilter/nf_conntrack_udp_timeout", seconds.to_string());
    cluster.node.run(set)?.context("cannot set how long connection tracking remembers")
}

/// Probes that the cluster's policies deny at first.
pub(crate) fn probes(cluster: &Cluster) -> anyhow::Result<Stream> {
    let stream = Stream::start(&cluster.peers["bench/pod-1"], &cluster.peers["bench/pod-0"])?;
    stream.changed(Instant::now(), false, PATIENCE)?;
    Ok(stream)
}

/// Times `step(true)` and `step(false)`, which give when the datastore had the change, in
/// turn, with a pause after each.
fn alternate(
    changes: usize,
    pause: Duration,
    cluster: &mut Cluster,
    mut step: impl FnMut(&mut Cluster, bool) -> anyhow::Result<Instant>,
) -> anyhow::Result<Took> {
    let stream = probes(cluster)?;
    let (mut opened, mut closed) = (Vec::new(), Vec::new());
    let before = kernel::spent(cluster)?;
    for n in 0..changes * 2 {
        let want = n % 2 == 0;
        let time = stream.changed(step(cluster, want)?, want, PATIENCE)?;
        if want { &mut opened } else { &mut closed }.push(time);
        std::thread::sleep(pause);
    }
    let steps = u32::try_from(changes * 2).context("a count of changes")?;
    Ok(Took { opened, closed, kernel: (kernel::spent(cluster)? - before) / steps.max(1) })
}
