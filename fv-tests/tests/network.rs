//! What follows from the cluster's network, on the wire: addresses of pools are
//! translated as they leave, and tunnels are for hosts. Every parameter is changed
//! while the agent runs.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::{Cluster, NODE_V4, NODE_V6, OUTSIDE_V4, OUTSIDE_V6};
use caracal_fv_tests::pod::pod;
use caracal_fv_tests::sight::Sight;
use caracal_sys::netns::NetNs;

const CONVERGENCE: Duration = Duration::from_secs(10);
const POD: &str = "default/client";
const OTHER: &str = "default/server";

fn cluster() -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    for name in [POD, OTHER] {
        cluster.start_pod(pod(name, &[]))?;
        cluster.make_ready(name)?;
    }
    Ok(cluster)
}

fn pools(spec: &str) -> String {
    let pool = |name: &str, cidr: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {name}}}\nspec: {{cidr: '{cidr}', {spec}}}\n"
        )
    };
    [pool("v4", "10.65.0.0/16"), pool("v6", "fd00:65::/64")].join("---\n")
}

fn felix(spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\nspec: {{{spec}}}\n"
    )
}

/// A host of the cluster at the outside host's address.
const OUTSIDE_IS_A_NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: node2}\n\
    status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}\n";

/// From the pod to the other pod and outside, by both families.
struct Ways {
    pod: [IpAddr; 2],
    inside: [SocketAddr; 2],
    outside: [SocketAddr; 2],
}

fn ways(cluster: &Cluster, port: u16) -> Ways {
    let addrs = |name: &str| [cluster.peers[name].addrs[0], cluster.peers[name].addrs[1]];
    let outside: [IpAddr; 2] = [OUTSIDE_V4.into(), OUTSIDE_V6.into()];
    Ways {
        pod: addrs(POD),
        inside: addrs(OTHER).map(|addr| (addr, port).into()),
        outside: outside.map(|addr| (addr, port).into()),
    }
}

/// Whether datagrams outside bear the given sources, and those inside their own.
fn check(
    cluster: &Cluster,
    state: &str,
    sources: [IpAddr; 2],
    ports: std::ops::RangeInclusive<u16>,
) -> anyhow::Result<()> {
    let Ways { pod, inside, outside } = ways(cluster, 9000);
    for family in 0..2 {
        let from = (&cluster.peers[POD].namespace, pod[family]);
        let to = (&cluster.peers["outside"].namespace, outside[family]);
        let is_right = |seen: Option<SocketAddr>| {
            seen.is_some_and(|seen| seen.ip() == sources[family] && ports.contains(&seen.port()))
        };
        Sight { from, to }.until(state, CONVERGENCE, is_right)?;
        let to = (&cluster.peers[OTHER].namespace, inside[family]);
        Sight { from, to }.until(state, CONVERGENCE, |seen| seen.is_some_and(|seen| seen.ip() == pod[family]))?;
    }
    Ok(())
}

#[test]
fn what_leaves_the_pools_bears_the_nodes_address() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let own = ways(&cluster, 9000).pod;
    let node: [IpAddr; 2] = [NODE_V4.into(), NODE_V6.into()];
    cluster.write("pools.yaml", &pools("natOutgoing: true"))?;
    let agent = Process::agent(&cluster)?;
    check(&cluster, "from the start", node, 1..=u16::MAX)?;
    cluster.write("pools.yaml", &pools("natOutgoing: false"))?;
    check(&cluster, "no pool asks", own, 1..=u16::MAX)?;
    cluster.write("pools.yaml", &pools("natOutgoing: true"))?;
    check(&cluster, "the pools ask", node, 1..=u16::MAX)?;
    cluster.write("felix.yaml", &felix("natPortRange: '20000:20999'"))?;
    check(&cluster, "a range of ports", node, 20000..=20999)?;
    cluster.write("felix.yaml", &felix("natOutgoingAddress: 192.0.2.77"))?;
    check(&cluster, "an address", ["192.0.2.77".parse()?, NODE_V6.into()], 1..=u16::MAX)?;
    cluster.write("felix.yaml", &felix("iptablesNATOutgoingInterfaceFilter: eth+"))?;
    check(&cluster, "another interface", own, 1..=u16::MAX)?;
    cluster.write("node2.yaml", OUTSIDE_IS_A_NODE)?;
    cluster.write("felix.yaml", &felix("natOutgoingExclusions: IPPoolsAndHostIPs"))?;
    check(&cluster, "hosts are left out", [own[0], NODE_V6.into()], 1..=u16::MAX)?;
    agent.stop()
}

