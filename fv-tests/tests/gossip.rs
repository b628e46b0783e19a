//! Connections of equals, from a port to the same port (gossip, NTP between servers):
//! who opened one is chance. When policy denies one direction, the other one lives on as a
//! connection of its own.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::ensure;
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::{Cluster, Peer};
use caracal_fv_tests::connections::tracked;
use caracal_fv_tests::matrix::agree;
use caracal_fv_tests::policies::{ONLY_FRIENDS, friend_and_foe};
use caracal_fv_tests::reference::Evaluator;
use caracal_sys::conntrack::{Flow, FlowKey};

const CONVERGENCE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(10);

/// Long enough for a packet that was let through to arrive.
const ARRIVAL: Duration = Duration::from_millis(50);

/// The port of both ends.
const GOSSIP: u16 = 7946;

/// No pod may open anything to `foe`.
const FOE_IS_CLOSED: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: foe-is-closed, namespace: default}
spec:
  podSelector: {matchLabels: {role: foe}}
  policyTypes: [Ingress]
";

/// The sockets of both ends.
struct Ends<'a> {
    cluster: &'a Cluster,
    foe: UdpSocket,
    server: UdpSocket,
}

impl<'a> Ends<'a> {
    fn of(cluster: &'a Cluster, is_v4: bool) -> anyhow::Result<Self> {
        let bind = |name: &str| -> anyhow::Result<UdpSocket> {
            let peer: &Peer = &cluster.peers[name];
            let addr = *peer.addrs.iter().find(|addr| addr.is_ipv4() == is_v4).expect("both families");
            let socket = peer.namespace.run(|| UdpSocket::bind(SocketAddr::new(addr, GOSSIP)))??;
            socket.set_read_timeout(Some(ARRIVAL))?;
            Ok(socket)
        };
        Ok(Self { cluster, foe: bind("default/foe")?, server: bind("default/server")? })
    }

    fn arrives(from: &UdpSocket, to: &UdpSocket) -> anyhow::Result<bool> {
        from.send_to(b"?", to.local_addr()?)?;
        Ok(to.recv(&mut [0]).is_ok())
    }

    /// Sends until something arrives.
    fn is_heard(from: &UdpSocket, to: &UdpSocket) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !Self::arrives(from, to)? {
            ensure!(begun.elapsed() < PATIENCE, "nothing arrives");
        }
        Ok(())
    }

    /// Sends both ways until nothing arrives for a while.
    fn are_silenced(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut silent = 0;
        while silent < 3 {
            let heard = [Self::arrives(&self.foe, &self.server)?, Self::arrives(&self.server, &self.foe)?];
            silent = if heard.contains(&true) { 0 } else { silent + 1 };
            ensure!(begun.elapsed() < PATIENCE, "something arrives");
        }
        Ok(())
    }

    /// What the node tracks of the two: who opened it, and whether it is cut.
    fn tracked(&self) -> anyhow::Result<Option<(IpAddr, bool)>> {
        let ends = [self.foe.local_addr()?.ip(), self.server.local_addr()?.ip()];
        let is_theirs = |flow: &&Flow| {
            let is_gossip = matches!(flow.key, FlowKey::Ports { source: GOSSIP, destination: GOSSIP });
            is_gossip && ends.contains(&flow.source) && ends.contains(&flow.destination)
        };
        Ok(tracked(&self.cluster.node)?.iter().find(is_theirs).map(|flow| (flow.source, flow.revoked)))
    }

    fn becomes(&self, wanted: Option<(&UdpSocket, bool)>) -> anyhow::Result<()> {
        let wanted = wanted.map(|(opener, is_cut)| opener.local_addr().map(|at| (at.ip(), is_cut))).transpose()?;
        let begun = Instant::now();
        loop {
            let found = self.tracked()?;
            if found == wanted {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "the node tracks {found:?}, not {wanted:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn of_two_equals_policy_closes_the_direction_that_it_denies() -> anyhow::Result<()> {
    let cluster = friend_and_foe()?;
    let agent = Process::agent(&cluster)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    for is_v4 in [true, false] {
        let ends = Ends::of(&cluster, is_v4)?;
        let Ends { cluster, foe, server } = &ends;
        let opened = Ends::arrives(foe, server)? && Ends::arrives(server, foe)? && Ends::arrives(foe, server)?;
        assert!(opened, "nothing denies it");

        // The server may be called by friends only, and may call anybody.
        cluster.write("policy.yaml", ONLY_FRIENDS)?;
        ends.becomes(None)?;
        assert!(!Ends::arrives(foe, server)?, "policy denies it");
        Ends::is_heard(server, foe)?;
        assert!(Ends::arrives(foe, server)?, "an answer to what the server opened");
        ends.becomes(Some((server, false)))?;

        // Neither may call the other.
        cluster.write("foe.yaml", FOE_IS_CLOSED)?;
        ends.becomes(Some((server, true)))?;
        ends.are_silenced()?;
        // The foe may call the server, so that what the server opened is over.
        cluster.remove("policy.yaml")?;
        Ends::is_heard(foe, server)?;
        assert!(Ends::arrives(server, foe)?, "an answer to what the foe opened");
        ends.becomes(Some((foe, false)))?;

        // Neither may, and then either may: nobody has to open it anew.
        cluster.write("policy.yaml", ONLY_FRIENDS)?;
        ends.becomes(Some((foe, true)))?;
        ends.are_silenced()?;
        cluster.remove("foe.yaml")?;
        cluster.remove("policy.yaml")?;
        Ends::is_heard(server, foe)?;
        assert!(Ends::arrives(foe, server)?);
    }
    agent.stop()
}
