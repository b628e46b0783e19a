//! Pods send from their own addresses, and from prefixes that they may use, and
//! from no others, though the node has a route back to all of them.

use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::{Cluster, NODE, OUTSIDE_V4, OUTSIDE_V6};
use caracal_fv_tests::pod::{interface_name, pod};
use caracal_fv_tests::sight::Sight;
use caracal_sys::netns::NetNs;

const CONVERGENCE: Duration = Duration::from_secs(10);
const POD: &str = "default/client";

/// An address of each family that is not the pod's.
const FALSE: [&str; 2] = ["10.99.0.1", "fd00:99::1"];

fn ip(namespace: &NetNs, arguments: &str) -> anyhow::Result<()> {
    let status = namespace.run(|| Command::new("ip").args(arguments.split(' ')).status())??;
    anyhow::ensure!(status.success(), "ip {arguments}");
    Ok(())
}

fn felix(spoofing: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\n\
         spec: {{workloadSourceSpoofing: {spoofing}, removeExternalRoutes: false}}\n"
    )
}

/// Which sources arrive outside: the pod's own, and the false one.
fn check(cluster: &Cluster, state: &str, own: bool, false_one: bool) -> anyhow::Result<()> {
    let outside: [IpAddr; 2] = [OUTSIDE_V4.into(), OUTSIDE_V6.into()];
    for (family, outside) in outside.into_iter().enumerate() {
        for (source, arrives) in [(cluster.peers[POD].addrs[family], own), (FALSE[family].parse()?, false_one)] {
            let from = (&cluster.peers[POD].namespace, source);
            let to = (&cluster.peers["outside"].namespace, (outside, 9000).into());
            Sight { from, to }
                .until(state, CONVERGENCE, |seen| seen.map(|seen| seen.ip()) == arrives.then_some(source))?;
        }
    }
    Ok(())
}

#[test]
fn a_pod_sends_from_no_address_but_its_own() -> anyhow::Result<()> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    cluster.write("felix.yaml", &felix("Any"))?;
    let mut spec = pod(POD, &[]);
    cluster.start_pod(spec.clone())?;
    cluster.make_ready(POD)?;
    let (pod, interface) = (&cluster.peers[POD], interface_name("default", "client"));
    spec.addrs.clone_from(&pod.addrs);
    cluster.node.run(|| {
        ["all", "default", &interface]
            .iter()
            .try_for_each(|scope| fs::write(format!("/proc/sys/net/ipv4/conf/{scope}/rp_filter"), "0"))
    })??;
    for (addr, len) in FALSE.iter().zip([32, 128]) {
        ip(&pod.namespace, &format!("addr add {addr}/{len} dev eth0"))?;
        ip(&cluster.node, &format!("route add {addr} dev {interface}"))?;
    }
    let agent = Process::agent(&cluster)?;
    check(&cluster, "nothing is asked for", true, false)?;
    let mut manifest = spec.manifest(NODE);
    manifest["metadata"]["annotations"]["cni.projectcalico.org/allowedSourcePrefixes"] =
        r#"["10.99.0.0/24", "fd00:99::/64"]"#.into();
    cluster.write("pod-default-client.json", &manifest.to_string())?;
    check(&cluster, "other prefixes are allowed", true, true)?;
    cluster.announce(POD)?;
    check(&cluster, "they are no longer", true, false)?;
    agent.stop()
}