/// What nobody translated goes to the router, and would come back from it.
#[test]
fn packets_to_services_that_are_none_do_not_leave() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let agent = Process::agent(&cluster)?;
    let run = |namespace: &NetNs, program: &str, args: &str| -> anyhow::Result<()> {
        let status = namespace.run(|| Command::new(program).args(args.split(' ')).status())??;
        anyhow::ensure!(status.success(), "{program} {args}");
        Ok(())
    };
    // The router has the routes that are announced to it, and packets end there.
    let services: [IpAddr; 2] = ["10.96.0.7".parse()?, "fd96::7".parse()?];
    let outside = &cluster.peers["outside"].namespace;
    run(outside, "ip", "addr add 10.96.0.7/32 dev lo")?;
    run(outside, "ip", "addr add fd96::7/128 dev lo nodad")?;
    run(&cluster.node, "ip", &format!("route add 10.96.0.0/12 via {OUTSIDE_V4}"))?;
    run(&cluster.node, "ip", &format!("-6 route add fd96::/112 via {OUTSIDE_V6}"))?;
    let pod = ways(&cluster, 9000).pod;
    let check = |state: &str, arrives: bool| -> anyhow::Result<()> {
        for family in 0..2 {
            let from = (&cluster.peers[POD].namespace, pod[family]);
            let to = (outside, SocketAddr::from((services[family], 9000)));
            Sight { from, to }.until(state, CONVERGENCE, |seen| seen.is_some() == arrives)?;
        }
        Ok(())
    };
    let bgp = |spec: &str| {
        let kind = "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}";
        cluster.write("bgp.yaml", &format!("{kind}\nspec: {{{spec}}}\n"))
    };
    check("nothing is known of services", true)?;
    bgp("serviceClusterIPs: [{cidr: 10.96.0.0/12}, {cidr: 'fd96::/112'}]")?;
    check("the prefixes are announced", false)?;
    cluster.write("felix.yaml", &felix("serviceLoopPrevention: Disabled"))?;
    check("loops are not prevented", true)?;
    cluster.write("felix.yaml", &felix("serviceLoopPrevention: Reject"))?;
    check("loops are answered", false)?;
    bgp("serviceLoadBalancerIPs: [{cidr: 10.112.0.0/12}]")?;
    check("other prefixes are announced", true)?;
    bgp("serviceExternalIPs: [{cidr: 10.96.0.0/12}, {cidr: 'fd96::/112'}]")?;
    check("they are external ones", false)?;
    cluster.remove("bgp.yaml")?;
    check("nothing is announced any more", true)?;
    agent.stop()
}

#[test]
fn pods_send_no_vxlan_and_only_hosts_reach_the_nodes_own() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let agent = Process::agent(&cluster)?;
    let vxlan = ways(&cluster, 4789);
    let from_pod = |family: usize| Sight {
        from: (&cluster.peers[POD].namespace, vxlan.pod[family]),
        to: (&cluster.peers["outside"].namespace, vxlan.outside[family]),
    };
    let to_node = Sight {
        from: (&cluster.peers["outside"].namespace, OUTSIDE_V4.into()),
        to: (&cluster.node, (NODE_V4, 4789).into()),
    };
    check(&cluster, "other ports", vxlan.pod, 1..=u16::MAX)?;
    for (spec, arrives) in
        [("", false), ("allowVXLANPacketsFromWorkloads: true", true), ("vxlanPort: 8472", true), ("", false)]
    {
        cluster.write("felix.yaml", &felix(spec))?;
        for family in 0..2 {
            from_pod(family).until(spec, CONVERGENCE, |seen| seen.is_some() == arrives)?;
        }
    }
    to_node.until("no pool has tunnels", CONVERGENCE, |seen| seen.is_some())?;
    cluster.write("pools.yaml", &pools("vxlanMode: Always"))?;
    to_node.until("the pools have tunnels", CONVERGENCE, |seen| seen.is_none())?;
    cluster.write("node2.yaml", OUTSIDE_IS_A_NODE)?;
    to_node.until("from a host", CONVERGENCE, |seen| seen.is_some())?;
    agent.stop()
}
