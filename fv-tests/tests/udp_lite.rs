//! UDP-Lite: connection tracking takes every packet of it that comes in for invalid, and policy
//! judges it all the same, packet by packet.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::{Cluster, NODE_V4, NODE_V6};
use caracal_fv_tests::pod::pod;
use caracal_sys::netns::NetNs;
use socket2::{Domain, Protocol, Socket, Type};

const CONVERGENCE: Duration = Duration::from_secs(10);
const ARRIVAL: Duration = Duration::from_millis(300);

const POLICIES: &str = r"
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: server, namespace: default}
spec:
  selector: role == 'server'
  types: [Ingress]
  ingress: [{action: Allow, protocol: UDPLite, source: {selector: role == 'client'}}]
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: host}
spec:
  selector: role == 'host'
  ingress: [{action: Allow, protocol: UDPLite}, {action: Allow, protocol: ICMPv6}]
  egress: [{action: Allow, protocol: ICMPv6}]
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {role: host}}
spec: {node: node1, interfaceName: uplink}
";

fn socket(at: SocketAddr, protocol: Protocol) -> anyhow::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(protocol))?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// Whether a datagram arrives.
fn arrives(from: (&NetNs, IpAddr), to: (&NetNs, IpAddr), protocol: Protocol) -> anyhow::Result<bool> {
    let (source, destination) = (SocketAddr::from((from.1, 0)), SocketAddr::from((to.1, 9000)));
    let receiver = to.0.run(|| socket(destination, protocol))??;
    receiver.set_read_timeout(Some(ARRIVAL))?;
    from.0.run(|| socket(source, protocol))??.send_to(b"light", destination)?;
    match receiver.recv_from(&mut [0; 16]) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn policy_judges_udp_lite() -> anyhow::Result<()> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    for role in ["client", "server", "other"] {
        cluster.start_pod(pod(&format!("default/{role}"), &[("role", role)]))?;
        cluster.make_ready(&format!("default/{role}"))?;
    }
    cluster.write("policies.yaml", POLICIES)?;
    let agent = Process::agent(&cluster)?;
    let place = |name: &str| -> (&NetNs, [IpAddr; 2]) {
        match name {
            "node" => (&cluster.node, [NODE_V4.into(), NODE_V6.into()]),
            name => (&cluster.peers[name].namespace, [cluster.peers[name].addrs[0], cluster.peers[name].addrs[1]]),
        }
    };
    for (from, to, protocol, wanted) in [
        ("default/other", "default/server", Protocol::UDPLITE, false),
        ("default/client", "default/server", Protocol::UDPLITE, true),
        ("default/client", "default/server", Protocol::UDP, false),
        ("default/server", "default/client", Protocol::UDPLITE, true),
        ("default/server", "outside", Protocol::UDPLITE, true),
        ("outside", "node", Protocol::UDPLITE, true),
        ("outside", "node", Protocol::UDP, false),
    ] {
        let ((from_ns, sources), (to_ns, destinations)) = (place(from), place(to));
        for (source, destination) in sources.into_iter().zip(destinations) {
            let deadline = Instant::now() + CONVERGENCE;
            while arrives((from_ns, source), (to_ns, destination), protocol)? != wanted {
                anyhow::ensure!(Instant::now() < deadline, "{source} ({from}) -> {destination} ({to}), {protocol:?}");
            }
        }
    }
    agent.stop()
}
